use std::sync::Arc;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::domain::{Role, Timestamp, UserId};
use flashsale_core::ports::{Claims, InvalidToken, IssuedToken, TokenIssuer};
use flashsale_core::{ErrorKind, PortError};

use super::CliError;
use crate::config::{PasswordConfig, TokenConfig};

/// Issues and verifies the tokens of these settings; without any, knows nobody.
pub(super) fn tokens(token: Option<&TokenConfig>) -> Result<Arc<dyn TokenIssuer>, CliError> {
    let Some(token) = token else {
        return Ok(Arc::new(NoTokens));
    };
    let tokens = JwtTokenIssuer::new(JwtConfig {
        expires_in_s: token.expires_in_s,
        ..JwtConfig::new([JwtKey::hs256("1", token.secret.reveal())])
    });
    match tokens {
        Ok(tokens) => Ok(Arc::new(tokens)),
        Err(error) => Err(CliError::failed(error.to_string())),
    }
}

/// Hashes passwords at this cost.
pub(super) fn hasher(
    password: Option<PasswordConfig>,
) -> Result<Arc<BcryptPasswordHasher>, CliError> {
    // Without a password to hash, the cheapest hasher is ready the soonest.
    let PasswordConfig {
        bcrypt_cost: cost,
        login_concurrency: concurrency,
    } = password.unwrap_or(PasswordConfig {
        bcrypt_cost: 4,
        login_concurrency: 1,
    });
    let hasher = BcryptPasswordHasher::new(BcryptConfig {
        cost,
        concurrency,
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
