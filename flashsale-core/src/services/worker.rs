use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Attempt, Decision, Epoch, SaleRef};
use crate::error::{ErrorKind, PortError};
use crate::ports::{
    AttemptReader, BATCH_MAX, DeadItem, DeadLetterRepo, Delivery, Metric, OrderRepo, Recorder,
    StockStore,
};

use super::join::join;
use super::{Catalogue, settling};

/// Turns attempts from the queue into orders, a batch at a time.
#[derive(Clone, Debug)]
pub struct Worker {
    ports: WorkerPorts,
    /// Decisions that the stock store could not be told; it is tried again with every step.
    pending: Arc<Mutex<VecDeque<Decided>>>,
}

/// What a [`Worker`] works with.
#[derive(Clone, Debug)]
pub struct WorkerPorts {
    /// The sales, for their present epochs.
    pub catalogue: Arc<Catalogue>,
    /// Decides.
    pub orders: Arc<dyn OrderRepo>,
    /// Is told the decisions.
    pub stock: Arc<dyn StockStore>,
    /// Keeps what cannot be read or decided.
    pub dead_letters: Arc<dyn DeadLetterRepo>,
    /// Counts them.
    pub recorder: Arc<dyn Recorder>,
}

/// What one [`Worker::step`] did.
#[derive(Debug, Default)]
pub struct WorkerReport {
    /// Attempts decided.
    pub decided: usize,
    /// Items that could not be read or decided; they are kept as dead letters and not delivered
    /// again.
    pub dead_letters: Vec<DeadItem>,
    /// Why the stock store could not be told, if it could not. The orders stand all the same; the
    /// next steps try again, and [`Repair`](super::Repair) tells it what they do not.
    pub unsettled: Option<PortError>,
}

/// Attempts of a sale, and what was decided about them.
#[derive(Debug)]
struct Decided {
    sale: SaleRef,
    attempts: Vec<Attempt>,
    decisions: Vec<Decision>,
}

impl Worker {
    /// The most attempts it asks the queue for at once.
    pub const BATCH: usize = BATCH_MAX;
    /// How many such batches one step takes on at most, and marks as done together: that costs a
    /// queue as much as a whole batch of attempts.
    const BATCHES: usize = 8;
    /// How long it waits for a further batch before it marks those that it has as done.
    const LINGER_MS: u64 = 50;
    /// The most it decides in one transaction. While one such batch is told to the stock store, the
    /// next is being decided.
    pub const DECIDED_AT_ONCE: usize = 512;
    /// The most decisions that wait for a stock store that is away; further ones are left to
    /// [`Repair`](super::Repair).
    pub const PENDING_MAX: usize = 16_384;

    /// A worker over these ports.
    pub fn new(ports: WorkerPorts) -> Self {
        Self {
            ports,
            pending: Arc::default(),
        }
    }

    /// Waits up to `wait_ms` milliseconds for attempts, decides them, tells the stock store and
    /// the buyers, and marks them as done, in this order.
    ///
    /// # Errors
    /// If the queue, the order repository or that of dead letters fails. Nothing is marked as done
    /// then: rewind the reader or drop it, and the same attempts come again; deciding them twice is
    /// harmless.
    pub async fn step(
        &self,
        reader: &mut dyn AttemptReader,
        wait_ms: u64,
    ) -> Result<WorkerReport, PortError> {
        let mut report = WorkerReport {
            unsettled: self.notify_pending().await.err(),
            ..WorkerReport::default()
        };
        let (mut pending, mut nothing) = (None, true);
        let mut wait_ms = wait_ms;
        for _ in 0..Self::BATCHES {
            let deliveries = reader.poll(Self::BATCH, wait_ms).await?;
            if deliveries.is_empty() {
                break;
            }
            nothing = false;
            let more = deliveries.len() == Self::BATCH;
            let batches = self.sorted(deliveries, &mut report);
            for (sale, attempts) in &batches {
                pending = self.decide(sale, attempts, pending, &mut report).await?;
            }
            wait_ms = 0;
            if !more {
                // Nobody's result waits for the attempts of others.
                let told = self.notify(pending.take()).await;
                report.unsettled = told.err().or(report.unsettled);
                wait_ms = Self::LINGER_MS;
            }
        }
        if nothing {
            return Ok(report);
        }
        report.unsettled = self.notify(pending).await.err().or(report.unsettled);
        for items in report.dead_letters.chunks(BATCH_MAX) {
            self.ports.dead_letters.keep(items).await?;
        }
        // After the telling: if this process dies before, the next one tells.
        reader.commit().await?;
        Ok(report)
    }

