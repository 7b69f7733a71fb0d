use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::PortError;

/// Tells whether a service that an adapter talks to can be used.
#[async_trait]
pub trait HealthCheck: Debug + Send + Sync + 'static {
    /// Exchanges a message with the service, within a time that the adapter states.
    ///
    /// # Errors
    /// [`Misconfigured`](crate::ErrorKind::Misconfigured) if it answers but is not what the adapter
    /// needs: an old version, missing rights, a dangerous setting. Its source is one line that
    /// says what is wrong and what to do. Any other kind if it does not answer.
    async fn check(&self) -> Result<(), PortError>;
}
