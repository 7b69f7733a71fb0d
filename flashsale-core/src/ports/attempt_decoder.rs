use std::fmt::Debug;

use crate::domain::Attempt;

/// Reads the items of an [`AttemptQueue`](super::AttemptQueue) whose items have a form of their own.
pub trait AttemptDecoder: Debug + Send + Sync + 'static {
    /// Reads an item once more that came out as [`Undecodable`](super::Undecodable), for example
    /// with a newer version.
    ///
    /// # Errors
    /// What is wrong with it, the same as the queue says.
    fn decode(&self, payload: &[u8]) -> Result<Attempt, String>;
}
