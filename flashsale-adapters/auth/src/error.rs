use std::error::Error;

use flashsale_core::{ErrorKind, PortError};

/// The name of this adapter in its errors.
const ADAPTER: &str = "auth";

/// What is wrong with a [`BcryptConfig`](crate::BcryptConfig), a [`JwtConfig`](crate::JwtConfig)
/// or a table of keys. No text here holds a secret.
///
/// ```
/// use flashsale_auth::{ConfigError, JwtConfig, JwtKey};
///
/// let error = JwtConfig::new([JwtKey::hs256("a", "too short")]).validate().unwrap_err();
/// assert!(matches!(error, ConfigError::SecretLength { len: 9, .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is not in its range.
    #[error("{name} must be from {min} to {max}, but is {value}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: u64,
        /// The least it may be.
        min: u64,
        /// The most it may be.
        max: u64,
    },
    /// A text is empty or too long.
    #[error("{name} must have 1 to {max} bytes, but has {len}")]
    TextLength {
        /// The setting.
        name: &'static str,
        /// Its length, in bytes.
        len: usize,
        /// The longest it may be, in bytes.
        max: usize,
    },
    /// A table of keys is empty or too large.
    #[error("there must be 1 to {max} JWT keys, but there are {count}")]
    KeyCount {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A key id is not usable.
    #[error("the JWT key id {kid:?} must be 1 to {max} visible ASCII characters")]
    KeyId {
        /// The key id.
        kid: String,
        /// The longest a key id may be, in bytes.
        max: usize,
    },
    /// Two keys have one id.
    #[error("two JWT keys have the id {kid:?}")]
    KeyIdTwice {
        /// The key id.
        kid: String,
    },
    /// A shared secret is too short to be safe, or needlessly long.
    #[error("the secret of JWT key {kid:?} must have {min} to {max} bytes, but has {len}")]
    SecretLength {
        /// The key.
        kid: String,
        /// The length of the secret, in bytes.
        len: usize,
        /// The shortest it may be, in bytes.
        min: usize,
        /// The longest it may be, in bytes.
        max: usize,
    },
    /// A key cannot be read, or is of a sort that is not safe.
    #[error("JWT key {kid:?} is not usable: {problem}")]
    KeyUnusable {
        /// The key.
        kid: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system gives no random bytes.
    #[error("no random bytes for a password salt: {problem}")]
    NoRandomness {
        /// What the system says.
        problem: String,
    },
}

/// A fault of `operation` that has left nothing behind.
pub(crate) fn fault(
    kind: ErrorKind,
    operation: &'static str,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> PortError {
    PortError::new(kind, ADAPTER, operation).with_source(source)
}
