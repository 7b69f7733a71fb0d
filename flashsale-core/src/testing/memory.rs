//! Every port, in memory and in a page: for unit tests of whatever uses them.

mod attempt_queue;
mod attempt_repo;
mod clock;
mod database;
mod dead_letter_repo;
mod ids;
mod order_repo;
mod password_hasher;
mod recorder;
mod sale_repo;
mod stock_store;
mod token_issuer;
mod user_repo;

pub use attempt_queue::MemoryAttemptQueue;
pub use attempt_repo::MemoryAttemptRepo;
pub use clock::ManualClock;
pub use database::MemoryDatabase;
pub use dead_letter_repo::MemoryDeadLetterRepo;
pub use ids::SequentialIds;
pub use order_repo::MemoryOrderRepo;
pub use password_hasher::PlainPasswordHasher;
pub use recorder::MemoryRecorder;
pub use sale_repo::MemorySaleRepo;
pub use stock_store::MemoryStockStore;
pub use token_issuer::MemoryTokenIssuer;
pub use user_repo::MemoryUserRepo;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{ErrorKind, PortError};
use crate::ports::BATCH_MAX;

/// The name of these adapters in errors.
const ADAPTER: &str = "memory";

/// Locks, also after a test has panicked: nothing here is left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses a batch that is too large.
fn check_batch(items: usize, operation: &'static str) -> Result<(), PortError> {
    if items > BATCH_MAX {
        return Err(PortError::new(ErrorKind::Invalid, ADAPTER, operation));
    }
    Ok(())
}
