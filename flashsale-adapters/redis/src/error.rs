use flashsale_core::{Effect, ErrorKind, PortError};
use redis::{ErrorKind as RedisKind, RedisError, ServerErrorKind};

pub(crate) const ADAPTER: &str = "redis";

/// Why a call to Redis has failed, before it is known which operation of the port it was for.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) effect: Effect,
    pub(crate) retry: Retry,
    cause: Cause,
    redirection: Option<Box<Redirection>>,
}

/// Where a node of a cluster says that a slot is.
#[derive(Clone, Debug)]
pub(crate) struct Redirection {
    pub(crate) slot: u16,
    /// Empty or `?` for the host of the node that says so.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For this call only (`ASK`).
    pub(crate) once: bool,
}

/// Whether the same call may work within the time that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Not before somebody does something.
    No,
    /// As soon as there is a connection.
    AtOnce,
    /// A moment later.
    Later,
}

/// What went wrong, in one line that names the remedy if there is one.
#[derive(Clone, Debug, thiserror::Error)]
enum Cause {
    #[error("no connection to Redis")]
    NotConnected,
    #[error("no connection to Redis: {0}")]
    ConnectFailed(RedisError),
    #[error("no answer within {0} ms")]
    NoAnswer(u128),
    #[error("the call was given up before it was sent")]
    TooLate,
    #[error("the task that made the call has ended")]
    Abandoned,
    #[error("{0} calls are waiting already")]
    Waiting(usize),
    #[error("{0}")]
    Redis(RedisError),
    #[error("no node of the cluster has the slot {0}")]
    NoOwner(u16),
    #[error("the slots of the cluster are moving")]
    Moving,
    #[error("the server does not say how it is set up")]
    NoInfo,
    #[error("the cluster is down: some slots have no node")]
    ClusterDown,
    #[error("the user or the password in the address is wrong ({0}): correct it")]
    Credentials(String),
    #[error("the Redis user lacks a right ({0}): grant it @all on the keys of the prefix")]
    Rights(String),
    #[error("{0}: correct the address, or sslrootcert in it")]
    Untrusted(String),
    #[error(
        "{0}: Redis wants a certificate of a CA that it trusts, in sslcert and sslkey of the address"
    )]
    Unknown(String),
    #[error("this Redis takes no connections from here (protected mode): set a password or bind")]
    ProtectedMode,
    #[error("this is one node of a Redis Cluster: give several of its nodes, separated by commas")]
    IsCluster,
    #[error("these addresses are no Redis Cluster: give one address")]
    IsNoCluster,
    #[error("this Redis is too old: use 7.0 or later")]
    TooOld,
    #[error("{0}")]
    Setting(String),
    #[error("{0}")]
    Damaged(String),
    #[error("the buyers put aside for the stock are not all there any more")]
    BuyersLost,
    #[error("{0}")]
    Invalid(&'static str),
}

impl Fault {
    fn new(kind: ErrorKind, retry: Retry, cause: Cause) -> Self {
        Self {
            kind,
            effect: Effect::None,
            retry,
            cause,
            redirection: None,
        }
    }

    /// Where the call should have gone.
    pub(crate) fn redirection(&self) -> Option<&Redirection> {
        self.redirection.as_deref()
    }

    /// The same fault, but what was called may have happened.
    pub(crate) fn unknown(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// The same fault, of a call that changes nothing that matters.
    pub(crate) fn harmless(mut self) -> Self {
        self.effect = Effect::None;
        self
    }

    /// There is no connection.
    pub(crate) fn not_connected(why: Option<RedisError>) -> Self {
        match why.map(Self::from) {
            // What stands in the way of connecting at all is told as it is.
            Some(fault) if fault.kind == ErrorKind::Misconfigured => fault.harmless(),
            Some(Self {
                cause: Cause::Redis(why),
                ..
            }) => Self::new(
                ErrorKind::Unavailable,
                Retry::AtOnce,
                Cause::ConnectFailed(why),
            ),
            Some(_) | None => Self::new(ErrorKind::Unavailable, Retry::AtOnce, Cause::NotConnected),
        }
    }

    /// It was sent, and nothing came back in time.
    pub(crate) fn no_answer(waited: std::time::Duration) -> Self {
        let cause = Cause::NoAnswer(waited.as_millis());
        Self::new(ErrorKind::Unavailable, Retry::AtOnce, cause).unknown()
    }

    /// Its time was over before it was sent.
    pub(crate) fn too_late() -> Self {
        Self::new(ErrorKind::Unavailable, Retry::No, Cause::TooLate)
    }

    /// The runtime has dropped the task.
    pub(crate) fn abandoned() -> Self {
        Self::new(ErrorKind::Unavailable, Retry::No, Cause::Abandoned).unknown()
    }

    /// Too many are waiting.
    pub(crate) fn waiting(max: usize) -> Self {
        Self::new(ErrorKind::Busy, Retry::No, Cause::Waiting(max))
    }

    /// No node serves the slot.
    pub(crate) fn no_owner(slot: u16) -> Self {
        Self::new(ErrorKind::Unavailable, Retry::Later, Cause::NoOwner(slot))
    }

    /// Redirected too often.
    pub(crate) fn moving() -> Self {
        Self::new(ErrorKind::Unavailable, Retry::Later, Cause::Moving)
    }

    /// A setting of the server that endangers the stock.
    pub(crate) fn setting(line: String) -> Self {
        Self::new(ErrorKind::Misconfigured, Retry::No, Cause::Setting(line))
    }

    /// A server does not say how it is set up.
    pub(crate) fn no_info() -> Self {
        Self::new(ErrorKind::Unavailable, Retry::No, Cause::NoInfo)
    }

    /// The cluster does not work as a whole.
    pub(crate) fn cluster_down() -> Self {
        Self::new(ErrorKind::Unavailable, Retry::Later, Cause::ClusterDown)
    }

    /// One node of a cluster was named as if it were all of it.
    pub(crate) fn is_cluster() -> Self {
        Self::new(ErrorKind::Misconfigured, Retry::No, Cause::IsCluster)
    }

    /// The server is too old.
    pub(crate) fn too_old() -> Self {
        Self::new(ErrorKind::Misconfigured, Retry::No, Cause::TooOld)
    }

    /// What Redis has is not what was put there. The script may have run.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        let cause = Cause::Damaged(what.into());
        Self::new(ErrorKind::Corrupt, Retry::No, cause).unknown()
    }

