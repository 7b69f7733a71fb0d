//! Carries a command out on whatever engine the settings name.

use std::sync::Arc;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher};
use flashsale_core::domain::{Role, Timestamp, UserId};
use flashsale_core::ports::{Claims, InvalidToken, IssuedToken, TokenIssuer};
use flashsale_core::{ErrorKind, PortError};

#[cfg(feature = "distributed")]
use super::distributed;
use super::{CliError, embedded};
#[cfg(feature = "distributed")]
use crate::config::QueueConfig;
use crate::config::{PasswordConfig, StoreConfig};
use crate::control::{Reply, Request};

/// What a command needs beside the stores.
#[derive(Debug, Default)]
pub(super) struct CommandDeps {
    /// To hash a password.
    pub(super) password: Option<PasswordConfig>,
    /// To ask the queue of the distributed engine, if it is given.
    #[cfg(feature = "distributed")]
    pub(super) queue: Option<QueueConfig>,
}

/// Carries a request out.
pub(super) async fn perform(
    store: &StoreConfig,
    needs: CommandDeps,
    request: Request,
) -> Result<Reply, CliError> {
    match store {
        StoreConfig::File(file) => embedded::perform(file, needs.password, request).await,
        #[cfg(feature = "distributed")]
        StoreConfig::Servers(servers) => distributed::perform(servers, needs, request).await,
    }
}

/// A reply that is not what was asked for, as a failure.
pub(super) fn refused(reply: Reply) -> CliError {
    match reply {
        Reply::Refused(why) | Reply::Failed(why) => CliError::failed(why),
        _ => CliError::failed(
            "the server has answered something else; use the program of its version",
        ),
    }
}

/// Hashes passwords at this cost.
pub(super) fn hasher(
    password: Option<PasswordConfig>,
) -> Result<Arc<BcryptPasswordHasher>, CliError> {
    // Without a password to hash, the cheapest hasher is ready the soonest.
    let cost = password.map_or(4, |password| password.bcrypt_cost);
    let hasher = BcryptPasswordHasher::new(BcryptConfig {
        cost,
        ..BcryptConfig::default()
    });
    hasher
        .map(Arc::new)
        .map_err(|error| CliError::failed(error.to_string()))
}

/// For processes that log nobody in and need no secret for it.
#[derive(Debug)]
pub(super) struct NoTokens;

impl TokenIssuer for NoTokens {
    fn issue(&self, _: &UserId, _: &str, _: Role, _: Timestamp) -> Result<IssuedToken, PortError> {
        Err(PortError::new(ErrorKind::Misconfigured, "command", "issue"))
    }

    fn verify(&self, _: &str, _: Timestamp) -> Result<Claims, InvalidToken> {
        Err(InvalidToken)
    }
}
