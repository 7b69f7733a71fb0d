//! Ports that fail, dawdle and repeat themselves, by a seed.

mod attempt_queue;
mod faults;
mod repos;
mod stock_store;
mod token_issuer;

pub use faults::{FaultRates, Faults};

use std::sync::Arc;

/// A port whose calls go wrong now and then, as its [`Faults`] say.
///
/// ```
/// use std::sync::Arc;
/// use flashsale_core::ports::StockStore;
/// use flashsale_core::testing::{FaultRates, Faults, Faulty, ManualClock, MemoryStockStore};
///
/// let stock: Arc<dyn StockStore> =
///     Arc::new(MemoryStockStore::new(Arc::new(ManualClock::default())));
/// let faults = Arc::new(Faults::new(42, FaultRates::EVERYTHING));
/// let stock: Arc<dyn StockStore> = Arc::new(Faulty::new(stock, faults));
/// ```
#[derive(Debug)]
pub struct Faulty<P: ?Sized> {
    inner: Arc<P>,
    faults: Arc<Faults>,
}

impl<P: ?Sized> Faulty<P> {
    /// The port with these faults, which other ports may share.
    pub fn new(inner: Arc<P>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}
