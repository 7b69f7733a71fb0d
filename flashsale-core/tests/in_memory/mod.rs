//! The fixture of the adapters in memory.

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::Attempt;
use flashsale_core::ports::{AttemptDecoder, DeadLetterRepo, SaleRepo, UserRepo};
use flashsale_core::testing::{
    AttemptQueueRig, AttemptRepoRig, Fixture, GarbageSource, ManualClock, MemoryAttemptQueue,
    MemoryAttemptRepo, MemoryDatabase, MemoryDeadLetterRepo, MemoryOrderRepo, MemorySaleRepo,
    MemoryStockStore, MemoryUserRepo, OrderRepoRig, StockStoreRig,
};

#[derive(Debug)]
pub(crate) struct InMemory;

#[async_trait]
impl Fixture<StockStoreRig> for InMemory {
    async fn open(&self, _place: &str) -> Result<StockStoreRig, PortError> {
        let clock = Arc::new(ManualClock::default());
        Ok(StockStoreRig {
            store: Arc::new(MemoryStockStore::new(clock.clone())),
            clock,
            sales: None,
            decides_at_once: false,
        })
    }

    fn random_sales(&self) -> u64 {
        400
    }
}

#[async_trait]
impl Fixture<OrderRepoRig> for InMemory {
    async fn open(&self, _place: &str) -> Result<OrderRepoRig, PortError> {
        let database = MemoryDatabase::new();
        let clock = Arc::new(ManualClock::default());
        Ok(OrderRepoRig {
            orders: Arc::new(MemoryOrderRepo::new(database.clone(), clock)),
            sales: Arc::new(MemorySaleRepo::new(database)),
        })
    }

    fn random_sales(&self) -> u64 {
        400
    }
}

#[async_trait]
impl Fixture<AttemptRepoRig> for InMemory {
    async fn open(&self, _place: &str) -> Result<AttemptRepoRig, PortError> {
        let database = MemoryDatabase::new();
        let clock = Arc::new(ManualClock::default());
        Ok(AttemptRepoRig {
            attempts: Arc::new(MemoryAttemptRepo::new(database.clone())),
            orders: Arc::new(MemoryOrderRepo::new(database.clone(), clock)),
            sales: Arc::new(MemorySaleRepo::new(database)),
        })
    }
}

#[async_trait]
impl Fixture<Arc<dyn SaleRepo>> for InMemory {
    async fn open(&self, _place: &str) -> Result<Arc<dyn SaleRepo>, PortError> {
        Ok(Arc::new(MemorySaleRepo::default()))
    }
}

#[async_trait]
impl Fixture<Arc<dyn UserRepo>> for InMemory {
    async fn open(&self, _place: &str) -> Result<Arc<dyn UserRepo>, PortError> {
        Ok(Arc::new(MemoryUserRepo::default()))
    }
}

#[async_trait]
impl Fixture<Arc<dyn DeadLetterRepo>> for InMemory {
    async fn open(&self, _place: &str) -> Result<Arc<dyn DeadLetterRepo>, PortError> {
        let clock = Arc::new(ManualClock::default());
        Ok(Arc::new(MemoryDeadLetterRepo::new(clock)))
    }
}

#[derive(Debug)]
struct Garbage(MemoryAttemptQueue);

#[async_trait]
impl GarbageSource for Garbage {
    async fn put(&self, payload: &[u8]) -> Result<(), PortError> {
        self.0.publish_undecodable(payload);
        Ok(())
    }
}

#[derive(Debug)]
struct ReadsNothing;

impl AttemptDecoder for ReadsNothing {
    fn decode(&self, _payload: &[u8]) -> Result<Attempt, String> {
        Err("not an attempt".to_owned())
    }
}

#[async_trait]
impl Fixture<AttemptQueueRig> for InMemory {
    async fn open(&self, _place: &str) -> Result<AttemptQueueRig, PortError> {
        let queue = MemoryAttemptQueue::new();
        Ok(AttemptQueueRig {
            garbage: Some(Arc::new(Garbage(queue.clone()))),
            decoder: Some(Arc::new(ReadsNothing)),
            queue: Arc::new(queue),
        })
    }
}
