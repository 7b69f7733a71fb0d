use std::sync::Arc;

use async_trait::async_trait;

use super::{Faults, Faulty};
use crate::domain::Attempt;
use crate::error::PortError;
use crate::ports::{AttemptQueue, AttemptReader, Delivery, Published, QueuePosition};

#[async_trait]
impl AttemptQueue for Faulty<dyn AttemptQueue> {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        let call = || self.inner.publish(attempts);
        self.faults.around("publish", call).await
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        self.faults.before("subscribe").await?;
        Ok(Box::new(FaultyReader {
            inner: self.inner.subscribe(group).await?,
            faults: Arc::clone(&self.faults),
        }))
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        self.faults.around("mark", || self.inner.end()).await
    }

    async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, PortError> {
        let call = || self.inner.lag(group, until);
        self.faults.around("left", call).await
    }
}

/// A reader with faults. A poll fails before it reads only: what a reader has read and not handed
/// out would be lost by its next commit. A poll that is duplicated gives every item twice.
#[derive(Debug)]
struct FaultyReader {
    inner: Box<dyn AttemptReader>,
    faults: Arc<Faults>,
}

#[async_trait]
impl AttemptReader for FaultyReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        let twice = self.faults.before("poll").await?;
        let share = if twice { max.div_ceil(2) } else { max };
        let mut items = self.inner.poll(share, wait_ms).await?;
        if twice {
            let again: Vec<_> = items.iter().take(max - items.len()).cloned().collect();
            items.extend(again);
        }
        Ok(items)
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        let twice = self.faults.before("commit").await?;
        if twice {
            self.inner.commit().await?;
        }
        self.inner.commit().await
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        self.faults.before("rewind").await?;
        self.inner.rewind().await
    }
}
