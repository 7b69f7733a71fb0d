use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::PortError;

/// Turns passwords into hashes and checks them. Both take long on purpose.
///
/// Work that waits is bounded: past the bound a call fails at once with
/// [`Busy`](crate::ErrorKind::Busy).
#[async_trait]
pub trait PasswordHasher: Debug + Send + Sync + 'static {
    /// The longest password that is taken in full, in bytes.
    fn password_max(&self) -> usize;

    /// A salted hash of the password. A longer one than [`password_max`](Self::password_max) is
    /// [`Invalid`](crate::ErrorKind::Invalid), never cut.
    async fn hash(&self, password: &str) -> Result<String, PortError>;

    /// Whether the password belongs to the hash. Without a hash (an unknown user) the answer is
    /// no, after about as long as a real check takes. A hash that cannot be read is
    /// [`Corrupt`](crate::ErrorKind::Corrupt).
    async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PortError>;
}
