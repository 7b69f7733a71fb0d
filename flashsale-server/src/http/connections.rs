use std::io;
use std::sync::Arc;
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{IntoEndpoint, Server};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http_config::{HttpConfig, HttpConfigInvalid};

use self::timeout_stream::TimeoutStream;

mod timeout_stream;

/// How long to wait before accepting again when the system has no socket left for us. The server
/// would otherwise ask again at once and spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why [`serve`] has stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] HttpConfigInvalid),
    /// The socket cannot be used.
    #[error("the listening socket cannot be used")]
    Io(#[from] io::Error),
}

/// Serves an endpoint, usually that of [`app`](crate::app), until `shutdown` is ready.
///
/// Then it accepts no more, lets every request that is under way finish, and returns; after `grace`
/// it cuts what is left. Connections that are idle, or slow to send a request or to take an answer,
/// are cut as [`HttpConfig`] says; when there are too many, new ones wait in the system's queue.
///
/// # Errors
/// If the configuration or the listener cannot be used.
pub async fn serve<E>(
    listener: TcpListener,
    app: E,
    config: &HttpConfig,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(), ServeError>
where
    E: IntoEndpoint,
    E::Endpoint: 'static,
{
    config.validate()?;
    let limiter = ConnectionLimiter {
        address: LocalAddr(listener.local_addr()?.into()),
        listener,
        timeouts: Timeouts {
            idle: config.idle_timeout,
            request: config.request_timeout,
        },
        slots: Arc::new(Semaphore::new(config.connections_max)),
        full: false,
    };
    Server::new_with_acceptor(limiter)
        .http2_max_concurrent_streams(config.streams_max)
        .run_with_graceful_shutdown(app, shutdown, Some(grace))
        .await?;
    Ok(())
}

/// How long a connection may keep us waiting.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    idle: Duration,
    request: Duration,
}

/// Lets connections in, up to a number.
struct ConnectionLimiter {
    listener: TcpListener,
    address: LocalAddr,
    timeouts: Timeouts,
    slots: Arc<Semaphore>,
    full: bool,
}

impl ConnectionLimiter {
    async fn slot(&mut self) -> OwnedSemaphorePermit {
        let full = self.slots.available_permits() == 0;
        if full && !self.full {
            tracing::warn!("all connections are taken; new ones wait");
        }
        self.full = full;
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        slot.expect("nobody closes the semaphore")
    }
}

impl Acceptor for ConnectionLimiter {
    type Io = TimeoutStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![self.address.clone()]
    }

    async fn accept(&mut self) -> io::Result<(TimeoutStream, LocalAddr, RemoteAddr, Scheme)> {
        let slot = self.slot().await;
        loop {
            match self.listener.accept().await {
                Ok((socket, peer)) => {
                    // Without this, small answers wait for acknowledgements. A socket that
                    // refuses it is as good as closed.
                    let _ = socket.set_nodelay(true);
                    let timeout_stream = TimeoutStream::new(socket, self.timeouts, slot);
                    let peer = RemoteAddr(peer.into());
                    return Ok((timeout_stream, self.address.clone(), peer, Scheme::HTTP));
                }
                Err(error) if went_away(&error) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept connections right now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn went_away(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