    /// The attempts by their sales. What is none is put aside.
    fn sorted(
        &self,
        deliveries: Vec<Delivery>,
        report: &mut WorkerReport,
    ) -> Vec<(SaleRef, Vec<Attempt>)> {
        let mut batches: Vec<(SaleRef, Vec<Attempt>)> = Vec::new();
        let mut unreadable = 0;
        for delivery in deliveries {
            match delivery {
                Delivery::Attempt(attempt) => {
                    match batches.iter_mut().find(|(sale, _)| sale.id == attempt.sale) {
                        Some((_, batch)) => batch.push(attempt),
                        None => batches.push((self.sale_of(&attempt), vec![attempt])),
                    }
                }
                Delivery::Undecodable(item) => {
                    unreadable += 1;
                    report.dead_letters.push(item.into());
                }
            }
        }
        self.ports.recorder.count(Metric::Undecodable, unreadable);
        batches
    }

    /// Has attempts of a sale decided. While a part of them is being decided, the one before is
    /// told, beginning with `pending`; gives the last one.
    async fn decide(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        mut pending: Option<Decided>,
        report: &mut WorkerReport,
    ) -> Result<Option<Decided>, PortError> {
        for attempts in attempts.chunks(Self::DECIDED_AT_ONCE) {
            let deciding = self.commit(sale, attempts);
            let (decided, told) = join(deciding, self.notify(pending.take())).await;
            report.unsettled = told.err().or(report.unsettled.take());
            let (decided, refused) = decided?;
            report.decided += decided.decisions.len();
            report.dead_letters.extend(refused);
            pending = Some(decided).filter(|decided| !decided.attempts.is_empty());
        }
        Ok(pending)
    }

    /// Has attempts of a sale decided. What the repository refuses is halved until each attempt
    /// that cannot be decided, for example of a sale that the database does not have, stands alone:
    /// no retry helps it, and nobody else's may wait for it.
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<(Decided, Vec<DeadItem>), PortError> {
        let mut decided = Decided {
            sale: *sale,
            attempts: Vec::with_capacity(attempts.len()),
            decisions: Vec::with_capacity(attempts.len()),
        };
        let (mut refused, mut parts) = (Vec::new(), vec![attempts]);
        while let Some(part) = parts.pop() {
            match (self.ports.orders.commit(sale, part).await, part) {
                (Ok(decisions), _) => {
                    decided.attempts.extend_from_slice(part);
                    decided.decisions.extend(decisions);
                }
                (Err(fault), [attempt]) if fault.kind() == ErrorKind::Invalid => {
                    refused.push(DeadItem::undecidable(attempt, &fault));
                }
                (Err(fault), _) if fault.kind() == ErrorKind::Invalid => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                (Err(fault), _) => return Err(fault),
            }
        }
        Ok((decided, refused))
    }

    /// Tells the stock store and the buyers. What cannot be told now is kept for the next steps.
    async fn notify(&self, decided: Option<Decided>) -> Result<(), PortError> {
        let Some(decided) = decided else {
            return Ok(());
        };
        let WorkerPorts {
            stock, recorder, ..
        } = &self.ports;
        let Decided {
            sale,
            attempts,
            decisions,
        } = &decided;
        let told = settling::settle(&**stock, &**recorder, sale, attempts, decisions).await;
        if told.is_err() {
            let mut pending = self.pending();
            let waiting: usize = pending.iter().map(|decided| decided.attempts.len()).sum();
            if waiting + decided.attempts.len() <= Self::PENDING_MAX {
                pending.push_back(decided);
            }
        }
        told
    }

    /// Tells what could not be told before, the oldest first, until that fails again.
    async fn notify_pending(&self) -> Result<(), PortError> {
        let waiting = self.pending().len();
        for _ in 0..waiting {
            let oldest = self.pending().pop_front();
            self.notify(oldest).await?;
        }
        Ok(())
    }

    fn pending(&self) -> MutexGuard<'_, VecDeque<Decided>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sale at its present epoch; at the attempt's own if it is not known here yet.
    fn sale_of(&self, attempt: &Attempt) -> SaleRef {
        let known = self.ports.catalogue.get(attempt.sale);
        SaleRef {
            id: attempt.sale,
            product: attempt.product,
            epoch: known.map_or(attempt.epoch, |sale| Epoch::max(sale.epoch, attempt.epoch)),
        }
    }
}
