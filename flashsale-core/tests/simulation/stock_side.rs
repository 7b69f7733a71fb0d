//! The stock store itself, behind the network.

use std::sync::Arc;

use flashsale_core::domain::{Levels, SaleRef};
use flashsale_core::ports::StockStore;
use flashsale_core::testing::MemoryStockStore;

use super::executor::{Process, at_once};
use super::world::World;

/// What answers calls to the stock store.
pub(crate) struct StockSide {
    front: Arc<dyn StockStore>,
    /// The same store, if it can lose data.
    memory: Option<Arc<MemoryStockStore>>,
}

impl StockSide {
    pub(crate) fn new(memory: MemoryStockStore) -> Self {
        let memory = Arc::new(memory);
        Self {
            front: memory.clone(),
            memory: Some(memory),
        }
    }

    /// A store that never loses anything.
    pub(crate) fn of(front: Arc<dyn StockStore>) -> Self {
        let memory = None;
        Self { front, memory }
    }

    /// The store that a call of this process reaches now.
    pub(crate) fn answering(&self, _world: &World, _process: Process) -> Arc<dyn StockStore> {
        Arc::clone(&self.front)
    }

    /// The stock as it truly is.
    pub(crate) fn levels(&self, sale: &SaleRef) -> Option<Levels> {
        at_once(self.front.levels(sale)).expect("memory does not fail")
    }
}
