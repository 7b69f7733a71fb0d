use std::fmt::Debug;

use crate::domain::{Role, Timestamp, UserId};
use crate::error::PortError;

/// Issues and verifies access tokens.
pub trait TokenIssuer: Debug + Send + Sync + 'static {
    /// A token for the user, valid from `now`.
    fn issue(
        &self,
        user: &UserId,
        username: &str,
        role: Role,
        now: Timestamp,
    ) -> Result<IssuedToken, PortError>;

    /// What a token says, if it is genuine and valid at `now`.
    ///
    /// # Errors
    /// [`InvalidToken`] otherwise; which of the reasons it was is not told.
    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, InvalidToken>;
}

/// A token and its end.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The text to hand to the user; a secret.
    pub token: String,
    /// The first moment at which it is no longer valid.
    pub expires_at: Timestamp,
}

impl Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What a genuine token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who holds it.
    pub user: UserId,
    /// What the holder may do.
    pub role: Role,
}

/// The token is malformed, not ours, or not valid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is missing, malformed, expired or not ours")]
pub struct InvalidToken;
