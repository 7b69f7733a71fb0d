use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{Attempt, Decision, FailReason, Settlement};
use flashsale_core::ports::{AttemptQueue, AttemptReader, Delivery, Published, StockStore};

use super::Bug;
use crate::world::World;

/// A queue whose caller takes an attempt back unless it is sure that the queue has it.
#[derive(Debug)]
pub(crate) struct RollingBackQueue {
    world: Unprinted,
    inner: Arc<dyn AttemptQueue>,
    stock: Arc<dyn StockStore>,
}

struct Unprinted(Arc<World>);

impl std::fmt::Debug for Unprinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the world")
    }
}

impl RollingBackQueue {
    pub(crate) fn new(
        world: &Arc<World>,
        inner: Arc<dyn AttemptQueue>,
        stock: Arc<dyn StockStore>,
    ) -> Self {
        let world = Unprinted(Arc::clone(world));
        Self {
            world,
            inner,
            stock,
        }
    }

    async fn roll_back(&self, attempts: &[Attempt]) {
        let world = &self.world.0;
        for attempt in attempts {
            world.books().told_of_failure(attempt.id);
            if world.bug == Some(Bug::BarsAfterAFailedPublish) {
                world.books().barred.insert(attempt.user.clone());
            }
            let Some(sale) = world.sale(attempt.sale) else {
                continue;
            };
            let settlement = Settlement {
                user: attempt.user.clone(),
                attempt: attempt.id,
                quantity: attempt.quantity,
                reserved_at: attempt.reserved_at,
                decision: Decision::Failed(FailReason::Cancelled),
            };
            // The original does not look at the outcome either.
            let _ = self.stock.settle(&sale.key(), &[settlement]).await;
        }
    }
}

#[async_trait]
impl AttemptQueue for RollingBackQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        let published = self.inner.publish(attempts).await;
        let logged = |published: &Vec<Published>| {
            let mut published = published.iter();
            published.all(|one| *one == Published::Logged)
        };
        if !published.as_ref().is_ok_and(logged) {
            self.roll_back(attempts).await;
        }
        published
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        self.inner.subscribe(group).await
    }
}

/// A queue whose readers commit as soon as they have read.
#[derive(Debug)]
pub(crate) struct EarlyQueue(pub(crate) Arc<dyn AttemptQueue>);

#[async_trait]
impl AttemptQueue for EarlyQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        self.0.publish(attempts).await
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        Ok(Box::new(EarlyReader(self.0.subscribe(group).await?)))
    }
}

#[derive(Debug)]
struct EarlyReader(Box<dyn AttemptReader>);

#[async_trait]
impl AttemptReader for EarlyReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        let items = self.0.poll(max, wait_ms).await?;
        if !items.is_empty() {
            let _ = self.0.commit().await;
        }
        Ok(items)
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        self.0.commit().await
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        self.0.rewind().await
    }
}
