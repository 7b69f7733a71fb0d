use std::sync::Arc;
use std::time::Duration;

use crate::Services;
use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, OpenError, SystemClock};
use tokio::time::{Instant, sleep};

use super::CliError;
use super::credentials::{NoTokens, hasher};
use crate::config::{FileConfig, PasswordConfig};
use crate::control::{AskError, Commands, ControlAddress, Reply, Request, ask};

/// Why the database does not open.
#[derive(Debug)]
pub(super) enum OpenFailure {
    /// Another process has it open, says the text.
    InUse(String),
    /// Anything else.
    Other(CliError),
}

/// Opens the database, makes it if there is none, and brings it up to date.
pub(super) fn open(store: &FileConfig) -> Result<EmbeddedEngine, OpenFailure> {
    // One name for one file, whatever links lead to it: the engine's lock goes by name.
    let config = EmbeddedConfig::new(crate::control::canonical(&store.file));
    EmbeddedEngine::open(config, Arc::new(SystemClock)).map_err(|error| match error {
        OpenError::InUse { .. } => OpenFailure::InUse(error.to_string()),
        other => OpenFailure::Other(CliError::failed(other.to_string())),
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
    store: &FileConfig,
    password: Option<PasswordConfig>,
    request: Request,
) -> Result<Reply, CliError> {
    let makes = matches!(request, Request::SaleCreate(_) | Request::UserCreate(_));
    if !makes && !store.file.exists() {
        return Err(CliError::failed(format!(
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
                return Err(CliError::failed(format!("{in_use} ({error})")));
            }
            Err(error) => return Err(CliError::failed(error.to_string())),
        }
    }
}

async fn here(
    engine: &EmbeddedEngine,
    password: Option<PasswordConfig>,
    request: Request,
) -> Result<Reply, CliError> {
    let hasher = hasher(password)?;
    let services = Services::embedded(engine, hasher, Arc::new(NoTokens));
    Ok(Commands::new(&services).perform(request).await)
}

/// Opens the database for a server. A command that has it open for a moment is waited for; another
/// server is not.
pub(super) async fn open_to_serve(store: &FileConfig) -> Result<EmbeddedEngine, CliError> {
    const COMMAND_WAIT: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + COMMAND_WAIT;
    let address = ControlAddress::of(&store.file);
    loop {
        let in_use = match open(store) {
            Ok(engine) => return Ok(engine),
            Err(OpenFailure::InUse(in_use)) => in_use,
            Err(OpenFailure::Other(failure)) => return Err(failure),
        };
        let server = matches!(ask(&address, &Request::Ping).await, Ok(Reply::Pong));
        if server || Instant::now() >= deadline {
            return Err(CliError::failed(in_use));
        }
        sleep(RETRY_PAUSE).await;
    }
}
