//! For tests of adapters and of whatever uses the library: every port in memory, a conformance
//! suite per port, ports that go wrong by a seed ([`Faulty`]), and deliberately wrong stores that
//! show what the suites notice.
//!
//! A suite runs one case per sentence of a port's contract. An adapter's author writes a
//! [`Fixture`], which says how to open the adapter, and asserts that the [`Report`] has passed.
//!
//! ```
//! use flashsale_core::testing::{self, PlainPasswordHasher};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! testing::password_hasher(&PlainPasswordHasher).await.assert_passed();
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

mod faulty;
mod fixture;
mod memory;
mod mutants;
mod report;
mod samples;
mod seeded;
mod suites;

pub use faulty::{FaultRates, Faults, Faulty};
pub use fixture::{Fixture, Task};
pub use memory::{
    ManualClock, MemoryAttemptQueue, MemoryAttemptRepo, MemoryDatabase, MemoryDeadLetterRepo,
    MemoryOrderRepo, MemoryRecorder, MemorySaleRepo, MemoryStockStore, MemoryTokenIssuer,
    MemoryUserRepo, PlainPasswordHasher, SequentialIds,
};
pub use mutants::{MutantOrderRepo, MutantStockStore, OrderMutation, StockMutation};
pub use report::{Case, CaseVerdict, Report, Violation};
pub use seeded::Seeded;
pub use suites::{
    AttemptQueueRig, AttemptRepoRig, GarbageSource, HealthChecks, Leaders, OrderRepoRig,
    StockStoreRig, TokenIssuers, attempt_queue, attempt_repo, dead_letter_repo, health_check,
    leadership, order_repo, password_hasher, sale_repo, stock_store, token_issuer, user_repo,
};
