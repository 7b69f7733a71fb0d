use std::time::{SystemTime, UNIX_EPOCH};

use flashsale_core::domain::{AttemptId, Timestamp};
use flashsale_core::ports::{Clock, IdSource};
use uuid::Uuid;

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        Timestamp::from_millis(millis)
    }
}

/// Random attempt ids that grow with time (UUID version 7, RFC 9562), so that their index is
/// appended to instead of scattered over.
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidV7;

impl IdSource for UuidV7 {
    fn attempt_id(&self) -> AttemptId {
        AttemptId::from_uuid(Uuid::now_v7())
    }
}
