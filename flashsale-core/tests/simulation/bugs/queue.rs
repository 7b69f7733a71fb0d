use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{Attempt, Decision, FailReason, Settlement};
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, Delivery, Published, QueuePosition, StockStore,
};

use super::Bug;
use crate::world::World;

/// The queue as a process reaches it, with a bug between.
pub(crate) struct BuggyQueue {
    bug: Bug,
    world: Arc<World>,
    inner: Arc<dyn AttemptQueue>,
    stock: Arc<dyn StockStore>,
    /// Whether buyers are served here.
    api: bool,
}

impl std::fmt::Debug for BuggyQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.bug)
    }
}

impl BuggyQueue {
    pub(crate) fn new(
        bug: Bug,
        world: &Arc<World>,
        inner: Arc<dyn AttemptQueue>,
        stock: Arc<dyn StockStore>,
        api: bool,
    ) -> Self {
        Self {
            bug,
            world: Arc::clone(world),
            inner,
            stock,
            api,
        }
    }

    /// Takes attempts back, and tells their users that they have none.
    async fn roll_back(&self, attempts: &[Attempt]) {
        for attempt in attempts {
            self.world.books().told_of_failure(attempt.id);
            if self.bug == Bug::BarsAfterAFailedPublish {
                self.world.books().barred.insert(attempt.user.clone());
            }
            let Some(sale) = self.world.sale(attempt.sale) else {
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
impl AttemptQueue for BuggyQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        let published = self.inner.publish(attempts).await;
        let rolls_back = matches!(
            self.bug,
            Bug::BarsAfterAFailedPublish | Bug::RollsBackAnUnconfirmedPublish
        );
        let logged = |published: &Vec<Published>| {
            let mut published = published.iter();
            published.all(|one| *one == Published::Logged)
        };
        if rolls_back && self.api && !published.as_ref().is_ok_and(logged) {
            self.roll_back(attempts).await;
        }
        published
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        self.inner.end().await
    }

    async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, PortError> {
        if self.bug == Bug::RebuildsWithoutDraining {
            return Ok(0);
        }
        self.inner.lag(group, until).await
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        let inner = self.inner.subscribe(group).await?;
        Ok(match self.bug {
            Bug::CommitsTheOffsetFirst => Box::new(EarlyReader(inner)),
            Bug::KeepsAReaderThatDidNotRewind => Box::new(StubbornReader(inner)),
            Bug::CommitsAfterAFault => Box::new(ForgetfulReader(inner)),
            _ => inner,
        })
    }
}

/// A reader that commits as soon as it has read.
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

/// A reader whose worker does not ask whether it has gone back.
#[derive(Debug)]
struct StubbornReader(Box<dyn AttemptReader>);

#[async_trait]
impl AttemptReader for StubbornReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        self.0.poll(max, wait_ms).await
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        self.0.commit().await
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        let _ = self.0.rewind().await;
        Ok(())
    }
}

/// A reader whose worker marks everything as done instead of going back.
#[derive(Debug)]
struct ForgetfulReader(Box<dyn AttemptReader>);

#[async_trait]
impl AttemptReader for ForgetfulReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        self.0.poll(max, wait_ms).await
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        self.0.commit().await
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        self.0.commit().await
    }
}
