use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use async_trait::async_trait;

use crate::error::PortError;

/// How a conformance suite gets at the adapter it checks. `R` is what the suite works with: a port,
/// or a port and what belongs to it, for example [`StockStoreRig`](super::StockStoreRig).
///
/// The suites use fresh ids of sales, products, users and attempts in every case, so that cases may
/// share a server.
///
/// ```
/// use std::sync::Arc;
/// use flashsale_core::{PortError, testing};
/// use flashsale_core::testing::{Fixture, ManualClock, MemoryStockStore, StockStoreRig};
///
/// #[derive(Debug)]
/// struct InMemory;
///
/// #[async_trait::async_trait]
/// impl Fixture<StockStoreRig> for InMemory {
///     async fn open(&self, _place: &str) -> Result<StockStoreRig, PortError> {
///         let clock = Arc::new(ManualClock::default());
///         let store = Arc::new(MemoryStockStore::new(clock.clone()));
///         Ok(StockStoreRig { store, clock, sales: None, decides_at_once: false })
///     }
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// testing::stock_store(&InMemory).await.assert_passed();
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[async_trait]
pub trait Fixture<R: Send + 'static>: Debug + Send + Sync {
    /// Opens the adapter at a place: a name for a file, a schema, a prefix or a topic, of letters,
    /// digits and `-`, that no other case uses.
    ///
    /// The same place is opened a second time only if the adapter is [`durable`](Self::durable),
    /// and only after everything that the first time gave was dropped. What was stored there has
    /// to be there again.
    async fn open(&self, place: &str) -> Result<R, PortError>;

    /// Whether what was stored at a place can be opened there again.
    fn durable(&self) -> bool {
        false
    }

    /// How many sales get random commands, 120 to 250 each, that are compared with the state
    /// machine. A fixture that waits for a disk or a network at every command keeps the 8.
    fn random_sales(&self) -> u64 {
        8
    }

    /// Runs all tasks at the same time to their ends. As it stands they share the task of the
    /// caller; a fixture with a runtime of several threads had better spawn them.
    async fn together(&self, tasks: Vec<Task>) {
        join(tasks).await;
    }
}

/// One of several things to do at the same time.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs all tasks to their ends within this one.
async fn join(mut tasks: Vec<Task>) {
    std::future::poll_fn(|context| {
        tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
        if tasks.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
