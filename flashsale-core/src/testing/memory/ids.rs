use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::domain::AttemptId;
use crate::ports::IdSource;

/// Attempt ids 1, 2, 3 and so on, as UUIDs.
#[derive(Debug, Default)]
pub struct SequentialIds(AtomicU64);

impl SequentialIds {
    /// The id with this number.
    pub fn id(number: u64) -> AttemptId {
        AttemptId::from_uuid(Uuid::from_u128(u128::from(number)))
    }
}

impl IdSource for SequentialIds {
    fn attempt_id(&self) -> AttemptId {
        Self::id(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }
}
