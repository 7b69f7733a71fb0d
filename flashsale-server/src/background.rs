use std::panic::AssertUnwindSafe;
use std::time::Duration;

use flashsale_core::PortError;
use flashsale_core::services::EngineServices;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Services;
use crate::error_chain::error_chain;

use self::chores::{Acknowledge, Decide, Forward, KeepSales, Mend, RecordRefusals, Watch};

mod chores;

/// What runs beside the requests: keeps the catalogue fresh and the stock of every sale up to
/// date, takes attempts to the queue and refusals to the audit trail, turns queued attempts into
/// orders, and repairs what was left undone.
///
/// A fault is logged when it begins and when it ends, and is tried again after 0.1 to 1 s; nothing
/// here ends the process. Dropping it stops everything at once, which loses nothing either.
#[derive(Debug)]
pub struct Background {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Which parts of an engine run in a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// All of them.
    #[default]
    All,
    /// What buyers need; workers run in other processes.
    Api,
    /// What turns attempts into orders and repairs what was left undone.
    Worker,
}

/// What runs beside the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackgroundConfig {
    /// The parts that run here.
    pub role: Role,
    /// The group of workers that share the attempts; `flash-sale-worker-group` by default.
    pub group: String,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self {
            role: Role::All,
            group: EngineServices::WORKERS.to_owned(),
        }
    }
}

impl Background {
    /// Reads the sales, brings their stock up to date, and starts. What cannot be done now is tried
    /// again and again; a sale that is not ready keeps none of the others from selling.
    pub async fn start(services: &Services, config: &BackgroundConfig) -> Self {
        let mut sales = KeepSales::new(services, &config.group);
        if let Err(fault) = sales.step().await {
            let error = error_chain(&fault);
            tracing::warn!(error, "not every sale is ready");
        }
        let stop = watch::Sender::new(false);
        let mut background = Self {
            stop,
            tasks: JoinSet::new(),
        };
        background.run(sales);
        if config.role != Role::Api {
            background.run(Decide::new(services, &config.group));
        }
        background.run(Mend::new(services));
        background.run(Watch::new(services, &config.group));
        if config.role != Role::Worker {
            for _ in 0..Forward::AT_ONCE {
                background.run(Forward::new(services));
            }
            background.run(Acknowledge::new(services));
            if let Some(trail) = &services.engine.audit_trail {
                background.run(RecordRefusals::new(trail));
            }
        }
        background
    }

    fn run(&mut self, chore: impl Chore) {
        self.tasks.spawn(run(chore, self.stop.subscribe()));
    }

    /// Lets every task finish what it is at, for `within` at most.
    pub async fn stop(mut self, within: Duration) {
        self.stop.send_replace(true);
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(within, finished).await.is_err() {
            tracing::warn!("background work did not finish in time and is left to the next start");
        }
    }
}

/// Something to be done again and again.
pub(super) trait Chore: Send + 'static {
    /// For the logs.
    const NAME: &'static str;

    /// Waits until there may be something to do; may be dropped at any time.
    fn wait(&mut self) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Does it.
    fn step(&mut self) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Does what must not be left undone when everything stops.
    fn finish(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Why a chore is not getting on, as far as the log has to tell it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Fault(String),
    Panic,
}

async fn run<C: Chore>(mut chore: C, mut stop: watch::Receiver<bool>) {
    {
        let stopped = stop.wait_for(|stop| *stop);
        tokio::pin!(stopped);
        repeat(&mut chore, stopped).await;
    }
    chore.finish().await;
}

/// Does a chore again and again until `stopped`.
async fn repeat<C: Chore, S: Future + Unpin>(chore: &mut C, mut stopped: S) {
    const BACKOFF_MIN: Duration = Duration::from_millis(100);
    const BACKOFF_MAX: Duration = Duration::from_secs(1);
    let mut backoff = BACKOFF_MIN;
    let mut last: Option<Trouble> = None;
    loop {
        let waited = tokio::select! {
            _ = &mut stopped => return,
            waited = AssertUnwindSafe(chore.wait()).catch_unwind() => waited,
        };
        let done = match waited {
            Ok(Ok(())) => AssertUnwindSafe(chore.step()).catch_unwind().await,
            Ok(Err(_)) | Err(_) => waited,
        };
        let trouble = match done {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(Trouble::Fault(error_chain(&fault))),
            Err(_) => Some(Trouble::Panic),
        };
        report(C::NAME, last.as_ref(), trouble.as_ref());
        if trouble.is_none() {
            backoff = BACKOFF_MIN;
        } else {
            tokio::select! {
                _ = &mut stopped => return,
                () = sleep(backoff) => {}
            }
            backoff = BACKOFF_MAX.min(backoff * 2);
        }
        last = trouble;
    }
}

/// Logs a change of state, and nothing while it stays the same.
fn report(chore: &str, last: Option<&Trouble>, now: Option<&Trouble>) {
    if last == now {
        return;
    }
    match now {
        None => tracing::info!(chore, "works again"),
        Some(Trouble::Fault(error)) => {
            tracing::warn!(chore, error, "does not get on; trying again")
        }
        // The panic itself has been printed where it happened.
        Some(Trouble::Panic) => tracing::error!(chore, "met a bug; trying again"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use flashsale_core::{ErrorKind, PortError};
    use tokio::sync::watch;

    use super::{Chore, run};

    /// Fails, panics, then works, and notes each step.
    #[derive(Debug)]
    struct Clumsy {
        steps: Arc<Mutex<u32>>,
        stop: watch::Sender<bool>,
    }

    impl Chore for Clumsy {
        const NAME: &'static str = "clumsy";

        async fn wait(&mut self) -> Result<(), PortError> {
            Ok(())
        }

        async fn step(&mut self) -> Result<(), PortError> {
            let step = {
                let mut steps = self.steps.lock().unwrap();
                *steps += 1;
                *steps
            };
            match step {
                1 => Err(PortError::new(ErrorKind::Unavailable, "test", "step")),
                2 => panic!("a bug, on purpose"),
                3 => Ok(()),
                _ => {
                    self.stop.send_replace(true);
                    Ok(())
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_fault_nor_a_panic_ends_a_chore() {
        let stop = watch::Sender::new(false);
        let steps = Arc::new(Mutex::new(0));
        let chore = Clumsy {
            steps: Arc::clone(&steps),
            stop: stop.clone(),
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), run(chore, stop.subscribe()));
        ended.await.expect("the chore goes on until it is stopped");
        assert!(*steps.lock().unwrap() >= 4);
    }
}
