use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Epoch, OpenOutcome, Sale, SaleId, SaleRef, SaleResult};
use crate::error::PortError;
use crate::ports::{AttemptQueue, BATCH_MAX, Metric, QueuePosition, Recorder};

use super::{SaleService, settling};

/// Rebuilds the stock of a sale that the stock store has lost, from the orders.
///
/// A store that was wiped, went back to an older state or does not add up sells nothing more of the
/// sale. Under a new epoch, everything that was accepted before is decided first: what the queue had
/// at that moment, and what the store still holds. Then older epochs are sealed, and the stock is
/// what the orders have left over. Every step may be done by several processes, twice, late.
#[derive(Clone, Debug)]
pub struct Recovery {
    sales: SaleService,
    queue: Arc<dyn AttemptQueue>,
    recorder: Arc<dyn Recorder>,
    /// The readers of the queue that turn attempts into orders.
    group: String,
    marks: Arc<Mutex<HashMap<SaleId, Mark>>>,
}

/// How far this process has got with a sale.
#[derive(Clone, Debug)]
struct Mark {
    epoch: Epoch,
    /// Where the queue ended; not known until somebody has had the time to publish what was
    /// accepted before the sale was fenced.
    end: Option<QueuePosition>,
}

/// How far a [`Recovery`] has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryProgress {
    /// Nothing is sold any more. Attempts that are on their way have until the next step to get
    /// into the queue.
    Fenced,
    /// The workers have so many items of the queue to go.
    Draining {
        /// Items that may be attempts of the sale.
        left: u64,
    },
    /// Another sale of the product has the stock store's place for it.
    Waiting,
    /// The sale sells again.
    Done,
}

impl Recovery {
    /// Rebuilds stocks for these sales after the workers of `group` have decided what the queue has.
    pub fn new(
        sales: SaleService,
        queue: Arc<dyn AttemptQueue>,
        recorder: Arc<dyn Recorder>,
        group: impl Into<String>,
    ) -> Self {
        Self {
            sales,
            queue,
            recorder,
            group: group.into(),
            marks: Arc::default(),
        }
    }

    /// The same, but the workers read the queue as this group.
    #[must_use]
    pub fn of_group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// Takes the rebuild of a sale a step further: as far as it goes without waiting. To be called
    /// with the sale, as it was when [`SaleService::prepare`] said that its stock is lost, until it
    /// is [`Done`](RecoveryProgress::Done).
    ///
    /// # Errors
    /// The first port that fails; call again.
    pub async fn step(&self, lost: &Sale) -> Result<RecoveryProgress, PortError> {
        let SaleService {
            repo,
            stock,
            catalogue,
            ..
        } = &self.sales;
        // Whoever has seen a rebuild under way does not begin one: it may be over by now.
        let found = if lost.is_recovering() {
            repo.find(lost.id).await?
        } else {
            repo.recover(&lost.key()).await?
        };
        let Some(sale) = found else {
            return Ok(RecoveryProgress::Done);
        };
        if !sale.is_recovering() {
            self.forget(sale.id);
            catalogue.refresh().await?;
            return Ok(RecoveryProgress::Done);
        }
        let key = sale.key();
        stock.fence(&key).await?;
        let Some(mark) = self.mark(&key).await? else {
            return Ok(RecoveryProgress::Fenced);
        };
        let left = self.queue.lag(&self.group, &mark).await?;
        if left > 0 {
            return Ok(RecoveryProgress::Draining { left });
        }
        self.decide_survivors(&key).await?;
        let Some(sale) = repo.seal(&key).await? else {
            return Ok(RecoveryProgress::Done);
        };
        let (snapshot, failed) = self.sales.snapshot(&sale).await?;
        // Before the opening and after it: a store that goes back to what it was at the opening has
        // them then, and so has one that lost everything just before.
        self.put_results(&failed).await?;
        match stock.open(&key, &snapshot).await? {
            OpenOutcome::Opened | OpenOutcome::AlreadyOpen => {}
            OpenOutcome::Occupied(_) | OpenOutcome::TooEarly => {
                return Ok(RecoveryProgress::Waiting);
            }
            // Somebody else has begun anew in the meantime.
            OpenOutcome::Stale(_) => return Ok(RecoveryProgress::Fenced),
        }
        self.put_results(&failed).await?;
        repo.opened(&key, snapshot.version).await?;
        self.forget(key.id);
        self.recorder.count(Metric::Recovered, 1);
        catalogue.refresh().await?;
        Ok(RecoveryProgress::Done)
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        for results in results.chunks(BATCH_MAX) {
            self.sales.stock.put_results(results).await?;
        }
        Ok(())
    }

    /// Where the queue ended after the sale was fenced; asked at the second step only.
    async fn mark(&self, sale: &SaleRef) -> Result<Option<QueuePosition>, PortError> {
        let known = self.marks().get(&sale.id).cloned();
        let end = match known {
            Some(mark) if mark.epoch == sale.epoch => match mark.end {
                Some(end) => return Ok(Some(end)),
                None => Some(self.queue.end().await?),
            },
            _ => None,
        };
        let mark = Mark {
            epoch: sale.epoch,
            end: end.clone(),
        };
        self.marks().insert(sale.id, mark);
        Ok(end)
    }

    /// Turns the allocations that the store still has into orders: their buyers were promised a result.
    async fn decide_survivors(&self, sale: &SaleRef) -> Result<(), PortError> {
        let SaleService { stock, orders, .. } = &self.sales;
        let mut last = None;
        loop {
            let attempts = stock.overdue(sale, 0, BATCH_MAX).await?;
            let first = attempts.first().map(|attempt| attempt.id);
            // A store that keeps what was settled would keep this going for ever.
            if first.is_none() || first == last {
                return Ok(());
            }
            last = first;
            let decisions = orders.commit(sale, &attempts).await?;
            settling::settle(&**stock, &*self.recorder, sale, &attempts, &decisions).await?;
        }
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<SaleId, Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, sale: SaleId) {
        self.marks().remove(&sale);
    }
}
