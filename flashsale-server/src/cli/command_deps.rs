use crate::config::PasswordConfig;
#[cfg(feature = "distributed")]
use crate::config::QueueConfig;

/// What a command needs beside the stores.
#[derive(Debug, Default)]
pub(super) struct CommandDeps {
    /// To hash a password.
    pub(super) password: Option<PasswordConfig>,
    /// To ask the queue of the distributed engine, if it is given.
    #[cfg(feature = "distributed")]
    pub(super) queue: Option<QueueConfig>,
}
