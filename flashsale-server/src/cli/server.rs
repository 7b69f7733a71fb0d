use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::{Background, BackgroundConfig, HttpConfig, Role, Services};
use flashsale_embedded::EmbeddedEngine;
use futures_util::future::LocalBoxFuture;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

use super::CliError;
use super::credentials::{hasher, tokens};
use super::shutdown::Shutdown;
use crate::config::{ListenConfig, PasswordConfig, SettingError, TokenConfig};
use crate::control::{Commands, ControlAddress, ControlSocket, canonical};

/// How long requests that were accepted may take after a signal; with the other two waits it stays
/// below the 10 s in which the process has to leave.
const REQUEST_GRACE: Duration = Duration::from_secs(7);
const BACKGROUND_GRACE: Duration = Duration::from_secs(1);
const CONTROL_GRACE: Duration = Duration::from_secs(1);

/// A server over an engine.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) services: Arc<Services>,
    /// What runs beside the requests.
    pub(super) background: BackgroundConfig,
    /// The database file, if there is one, for commands from other processes.
    pub(super) file: Option<PathBuf>,
}

/// What a server does besides serving while the services that it depends on come up.
pub(super) struct Startup {
    /// Has to succeed before anything runs beside the requests.
    pub(super) first: LocalBoxFuture<'static, Result<(), CliError>>,
    /// Goes on while the server serves.
    pub(super) beside: LocalBoxFuture<'static, ()>,
    /// Comes last of all.
    pub(super) last: LocalBoxFuture<'static, ()>,
}

impl Server {
    /// Over an embedded engine.
    pub(super) fn embedded(
        engine: &EmbeddedEngine,
        file: &Path,
        token: Option<&TokenConfig>,
        password: PasswordConfig,
    ) -> Result<Self, CliError> {
        let hasher = hasher(Some(password))?;
        let services = Services::embedded(engine, hasher, tokens(token)?);
        Ok(Self {
            services: Arc::new(services),
            background: BackgroundConfig::default(),
            file: Some(canonical(file)),
        })
    }

    /// What commands can ask of it.
    pub(super) fn commands(&self) -> Commands {
        Commands::new(&self.services)
    }

    /// Serves until the operator ends it, then finishes what was accepted.
    ///
    /// `ready` is called when everything works. Without a startup, requests that come earlier wait;
    /// with one they are answered, as far as that can be done.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        http: HttpConfig,
        shutdown_delay: Duration,
        mut shutdown: Shutdown,
        startup: Option<Startup>,
        ready: impl FnOnce(),
    ) -> Result<(), CliError> {
        let http = HttpConfig {
            connections_max: http.connections_max.min(sockets_max()),
            service_routes_only: self.background.role == Role::Worker,
            ..http
        };
        let app = crate::app(Arc::clone(&self.services), &http)
            .map_err(|error| CliError::failed(error.to_string()))?;
        let stop = watch::Sender::new(false);
        let control = self.listen_to_commands(stop.subscribe());
        let services = Arc::clone(&self.services);
        let requested = async move {
            let mut signal = shutdown.requested().await;
            services.leave();
            if !shutdown_delay.is_zero() {
                let delay_ms = shutdown_delay.as_millis() as u64;
                tracing::info!(
                    signal,
                    delay_ms,
                    "leaving: not ready any more, still serving"
                );
                // Who signals once more does not want to wait.
                if let Ok(again) = timeout(shutdown_delay, shutdown.requested()).await {
                    signal = again;
                }
            }
            tracing::info!(
                signal,
                "stopping: no new requests, finishing those accepted"
            );
        };
        let serving = crate::serve(listener, app, &http, requested, REQUEST_GRACE);
        let serving = async {
            let served = serving.await;
            served.map_err(|error| CliError::failed(format!("serving failed: {error}")))
        };
        let mut background = None;
        let (served, last) = match startup {
            None => {
                background = Some(Background::start(&self.services, &self.background).await);
                ready();
                (serving.await, None)
            }
            Some(Startup {
                first,
                beside,
                last,
            }) => {
                let starting = async {
                    first.await?;
                    background = Some(Background::start(&self.services, &self.background).await);
                    ready();
                    beside.await;
                    std::future::pending().await
                };
                let served = tokio::select! {
                    served = serving => served,
                    failed = starting => failed,
                };
                (served, Some(last))
            }
        };
        // Commands are answered as long as the database is in our hands.
        stop.send_replace(true);
        if let Some(background) = background {
            background.stop(BACKGROUND_GRACE).await;
        }
        if let Some(last) = last {
            last.await;
        }
        if let Some(control) = control {
            let _ = timeout(CONTROL_GRACE, control).await;
        }
        served?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Opens the control socket. Buyers are served also without it.
    fn listen_to_commands(
        &self,
        mut stop: watch::Receiver<bool>,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let address = ControlAddress::of(self.file.as_deref()?);
        match ControlSocket::bind(&address) {
            Ok(socket) => {
                tracing::debug!(path = %socket.path().display(), "listening to commands");
                let stopped = async move {
                    let _ = stop.wait_for(|stop| *stop).await;
                };
                Some(tokio::spawn(socket.serve(self.commands(), stopped)))
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
pub(super) async fn bind(listen: &ListenConfig) -> Result<TcpListener, CliError> {
    let ListenConfig { host, port, .. } = listen;
    match try_bind(host, *port).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(CliError::failed(format!(
            "PORT {port} on {host} is taken by another program: stop that, or choose another PORT"
        ))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(CliError::failed(
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
pub(super) fn base_url(listener: &TcpListener) -> Result<String, CliError> {
    let address = listener
        .local_addr()
        .map_err(|error| CliError::failed(format!("the listener has no address: {error}")))?;
    let port = address.port();
    Ok(match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("http://127.0.0.1:{port}"),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{port}"),
        other => format!("http://{other}"),
    })
}
