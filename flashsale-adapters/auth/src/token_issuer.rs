use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use flashsale_core::domain::{Role, Timestamp, UserId};
use flashsale_core::ports::{Claims, InvalidToken, IssuedToken, TokenIssuer};
use flashsale_core::{ErrorKind, PortError};
use jsonwebtoken::{decode, encode};

use crate::claims::{ADMIN, ReadClaims, WrittenClaims};
use crate::config::JwtConfig;
use crate::crypto;
use crate::error::{ConfigError, fault};
use crate::jwt_key::JwtKey;
use crate::key_table::KeyTable;

/// Issues and verifies JSON Web Tokens.
///
/// A token carries `sub` and `userId` (both the user id), `username`, `role` (only for admins, as
/// `admin`), `iat` and `exp` in seconds, `iss` and `aud` if configured, and `kid` in its header.
/// When verifying, `sub` is the user (`userId`, a text or a whole number, in a token without `sub`,
/// as other services write them), `role` decides about the admin, and `exp` must be there;
/// `iat` and `nbf` are checked if they are. The `kid` finds the key in the table, and the table
/// says which algorithm the token must have; a token without `kid` is tried with the first key.
///
/// A token is taken until `leeway_s` after its `exp`: that is the moment which
/// [`IssuedToken::expires_at`] names.
///
/// ```
/// use flashsale_auth::{JwtConfig, JwtKey, JwtTokenIssuer};
/// use flashsale_core::domain::{Role, Timestamp, UserId};
/// use flashsale_core::ports::TokenIssuer;
///
/// let secret = *b"32 bytes, and better random ones";
/// let issuer = JwtTokenIssuer::new(JwtConfig::new([JwtKey::hs256("a", secret)]))?;
///
/// let now = Timestamp::from_millis(1_900_000_000_000);
/// let user = UserId::new("42")?;
/// let issued = issuer.issue(&user, "ada", Role::Buyer, now)?;
///
/// assert_eq!(issuer.verify(&issued.token, now)?.user, user);
/// assert!(issuer.verify(&issued.token, issued.expires_at).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JwtTokenIssuer {
    /// The settings without the keys; those are in the table.
    config: JwtConfig,
    table: ArcSwap<KeyTable>,
}

impl JwtTokenIssuer {
    /// The longest token, in bytes: 4,096. A longer one is neither issued nor looked into.
    pub const TOKEN_MAX: usize = 4_096;

    /// Checks the configuration and makes its keys ready.
    ///
    /// Unless the process has installed a `jsonwebtoken::crypto::CryptoProvider`, this installs
    /// the one of this crate, for the life of the process. A program that wants another one for
    /// its own tokens installs that first; it is used here too.
    ///
    /// # Errors
    /// [`ConfigError`] for the first setting or key that is wrong, or that the installed
    /// cryptography cannot use.
    pub fn new(config: JwtConfig) -> Result<Self, ConfigError> {
        crypto::install();
        config.validate()?;
        let table = ArcSwap::from_pointee(KeyTable::new(&config)?);
        let config = JwtConfig {
            keys: Vec::new(),
            ..config
        };
        Ok(Self { config, table })
    }

    /// Replaces all keys, at once for every thread.
    ///
    /// The first one signs from now on. Tokens of earlier keys are valid as long as those keys stay
    /// in the table: to rotate, put the new key first, keep the old one behind it for the life of
    /// a token, then leave it out. Where several processes verify, put the new key last in all of
    /// them before it goes first in one.
    ///
    /// # Errors
    /// [`ConfigError`] if a key is wrong; the keys are then as before.
    pub fn rotate(&self, keys: Vec<JwtKey>) -> Result<(), ConfigError> {
        let config = JwtConfig {
            keys,
            ..self.config.clone()
        };
        config.validate()?;
        self.table.store(Arc::new(KeyTable::new(&config)?));
        Ok(())
    }

    fn leeway_ms(&self) -> i64 {
        i64::from(self.config.leeway_s) * 1_000
    }
}

impl TokenIssuer for JwtTokenIssuer {
    /// # Errors
    /// [`ErrorKind::Misconfigured`] if the first key of the table can only verify,
    /// [`ErrorKind::Invalid`] if the username makes the token longer than
    /// [`TOKEN_MAX`](JwtTokenIssuer::TOKEN_MAX).
    fn issue(
        &self,
        user: &UserId,
        username: &str,
        role: Role,
        now: Timestamp,
    ) -> Result<IssuedToken, PortError> {
        let issue_fault = |kind, refusal| fault(kind, "issue", refusal);
        let table = self.table.load();
        let key = table.first();
        let Some(signing) = &key.signing else {
            return Err(issue_fault(
                ErrorKind::Misconfigured,
                IssueRefused::CannotSign,
            ));
        };
        let iat = now.as_millis().div_euclid(1_000);
        let exp = iat.saturating_add(i64::from(self.config.expires_in_s));
        let claims = WrittenClaims {
            sub: user.as_str(),
            user_id: user.as_str(),
            username,
            role: match role {
                Role::Admin => Some(ADMIN),
                Role::Buyer => None,
            },
            iat,
            exp,
            iss: self.config.issuer.as_deref(),
            aud: self.config.audience.as_deref(),
        };
        let token = encode(&key.header, &claims, signing)
            .map_err(|e| fault(ErrorKind::Misconfigured, "issue", e))?;
        if token.len() > Self::TOKEN_MAX {
            return Err(issue_fault(
                ErrorKind::Invalid,
                IssueRefused::TooLong(token.len()),
            ));
        }
        let end = Timestamp::from_millis(exp.saturating_mul(1_000));
        Ok(IssuedToken {
            token,
            expires_at: end.plus_ms(self.leeway_ms()),
        })
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, InvalidToken> {
        if token.len() > Self::TOKEN_MAX {
            return Err(InvalidToken);
        }
        let table = self.table.load();
        let key = table.key_of(token).ok_or(InvalidToken)?;
        let claims = decode::<ReadClaims>(token, &key.verifying, &key.validation)
            .map_err(|_| InvalidToken)?
            .claims;
        if !claims.valid_at(now, self.leeway_ms()) {
            return Err(InvalidToken);
        }
        let (user, role) = claims.into_user_and_role().ok_or(InvalidToken)?;
        Ok(Claims { user, role })
    }
}

impl fmt::Debug for JwtTokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.load();
        f.debug_struct("JwtTokenIssuer")
            .field("kids", &table.kids().collect::<Vec<_>>())
            .field("expires_in_s", &self.config.expires_in_s)
            .field("leeway_s", &self.config.leeway_s)
            .field("issuer", &self.config.issuer)
            .field("audience", &self.config.audience)
            .finish()
    }
}

/// Why a token cannot be issued.
#[derive(Debug, thiserror::Error)]
enum IssueRefused {
    #[error("the first JWT key is a public one: it verifies tokens, but cannot sign them")]
    CannotSign,
    #[error("the token would have {0} bytes, more than {max}", max = JwtTokenIssuer::TOKEN_MAX)]
    TooLong(usize),
}
