use std::fmt::Debug;

use crate::domain::{AttemptId, Timestamp};

/// Tells the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The present moment. It may jump, also backwards.
    fn now(&self) -> Timestamp;
}

/// Mints attempt ids.
pub trait IdSource: Debug + Send + Sync + 'static {
    /// An id that nobody else has or will get.
    fn attempt_id(&self) -> AttemptId;
}
