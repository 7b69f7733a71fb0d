use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A TCP proxy that can be cut, held and restored.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
    mode: watch::Sender<Mode>,
}

/// What a [`Proxy`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Carries everything.
    Pass,
    /// Keeps connections and takes new ones, but carries nothing: a network that swallows.
    Hold,
    /// Breaks all connections, and each new one.
    Cut,
}

impl Proxy {
    /// One on a port that the system chooses.
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Arc::new(Mutex::new(upstream));
        let mode = watch::Sender::new(Mode::Pass);
        let (goal, modes) = (Arc::clone(&upstream), mode.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let goal = *goal.lock().unwrap();
                let modes = modes.clone();
                tokio::spawn(async move {
                    let _ = carry(client, goal, modes).await;
                });
            }
        });
        Self {
            address,
            upstream,
            mode,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections to another place.
    pub(crate) fn lead_to(&self, upstream: SocketAddr) {
        *self.upstream.lock().unwrap() = upstream;
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

/// Carries one connection until an end of it closes or it is cut.
async fn carry(
    client: TcpStream,
    upstream: SocketAddr,
    mut modes: watch::Receiver<Mode>,
) -> io::Result<()> {
    if !passes(&mut modes).await {
        return Ok(());
    }
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (modes.clone(), modes.clone());
    tokio::select! {
        done = pump(from_client, to_server, there) => done,
        done = pump(from_server, to_client, back) => done,
        _ = modes.wait_for(|mode| *mode == Mode::Cut) => Ok(()),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 || !passes(&mut modes).await {
            return Ok(());
        }
        to.write_all(&bytes[..count]).await?;
    }
}

/// Waits while the proxy holds; says whether it passes then.
async fn passes(modes: &mut watch::Receiver<Mode>) -> bool {
    let mode = modes.wait_for(|mode| *mode != Mode::Hold).await;
    mode.is_ok_and(|mode| *mode == Mode::Pass)
}
