use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flashsale_core::domain::{Epoch, Phase, Sale, SaleId};
use flashsale_core::ports::{AttemptQueue, AttemptReader, BATCH_MAX, Clock, Revision};
use flashsale_core::services::{
    AuditTrail, Catalogue, Readiness, Relay, Repair, SaleService, Worker,
};
use flashsale_core::{ErrorKind, PortError};
use tokio::time::{Instant, sleep, timeout};

use super::Chore;
use crate::Services;

/// Keeps the catalogue fresh, and the stock of every sale that is not over up to date.
#[derive(Debug)]
pub(super) struct KeepSales {
    sales: SaleService,
    clock: Arc<dyn Clock>,
    seen: Revision,
    /// What each sale was like when it was last looked at to the end.
    looked_at: HashMap<SaleId, LookedAt>,
    /// Whether a sale that should sell by now waits for the place of another.
    queueing: bool,
}

/// That nothing has to be done for a sale as long as it is like this.
#[derive(Debug)]
struct LookedAt {
    version: u64,
    epoch: Epoch,
    phase: Phase,
    /// Until when; for ever if there is no such moment.
    until: Option<Instant>,
}

impl LookedAt {
    fn holds(&self, sale: &Sale) -> bool {
        self.version == sale.version
            && self.epoch == sale.epoch
            && self.phase == sale.phase
            && self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl KeepSales {
    /// Looks at the sales this often even if nobody says that they have changed.
    const POLL: Duration = Duration::from_secs(1);
    /// And this often while a sale that should sell by now waits for the one before it.
    const POLL_QUEUEING: Duration = Duration::from_millis(50);
    /// A sale that is too early is looked at again after this time, whatever any clock shows.
    const REST: Duration = Duration::from_secs(30);

    pub(super) fn new(services: &Services) -> Self {
        Self {
            sales: services.engine.sales.clone(),
            clock: Arc::clone(&services.engine.repair.clock),
            seen: Revision::default(),
            looked_at: HashMap::new(),
            queueing: false,
        }
    }

    /// Prepares one sale if that has not been done; says whether the repository has changed by it.
    async fn prepare(&mut self, sale: &Sale) -> Result<bool, PortError> {
        let looked_at = self.looked_at.get(&sale.id);
        if looked_at.is_some_and(|looked_at| looked_at.holds(sale)) {
            return Ok(false);
        }
        let until = match self.sales.prepare(sale).await? {
            Readiness::Ready => None,
            Readiness::TooEarly => Some(Instant::now() + Self::REST),
            Readiness::Waiting => {
                let soon = self.clock.now().plus_ms(Self::POLL.as_millis() as i64);
                self.queueing |= sale.window.start <= soon;
                return Ok(false);
            }
            Readiness::Lost => {
                let lost = format!("the stock of sale {} has to be rebuilt", sale.id);
                return Err(
                    PortError::new(ErrorKind::Corrupt, "stock store", "prepare").with_source(lost)
                );
            }
        };
        let looked_at = LookedAt {
            version: sale.version,
            epoch: sale.epoch,
            phase: sale.phase,
            until,
        };
        self.looked_at.insert(sale.id, looked_at);
        Ok(sale.phase == Phase::Scheduled && until.is_none())
    }
}

impl Chore for KeepSales {
    const NAME: &'static str = "keep sales";

    async fn wait(&mut self) -> Result<(), PortError> {
        let changed = self.sales.catalogue.changed(self.seen);
        let poll = if self.queueing {
            Self::POLL_QUEUEING
        } else {
            Self::POLL
        };
        if let Ok(seen) = timeout(poll, changed).await {
            self.seen = seen?;
        }
        Ok(())
    }

    /// A sale that cannot be prepared keeps none of the others from it.
    async fn step(&mut self) -> Result<(), PortError> {
        self.sales.catalogue.refresh().await?;
        let now = self.clock.now();
        let mut sales = self.sales.catalogue.all();
        sales.retain(|sale| sale.window.end > now);
        self.queueing = false;
        self.looked_at
            .retain(|id, _| sales.iter().any(|sale| sale.id == *id));
        let mut opened = false;
        let mut first_fault = None;
        for sale in &sales {
            match self.prepare(sale).await {
                Ok(changed) => opened |= changed,
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        if opened {
            self.sales.catalogue.refresh().await?;
        }
        first_fault.map_or(Ok(()), Err)
    }
}

/// Turns attempts from the queue into orders.
#[derive(Debug)]
pub(super) struct Decide {
    worker: Worker,
    queue: Arc<dyn AttemptQueue>,
    /// Nothing before the first step and after a fault that it did not survive: what it had not
    /// committed is delivered again to its successor.
    reader: Option<Box<dyn AttemptReader>>,
    group: String,
}

impl Decide {
    /// How long a step waits for attempts; a stop waits as long.
    const WAIT_MS: u64 = 200;

    pub(super) fn new(services: &Services, group: &str) -> Self {
        Self {
            group: group.to_owned(),
            worker: services.engine.worker.clone(),
            queue: Arc::clone(&services.engine.repair.queue),
            reader: None,
        }
    }
}

impl Chore for Decide {
    const NAME: &'static str = "decide attempts";

    async fn wait(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    async fn step(&mut self) -> Result<(), PortError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.queue.subscribe(&self.group).await?,
        };
        let step = match self.worker.step(&mut *reader, Self::WAIT_MS).await {
            Ok(step) => step,
            Err(fault) => {
                if reader.rewind().await.is_ok() {
                    self.reader = Some(reader);
                }
                return Err(fault);
            }
        };
        self.reader = Some(reader);
        for item in step.undecodable {
            let (position, problem) = (item.position, item.problem);
            let length_bytes = item.payload.len();
            tracing::error!(
                position,
                problem,
                length_bytes,
                "the queue holds what is no attempt"
            );
        }
        step.unsettled.map_or(Ok(()), Err)
    }
}

/// Takes attempts to the queue whose buyers were answered before it had them.
#[derive(Debug)]
pub(super) struct Forward {
    relay: Relay,
}

impl Forward {
    /// How many batches may be on their way at the same time.
    pub(super) const AT_ONCE: usize = 2;
    /// How long it gathers: nobody waits for it, and large batches cost the queue much less.
    const GATHER: Duration = Duration::from_millis(25);

    pub(super) fn new(services: &Services) -> Self {
        Self {
            relay: services.engine.relay.clone(),
        }
    }
}

impl Chore for Forward {
    const NAME: &'static str = "forward attempts";

    async fn wait(&mut self) -> Result<(), PortError> {
        self.relay.ready().await;
        sleep(Self::GATHER).await;
        Ok(())
    }

    async fn step(&mut self) -> Result<(), PortError> {
        self.relay.step().await.map(|_| ())
    }

    async fn finish(&mut self) {
        while matches!(self.relay.step().await, Ok(1..)) {}
    }
}

/// Tells the stock store what the queue has.
#[derive(Debug)]
pub(super) struct Acknowledge {
    relay: Relay,
}

impl Acknowledge {
    /// The pause between two rounds.
    const PAUSE: Duration = Duration::from_millis(500);

    pub(super) fn new(services: &Services) -> Self {
        Self {
            relay: services.engine.relay.clone(),
        }
    }
}

impl Chore for Acknowledge {
    const NAME: &'static str = "acknowledge attempts";

    async fn wait(&mut self) -> Result<(), PortError> {
        sleep(Self::PAUSE).await;
        Ok(())
    }

    async fn step(&mut self) -> Result<(), PortError> {
        self.relay.acknowledge().await
    }

    async fn finish(&mut self) {
        for _ in 0..2 {
            let _ = self.step().await;
        }
    }
}

/// Takes refusals to the audit trail.
#[derive(Debug)]
pub(super) struct RecordRefusals {
    trail: Arc<AuditTrail>,
}

impl RecordRefusals {
    /// The pause between two rounds.
    const PAUSE: Duration = Duration::from_secs(1);

    pub(super) fn new(trail: &Arc<AuditTrail>) -> Self {
        Self {
            trail: Arc::clone(trail),
        }
    }
}

impl Chore for RecordRefusals {
    const NAME: &'static str = "record refusals";

    async fn wait(&mut self) -> Result<(), PortError> {
        sleep(Self::PAUSE).await;
        Ok(())
    }

    /// What comes meanwhile is left to the next round, so that a crowd of refused users keeps
    /// nobody's database busy all the time.
    async fn step(&mut self) -> Result<(), PortError> {
        for _ in 0..AuditTrail::WAITING_MAX.div_ceil(BATCH_MAX) {
            if self.trail.step().await? == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) {
        let _ = self.step().await;
    }
}

/// Finishes attempts that a crash or a fault left undecided.
#[derive(Debug)]
pub(super) struct Mend {
    repair: Repair,
    catalogue: Arc<Catalogue>,
    rounds: u32,
}

impl Mend {
    /// The pause between two rounds.
    const PAUSE: Duration = Duration::from_secs(1);
    /// A sale that ended longer ago has nothing left to do, as a rule.
    const RECENT_MS: i64 = 600_000;
    /// Every so many rounds those are looked after too.
    const ALL_EVERY: u32 = 60;

    pub(super) fn new(services: &Services) -> Self {
        Self {
            repair: services.engine.repair.clone(),
            catalogue: Arc::clone(&services.engine.catalogue),
            rounds: 0,
        }
    }

    /// Looks after one sale until nothing is left to do.
    async fn mend(&self, sale: &Sale) -> Result<(), PortError> {
        let batch = self.repair.limits.batch;
        loop {
            let repaired = self.repair.step(&sale.key()).await?;
            if repaired.completed + repaired.republished > 0 {
                tracing::info!(
                    sale.id = sale.id.get(),
                    republished = repaired.republished,
                    completed = repaired.completed,
                    "repaired attempts that were left undone"
                );
            }
            if repaired.completed < batch && repaired.republished < batch {
                return Ok(());
            }
        }
    }
}

impl Chore for Mend {
    const NAME: &'static str = "repair attempts";

    async fn wait(&mut self) -> Result<(), PortError> {
        sleep(Self::PAUSE).await;
        Ok(())
    }

    /// A sale that cannot be repaired keeps none of the others from it.
    async fn step(&mut self) -> Result<(), PortError> {
        let all = self.rounds.is_multiple_of(Self::ALL_EVERY);
        self.rounds = self.rounds.wrapping_add(1);
        let since = self.repair.clock.now().plus_ms(-Self::RECENT_MS);
        let mut first_fault = None;
        for sale in self.catalogue.all() {
            if (all || sale.window.end > since)
                && let Err(fault) = self.mend(&sale).await
            {
                first_fault = first_fault.or(Some(fault));
            }
        }
        first_fault.map_or(Ok(()), Err)
    }
}
