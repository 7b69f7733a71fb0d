use std::sync::Arc;
use std::time::Duration;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher};
use flashsale_core::domain::{Role, Timestamp, UserId};
use flashsale_core::ports::{Claims, InvalidToken, IssuedToken, TokenIssuer};
use flashsale_core::{ErrorKind, PortError};
use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, OpenError, SystemClock};
use flashsale_server::Services;
use tokio::time::{Instant, sleep};

use super::Failure;
use crate::config::{PasswordConfig, StoreConfig};
use crate::control::{AskError, ControlAddress, Operations, Reply, Request, ask};

/// Why the database does not open.
#[derive(Debug)]
pub(super) enum OpenFailure {
    /// Another process has it open, says the text.
    InUse(String),
    /// Anything else.
    Other(Failure),
}

/// Opens the database, makes it if there is none, and brings it up to date.
pub(super) fn open(store: &StoreConfig) -> Result<EmbeddedEngine, OpenFailure> {
    // One name for one file, whatever links lead to it: the engine's lock goes by name.
    let config = EmbeddedConfig::new(crate::control::canonical(&store.file));
    EmbeddedEngine::open(config, Arc::new(SystemClock)).map_err(|error| match error {
        OpenError::InUse { .. } => OpenFailure::InUse(error.to_string()),
        other => OpenFailure::Other(Failure::failed(other.to_string())),
    })
}

/// How long a command waits for another process that has the database open but does not answer:
/// a server that is starting or leaving, or another command.
const BUSY_WAIT: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Carries a request out: here if nobody has the database open, else in the server that has.
///
/// Whoever has the file's lock acts, and only a process that has it listens on the control socket;
/// so there is no moment at which two processes act on the file.
pub(super) async fn perform(
    store: &StoreConfig,
    password: Option<PasswordConfig>,
    request: Request,
) -> Result<Reply, Failure> {
    let makes = matches!(request, Request::SaleCreate(_) | Request::UserCreate(_));
    if !makes && !store.file.exists() {
        return Err(Failure::failed(format!(
            "there is no database {}: set DATABASE_URL, or make it with `migrate` or `sale create`",
            store.file.display()
        )));
    }
    let address = ControlAddress::of(&store.file);
    let deadline = Instant::now() + BUSY_WAIT;
    loop {
        let in_use = match open(store) {
            Ok(engine) => return here(&engine, password, request).await,
            Err(OpenFailure::InUse(in_use)) => in_use,
            Err(OpenFailure::Other(failure)) => return Err(failure),
        };
        match ask(&address, &request).await {
            Ok(reply) => return Ok(reply),
            Err(AskError::Nobody(_)) if Instant::now() < deadline => sleep(RETRY_PAUSE).await,
            Err(error @ AskError::Nobody(_)) => {
                return Err(Failure::failed(format!("{in_use} ({error})")));
            }
            Err(error) => return Err(Failure::failed(error.to_string())),
        }
    }
}

/// A reply that is not what was asked for, as a failure.
pub(super) fn refused(reply: Reply) -> Failure {
    match reply {
        Reply::Refused(why) | Reply::Failed(why) => Failure::failed(why),
        Reply::Pong | Reply::Sale(_) | Reply::Sales(_) | Reply::User(_) | Reply::Audit(_) => {
            Failure::failed(
                "the server has answered something else; use the program of its version",
            )
        }
    }
}

async fn here(
    engine: &EmbeddedEngine,
    password: Option<PasswordConfig>,
    request: Request,
) -> Result<Reply, Failure> {
    // Without a password to hash, the cheapest hasher is ready the soonest.
    let cost = password.map_or(4, |password| password.bcrypt_cost);
    let hasher = BcryptPasswordHasher::new(BcryptConfig {
        cost,
        ..BcryptConfig::default()
    });
    let hasher = hasher.map_err(|error| Failure::failed(error.to_string()))?;
    let services = Services::embedded(engine, Arc::new(hasher), Arc::new(NoTokens));
    Ok(Operations::new(&services).perform(request).await)
}

/// For commands, which log nobody in and need no secret for it.
#[derive(Debug)]
struct NoTokens;

impl TokenIssuer for NoTokens {
    fn issue(&self, _: &UserId, _: &str, _: Role, _: Timestamp) -> Result<IssuedToken, PortError> {
        Err(PortError::new(ErrorKind::Misconfigured, "command", "issue"))
    }

    fn verify(&self, _: &str, _: Timestamp) -> Result<Claims, InvalidToken> {
        Err(InvalidToken)
    }
}
