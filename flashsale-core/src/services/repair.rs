use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::{Attempt, Decision, FailReason, SaleRef};
use crate::error::PortError;
use crate::ports::{AttemptQueue, BATCH_MAX, Metric, OrderRepo, Published, Recorder, StockStore};

use super::settling;

/// Finishes what a crash, a cut or a lost message left undone. Every step may be done by anyone,
/// twice, late.
#[derive(Clone, Debug)]
pub struct Repair {
    /// Knows what is undecided.
    pub stock: Arc<dyn StockStore>,
    /// Gets what it never got.
    pub queue: Arc<dyn AttemptQueue>,
    /// Decides what the queue did not deliver.
    pub orders: Arc<dyn OrderRepo>,
    /// Counts.
    pub recorder: Arc<dyn Recorder>,
    /// When to act.
    pub limits: RepairLimits,
}

/// How old an attempt must be, by the stock store's clock, before [`Repair`] acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairLimits {
    /// Publish again what the queue does not have after this time. Default 2,000.
    pub republish_after_ms: u32,
    /// Decide directly what is undecided after this time. Default 10,000.
    pub complete_after_ms: u32,
    /// How many attempts one step takes on. Default 512.
    pub batch: usize,
    /// If given, what the queue does not have is neither published nor decided as if it had been,
    /// but fails after this time, and its units come back; see
    /// [`OnPublishFailure::Release`](super::OnPublishFailure). Default none.
    pub release_after_ms: Option<u32>,
}

impl RepairLimits {
    /// The time after which what the queue does not have fails, where that is wanted: 120,000 ms.
    /// By then a worker has decided about everything of which only the news was lost.
    pub const RELEASE_AFTER_MS: u32 = 120_000;
}

impl Default for RepairLimits {
    fn default() -> Self {
        Self {
            republish_after_ms: 2_000,
            complete_after_ms: 10_000,
            batch: 512,
            release_after_ms: None,
        }
    }
}

/// What one [`Repair::step`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Attempts the queue has now.
    pub republished: usize,
    /// Attempts decided without the queue.
    pub completed: usize,
    /// Attempts that failed because the queue never had them.
    pub released: usize,
}

impl Repair {
    /// Looks after one sale once.
    ///
    /// # Errors
    /// The first port that fails; what was done until then stands.
    pub async fn step(&self, sale: &SaleRef) -> Result<Repaired, PortError> {
        let RepairLimits {
            republish_after_ms,
            complete_after_ms,
            batch,
            release_after_ms,
        } = self.limits;
        if let Some(after) = release_after_ms {
            return self.step_releasing(sale, after).await;
        }
        // First what needs no order repository: that may be the one that is away.
        let min_age_ms = republish_after_ms.into();
        let unpublished = self.stock.unpublished(sale, min_age_ms, batch).await?;
        let republished = self.republish(sale, &unpublished).await;

        let min_age_ms = complete_after_ms.into();
        let overdue = self.stock.overdue(sale, min_age_ms, batch).await?;
        self.complete(sale, &overdue).await?;
        Ok(Repaired {
            republished: republished?,
            completed: overdue.len(),
            released: 0,
        })
    }

    /// The same where what the queue does not have is released.
    async fn step_releasing(
        &self,
        sale: &SaleRef,
        release_after_ms: u32,
    ) -> Result<Repaired, PortError> {
        let RepairLimits {
            complete_after_ms,
            batch,
            ..
        } = self.limits;
        let min_age_ms = release_after_ms.into();
        let unpublished = self.stock.unpublished(sale, min_age_ms, batch).await?;
        if !unpublished.is_empty() {
            let reason = FailReason::Cancelled;
            let decisions = self.orders.release(sale, &unpublished, reason).await?;
            self.settle(sale, &unpublished, &decisions).await?;
        }
        let min_age_ms = complete_after_ms.into();
        let mut overdue = self.stock.overdue(sale, min_age_ms, batch).await?;
        if !overdue.is_empty() {
            let kept = self.stock.unpublished(sale, min_age_ms, BATCH_MAX).await?;
            let kept: HashSet<_> = kept.iter().map(|attempt| attempt.id).collect();
            overdue.retain(|attempt| !kept.contains(&attempt.id));
        }
        self.complete(sale, &overdue).await?;
        Ok(Repaired {
            republished: 0,
            completed: overdue.len(),
            released: unpublished.len(),
        })
    }

    /// Decides attempts without the queue.
    pub(super) async fn complete(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError> {
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        let decisions = self.orders.commit(sale, attempts).await?;
        self.settle(sale, attempts, &decisions).await?;
        Ok(decisions)
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        decisions: &[Decision],
    ) -> Result<(), PortError> {
        settling::settle(&*self.stock, &*self.recorder, sale, attempts, decisions).await
    }

    /// Hands attempts to the queue and returns how many it has now.
    async fn republish(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<usize, PortError> {
        if attempts.is_empty() {
            return Ok(0);
        }
        let published = self.queue.publish(attempts).await?;
        let logged: Vec<_> = attempts
            .iter()
            .zip(published)
            .filter(|(_, published)| *published == Published::Logged)
            .map(|(attempt, _)| attempt.clone())
            .collect();
        self.stock.acknowledge(sale, &logged).await?;
        self.recorder
            .count(Metric::Republished, logged.len() as u64);
        Ok(logged.len())
    }
}