    /// What a loader put aside is gone.
    pub(crate) fn buyers_lost() -> Self {
        Self::new(ErrorKind::Unavailable, Retry::No, Cause::BuyersLost)
    }

    /// Input that breaks a limit.
    pub(crate) fn invalid(problem: &'static str) -> Self {
        Self::new(ErrorKind::Invalid, Retry::No, Cause::Invalid(problem))
    }

    /// The fault as one of an operation of the port.
    pub(crate) fn of(self, operation: &'static str) -> PortError {
        let error = PortError::new(self.kind, ADAPTER, operation).with_source(self.cause);
        match self.effect {
            Effect::None => error,
            Effect::Unknown => error.effect_unknown(),
        }
    }
}

/// What an error of the driver means. Whatever Redis refuses it has not done; whatever is lost on
/// the way may have happened.
impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        use ErrorKind::{Busy, Corrupt, Full, Misconfigured, Unavailable};
        let redirection = redirection(&error).map(Box::new);
        let detail = |error: &RedisError| one_line(error.detail().unwrap_or_default());
        let code = error.code().map(str::to_owned).unwrap_or_default();
        let (kind, retry, cause) = match (error.kind(), code.as_str()) {
            (_, "WRONGPASS" | "NOAUTH") | (RedisKind::AuthenticationFailed, _) => {
                (Misconfigured, Retry::No, Cause::Credentials(code))
            }
            (_, "NOPERM") => (Misconfigured, Retry::No, Cause::Rights(detail(&error))),
            (_, "DENIED") => (Misconfigured, Retry::No, Cause::ProtectedMode),
            (_, "MOVED" | "ASK" | "CROSSSLOT") => (Misconfigured, Retry::No, Cause::IsCluster),
            (_, "OOM") => (Full, Retry::No, Cause::Redis(error)),
            (_, "BUSY") => (Busy, Retry::No, Cause::Redis(error)),
            (
                _,
                "READONLY" | "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" | "NOREPLICAS",
            ) => (Unavailable, Retry::Later, Cause::Redis(error)),
            (_, "MISCONF") => (Unavailable, Retry::No, Cause::Redis(error)),
            (_, "DAMAGED") => (Corrupt, Retry::No, Cause::Damaged(detail(&error))),
            // Of rustls: what is read in clear is never such an error.
            (RedisKind::Io, _) if is_tls(&error) => {
                let line = one_line(&error.to_string());
                match line.contains("received fatal alert") {
                    true => (Misconfigured, Retry::No, Cause::Unknown(line)),
                    false => (Misconfigured, Retry::No, Cause::Untrusted(line)),
                }
            }
            (RedisKind::RESP3NotSupported, _) => (Misconfigured, Retry::No, Cause::TooOld),
            (RedisKind::InvalidClientConfig, _) => (Misconfigured, Retry::No, Cause::Redis(error)),
            (RedisKind::Server(ServerErrorKind::ResponseError), _)
                if detail(&error).contains("cluster support disabled") =>
            {
                (Misconfigured, Retry::No, Cause::IsNoCluster)
            }
            // A script that is stopped by an error of its own may have written before.
            (RedisKind::Server(_) | RedisKind::Extension, _) => {
                return Self::new(Corrupt, Retry::No, Cause::Redis(error)).unknown();
            }
            _ => {
                return Self::new(Unavailable, Retry::AtOnce, Cause::Redis(error)).unknown();
            }
        };
        Self {
            redirection,
            ..Self::new(kind, retry, cause)
        }
    }
}

/// Whether encryption failed, not the network.
fn is_tls(error: &RedisError) -> bool {
    let source = std::error::Error::source(error);
    type Shared = std::sync::Arc<dyn std::error::Error + Send + Sync>;
    let io = source
        .and_then(|source| source.downcast_ref::<Shared>())
        .and_then(|shared| shared.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData)
}

fn redirection(error: &RedisError) -> Option<Redirection> {
    let (address, slot) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Some(Redirection {
        slot,
        host: host.to_owned(),
        port: port.parse().ok()?,
        once: error.code() == Some("ASK"),
    })
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
