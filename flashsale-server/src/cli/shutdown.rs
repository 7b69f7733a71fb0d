use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CliError;

/// The request of an operator that this process ends: SIGTERM or SIGINT.
#[derive(Debug)]
pub(super) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Listens from now on; before, a signal ends the process at once.
    pub(super) fn listen() -> Result<Self, CliError> {
        let listen =
            |kind| signal(kind).map_err(|error| CliError::failed(format!("no signals: {error}")));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for it, and names the signal.
    pub(super) async fn requested(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
