use std::sync::Arc;

use crate::domain::{Attempt, Decision, Epoch, SaleRef};
use crate::error::{ErrorKind, PortError};
use crate::ports::{
    AttemptReader, BATCH_MAX, Delivery, Metric, OrderRepo, Recorder, StockStore, Undecodable,
};

use super::both::both;
use super::{Catalogue, settling};

/// Turns attempts from the queue into orders, a batch at a time.
#[derive(Clone, Debug)]
pub struct Worker {
    ports: WorkerPorts,
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
    /// Counts them.
    pub recorder: Arc<dyn Recorder>,
}

/// What one [`Worker::step`] did.
#[derive(Debug, Default)]
pub struct Step {
    /// Attempts decided.
    pub decided: usize,
    /// Items that could not be read or decided; they are not delivered again.
    pub undecodable: Vec<Undecodable>,
    /// Why the stock store could not be told, if it could not. The orders stand all the same, and
    /// [`Repair`](super::Repair) tells it later.
    pub unsettled: Option<PortError>,
}

/// An attempt that the order repository cannot decide about.
fn refused(attempt: &Attempt, fault: &PortError) -> Undecodable {
    Undecodable {
        position: format!("attempt {} of sale {}", attempt.id, attempt.sale),
        payload: Vec::new(),
        problem: fault.to_string(),
    }
}

/// Attempts of a sale, and what was decided about them.
struct Decided<'a> {
    sale: &'a SaleRef,
    attempts: &'a [Attempt],
    decisions: Vec<Decision>,
}

impl Worker {
    /// The most attempts it takes on at once.
    pub const BATCH: usize = BATCH_MAX;
    /// The most it decides in one transaction. While one such batch is told to the stock store, the
    /// next is being decided.
    pub const DECIDED_AT_ONCE: usize = 256;

    /// A worker over these ports.
    pub fn new(ports: WorkerPorts) -> Self {
        Self { ports }
    }

    /// Waits up to `wait_ms` milliseconds for attempts, decides them, tells the stock store and
    /// the buyers, and marks them as done, in this order.
    ///
    /// # Errors
    /// If the queue or the order repository fails. Nothing is marked as done then: rewind the
    /// reader or drop it, and the same attempts come again; deciding them twice is harmless.
    pub async fn step(
        &self,
        reader: &mut dyn AttemptReader,
        wait_ms: u64,
    ) -> Result<Step, PortError> {
        let mut step = Step::default();
        let mut batches: Vec<(SaleRef, Vec<Attempt>)> = Vec::new();
        let deliveries = reader.poll(Self::BATCH, wait_ms).await?;
        if deliveries.is_empty() {
            return Ok(step);
        }
        for delivery in deliveries {
            match delivery {
                Delivery::Attempt(attempt) => {
                    match batches.iter_mut().find(|(sale, _)| sale.id == attempt.sale) {
                        Some((_, batch)) => batch.push(attempt),
                        None => batches.push((self.sale_of(&attempt), vec![attempt])),
                    }
                }
                Delivery::Undecodable(item) => step.undecodable.push(item),
            }
        }
        let unreadable = step.undecodable.len() as u64;
        self.ports.recorder.count(Metric::Undecodable, unreadable);

        let mut untold: Option<Decided<'_>> = None;
        for (sale, attempts) in &batches {
            for attempts in attempts.chunks(Self::DECIDED_AT_ONCE) {
                let deciding = self.ports.orders.commit(sale, attempts);
                let (decisions, told) = both(deciding, self.tell(untold.take())).await;
                step.unsettled = told.err().or(step.unsettled);
                let decisions = match decisions {
                    Ok(decisions) => decisions,
                    // For example of a sale that the database does not have: no retry helps, and
                    // nobody else's attempts may wait for it.
                    Err(fault) if fault.kind() == ErrorKind::Invalid => {
                        let refused = attempts.iter().map(|attempt| refused(attempt, &fault));
                        step.undecodable.extend(refused);
                        continue;
                    }
                    Err(fault) => return Err(fault),
                };
                step.decided += decisions.len();
                untold = Some(Decided {
                    sale,
                    attempts,
                    decisions,
                });
            }
        }
        step.unsettled = self.tell(untold).await.err().or(step.unsettled);
        reader.commit().await?;
        Ok(step)
    }

    /// Tells the stock store and the buyers.
    async fn tell(&self, decided: Option<Decided<'_>>) -> Result<(), PortError> {
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
        } = decided;
        settling::settle(&**stock, &**recorder, sale, attempts, &decisions).await
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
