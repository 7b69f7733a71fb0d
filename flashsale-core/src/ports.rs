//! What the engine needs from the world, as traits.
//!
//! Every port is object-safe and used as `Arc<dyn Port>`. Operations on attempts come in batches
//! only: a slice for one sale in, one outcome per item out, in the same order. Each item is atomic,
//! the batch is not. There are no default methods; conveniences are in `…Ext` traits. A business
//! "no" is an `Ok` value; an [`Err`](crate::PortError) says whether it may have happened all the
//! same. The sentences of these contracts are the cases of the conformance suites in
//! `testing`, a module behind the feature of that name.

mod attempt_decoder;
mod attempt_queue;
mod attempt_repo;
mod clock;
mod dead_letter_repo;
mod health_check;
mod leadership;
mod order_repo;
mod password_hasher;
mod recorder;
mod sale_repo;
mod stock_store;
mod token_issuer;
mod user_repo;

pub use attempt_decoder::AttemptDecoder;
pub use attempt_queue::{
    AttemptQueue, AttemptReader, Delivery, Published, QueuePosition, Undecodable,
};
pub use attempt_repo::{AttemptRecord, AttemptRepo, RecordedOutcome};
pub use clock::{Clock, IdSource};
pub use dead_letter_repo::{DeadItem, DeadLetter, DeadLetterContent, DeadLetterRepo};
pub use health_check::HealthCheck;
pub use leadership::{Leadership, SoleProcess};
pub use order_repo::{OrderRepo, OrderRepoExt};
pub use password_hasher::PasswordHasher;
pub use recorder::{Metric, NoRecorder, Recorder};
pub use sale_repo::{ChangeOutcome, CreateSaleOutcome, Revision, SaleRepo};
pub use stock_store::{StockStore, StockStoreExt};
pub use token_issuer::{Claims, InvalidToken, IssuedToken, TokenIssuer};
pub use user_repo::{CreateUserOutcome, UserRepo};

/// The most items one batch may carry, on every port: 1,024. One more is
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), and nothing of the batch has happened.
pub const BATCH_MAX: usize = 1_024;
