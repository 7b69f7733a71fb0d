//! Carries a command out on whatever engine the settings name.

use super::command_deps::CommandDeps;
#[cfg(feature = "distributed")]
use super::distributed;
use super::{CliError, embedded, wording};
use crate::config::StoreConfig;
use crate::control::{Reply, Request};

/// Carries a request out.
pub(super) async fn perform(
    store: &StoreConfig,
    deps: CommandDeps,
    request: Request,
) -> Result<Reply, CliError> {
    match store {
        StoreConfig::File(file) => embedded::perform(file, deps.password, request).await,
        #[cfg(feature = "distributed")]
        StoreConfig::Servers(servers) => distributed::perform(servers, deps, request).await,
    }
}

/// A reply that is not what was asked for, as a failure.
pub(super) fn refused(reply: Reply) -> CliError {
    match reply {
        Reply::Refused(refusal) => CliError::failed(wording::refusal(&refusal)),
        Reply::Failed(fault) => CliError::failed(fault),
        Reply::TimedOut => CliError::failed("it took too long and may still have happened"),
        _ => CliError::failed(
            "the server has answered something else; use the program of its version",
        ),
    }
}
