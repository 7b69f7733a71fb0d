use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Mutex;

use rustix::process::Signal;

use crate::proxy::{Mode, Proxy};
use crate::support::ServerProcess;

/// A process of ours, at one address whatever happens to it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Locked while it is down on purpose.
    running: Mutex<Running>,
    /// From its users to it.
    link: Proxy,
    links: Option<Links>,
}

/// The network between a process and the servers that it needs.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) redis: Proxy,
    pub(crate) kafka: Proxy,
    pub(crate) postgres: Proxy,
}

/// Where nobody listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

impl Links {
    /// A network that does not lead anywhere yet.
    pub(crate) async fn nowhere() -> Self {
        Self {
            redis: Proxy::to(NOWHERE).await,
            kafka: Proxy::to(NOWHERE).await,
            postgres: Proxy::to(NOWHERE).await,
        }
    }
}

#[derive(Debug, Default)]
struct Running {
    server: Option<ServerProcess>,
    /// The last lines of its log.
    log: VecDeque<String>,
}

/// What a process did that it should not.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) what: String,
    /// Whether it runs no more.
    pub(crate) ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    All,
    Api,
    Worker,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }
}

impl Process {
    pub(crate) async fn new(name: &'static str, role: Role, links: Option<Links>) -> Self {
        Self {
            name,
            role,
            running: Mutex::default(),
            link: Proxy::to(NOWHERE).await,
            links,
        }
    }

    /// Where its users find it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.link.address()
    }

    /// Its network to the servers, unless it has its own store.
    pub(crate) fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self, command: &mut Command) {
        let mut running = self.running.lock().unwrap();
        let server = match self.links {
            Some(_) => ServerProcess::listen(command),
            None => ServerProcess::start(command),
        };
        self.link.lead_to(server.address);
        running.server = Some(server);
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&self) {
        let mut running = self.running.lock().unwrap();
        if let Some(mut server) = running.server.take() {
            server.kill();
            running.note(&server);
        }
    }

    /// Freezes it, or lets it go on.
    pub(crate) fn freeze(&self, freeze: bool) {
        let running = self.running.lock().unwrap();
        if let Some(server) = &running.server {
            let signal = if freeze { Signal::STOP } else { Signal::CONT };
            server.signal(signal);
        }
    }

    /// Does this to its network: that to the servers, or to its users if it has its own store.
    pub(crate) fn set(&self, mode: Mode) {
        match &self.links {
            Some(links) => [&links.redis, &links.kafka, &links.postgres]
                .into_iter()
                .for_each(|link| link.set(mode)),
            None => self.link.set(mode),
        }
    }

    /// The id of its process, if it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        let running = self.running.try_lock().ok()?;
        running.server.as_ref().map(ServerProcess::id)
    }

    /// Looks at it; says what it should not have done.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let mut running = self.running.try_lock().ok()?;
        let mut server = running.server.take()?;
        let panicked = running.note(&server);
        let end = server.ended();
        let name = self.name;
        let what = match end {
            Some(status) => format!("{name} has ended by itself: {status}"),
            None => {
                running.server = Some(server);
                panicked.then(|| format!("{name} has panicked"))?
            }
        };
        let log: Vec<_> = running.log.iter().map(String::as_str).collect();
        Some(Trouble {
            what: format!("{what}\n    {}", log.join("\n    ")),
            ended: end.is_some(),
        })
    }
}

impl Running {
    const LOG_LINES: usize = 60;

    /// Takes in new lines of its log; says whether one tells of a panic.
    fn note(&mut self, server: &ServerProcess) -> bool {
        let lines = server.rest_of_log();
        let panicked = lines.iter().any(|line| line.contains("panicked"));
        self.log.extend(lines);
        let over = self.log.len().saturating_sub(Self::LOG_LINES);
        self.log.drain(..over);
        panicked
    }
}
