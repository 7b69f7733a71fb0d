//! Bugs on purpose: each has to be found.

use std::sync::Arc;

use flashsale_core::ports::{Clock, OrderRepo, StockStore};
use flashsale_core::services::EnginePorts;
use flashsale_core::testing::{MemoryOrderRepo, MemoryStockStore};

use super::weather::Weather;
use super::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    StartsAtLatest,
    ExpiresInTheStockStoreOnly,
}

impl Bug {
    /// The weather in which the bug matters.
    pub(crate) fn weather(_bug: Option<Self>, weather: Weather) -> Weather {
        weather
    }

    pub(crate) fn stock_store(_bug: Option<Self>, clock: Arc<dyn Clock>) -> Arc<dyn StockStore> {
        Arc::new(MemoryStockStore::new(clock))
    }

    pub(crate) fn order_repo(_bug: Option<Self>, orders: MemoryOrderRepo) -> Arc<dyn OrderRepo> {
        Arc::new(orders)
    }

    pub(crate) fn wire(_world: &World, ports: EnginePorts) -> EnginePorts {
        ports
    }
}
