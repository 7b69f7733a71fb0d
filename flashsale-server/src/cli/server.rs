use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_embedded::EmbeddedEngine;
use flashsale_server::{Background, HttpConfig, Services};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Failure;
use super::shutdown::Shutdown;
use crate::config::{ListenConfig, PasswordConfig, SettingError, TokenConfig};
use crate::control::{ControlAddress, ControlSocket, Operations};

/// How long requests that were accepted may take after a signal; with the other two waits it stays
/// below the 10 s in which the process has to leave.
const REQUEST_GRACE: Duration = Duration::from_secs(7);
const BACKGROUND_GRACE: Duration = Duration::from_secs(1);
const CONTROL_GRACE: Duration = Duration::from_secs(1);

/// A server over an open database.
#[derive(Debug)]
pub(super) struct Server {
    services: Arc<Services>,
    file: PathBuf,
}

impl Server {
    /// Wires it.
    pub(super) fn new(
        engine: &EmbeddedEngine,
        file: PathBuf,
        token: &TokenConfig,
        password: PasswordConfig,
    ) -> Result<Self, Failure> {
        let hasher = BcryptPasswordHasher::new(BcryptConfig {
            cost: password.bcrypt_cost,
            ..BcryptConfig::default()
        });
        let tokens = JwtTokenIssuer::new(JwtConfig {
            expires_in_s: token.expires_in_s,
            ..JwtConfig::new([JwtKey::hs256("1", token.secret.reveal())])
        });
        let wrong = |error: flashsale_auth::ConfigError| Failure::failed(error.to_string());
        let services = Services::embedded(
            engine,
            Arc::new(hasher.map_err(wrong)?),
            Arc::new(tokens.map_err(wrong)?),
        );
        Ok(Self {
            services: Arc::new(services),
            file,
        })
    }

    /// What commands can ask of it.
    pub(super) fn operations(&self) -> Operations {
        Operations::new(&self.services)
    }

    /// Serves until the operator wishes otherwise, then finishes what was accepted.
    ///
    /// `ready` is called when everything works; requests that come earlier wait.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        cors_origins: Vec<String>,
        mut shutdown: Shutdown,
        ready: impl FnOnce(),
    ) -> Result<(), Failure> {
        let default = HttpConfig::default();
        let http = HttpConfig {
            cors_origins,
            connections_max: default.connections_max.min(sockets_max()),
            ..default
        };
        let app = flashsale_server::app(Arc::clone(&self.services), &http)
            .map_err(|error| Failure::failed(error.to_string()))?;
        let background = Background::start(&self.services)
            .await
            .map_err(|error| Failure::failed(format!("the sales cannot be made ready: {error}")))?;
        let stop = watch::Sender::new(false);
        let control = self.listen_to_commands(stop.subscribe());
        ready();

        let wished = async move {
            let signal = shutdown.wished().await;
            tracing::info!(
                signal,
                "stopping: no new requests, finishing those accepted"
            );
        };
        let served = flashsale_server::serve(listener, app, &http, wished, REQUEST_GRACE).await;
        // Commands are answered as long as the database is in our hands.
        stop.send_replace(true);
        background.stop(BACKGROUND_GRACE).await;
        if let Some(control) = control {
            let _ = timeout(CONTROL_GRACE, control).await;
        }
        served.map_err(|error| Failure::failed(format!("serving failed: {error}")))?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Opens the control socket. Buyers are served also without it.
    fn listen_to_commands(
        &self,
        mut stop: watch::Receiver<bool>,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let address = ControlAddress::of(&self.file);
        match ControlSocket::bind(&address) {
            Ok(socket) => {
                tracing::debug!(path = %socket.path().display(), "listening to commands");
                let stopped = async move {
                    let _ = stop.wait_for(|stop| *stop).await;
                };
                Some(tokio::spawn(socket.serve(self.operations(), stopped)))
            }
            Err(error) => {
                tracing::warn!(%error, "commands cannot reach this server: no control socket");
                None
            }
        }
    }
}

/// How many connections the system lets this process have, after asking it for all it gives.
fn sockets_max() -> usize {
    /// For the database, the listeners and the logs.
    const KEPT_BACK: u64 = 64;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    // Some systems name no maximum but take none either; then it stays as it was.
    let _ = setrlimit(Resource::Nofile, most);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(KEPT_BACK).max(1)).unwrap_or(usize::MAX)
}

/// Takes the address that the settings name.
pub(super) async fn bind(listen: &ListenConfig) -> Result<TcpListener, Failure> {
    let ListenConfig { host, port, .. } = listen;
    match try_bind(host, *port).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Failure::failed(format!(
            "PORT {port} on {host} is taken by another program: stop that, or choose another PORT"
        ))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Failure::failed(
            format!("PORT {port} on {host} is not open to this user: choose one from 1024 on"),
        )),
        Err(error) => {
            let allowed = format!("must be an address or a name of this machine ({error})");
            Err(SettingError::value("HOST", host.as_str(), allowed).into())
        }
    }
}

/// Listens on the first address of the host that can be had.
pub(super) async fn try_bind(host: &str, port: u16) -> io::Result<TcpListener> {
    /// A crowd arrives at once; the system may cut it to its own limit.
    const BACKLOG: u32 = 4_096;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        let listen = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // Else the port stays blocked for a minute after a server that had connections.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        match listen() {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The address that a client on this machine uses.
pub(super) fn base_url(listener: &TcpListener) -> Result<String, Failure> {
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("the listener has no address: {error}")))?;
    let port = address.port();
    Ok(match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("http://127.0.0.1:{port}"),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{port}"),
        other => format!("http://{other}"),
    })
}
