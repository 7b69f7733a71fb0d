use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flashsale_core::PortError;
use flashsale_core::domain::{Epoch, Levels, Phase, ProductId, Sale, SaleId, Timestamp};
use flashsale_core::ports::{AttemptQueue, AttemptReader, BATCH_MAX, Clock, Leadership, Revision};
use flashsale_core::services::{
    AuditTrail, Auditor, Catalogue, Reconciliation, Recovery, RecoveryProgress, Relay, Repair,
    SaleService, StockReadiness, Verdict, Worker,
};
use tokio::time::{Instant, sleep, timeout};

use super::Chore;
use crate::Services;

/// Keeps the catalogue fresh, and the stock of every sale up to date, also after it was lost.
#[derive(Debug)]
pub(super) struct KeepSales {
    sales: SaleService,
    recovery: Recovery,
    leadership: Arc<dyn Leadership>,
    clock: Arc<dyn Clock>,
    seen: Revision,
    /// What each sale was like when it was last looked at to the end.
    looked_at: HashMap<SaleId, LookedAt>,
    /// The sales whose stock store does not agree with the repository, and since when.
    differing: HashMap<SaleId, Instant>,
    /// Whether a sale that should sell by now is about to.
    queueing: bool,
}

/// That nothing has to be done for a sale as long as it is like this.
#[derive(Debug)]
struct LookedAt {
    version: u64,
    epoch: Epoch,
    phase: Phase,
    /// Until when.
    until: Instant,
}

impl LookedAt {
    fn holds(&self, sale: &Sale) -> bool {
        self.version == sale.version
            && self.epoch == sale.epoch
            && self.phase == sale.phase
            && Instant::now() < self.until
    }
}

impl KeepSales {
    /// Looks at the sales this often even if nobody says that they have changed.
    const POLL: Duration = Duration::from_secs(1);
    /// And this often while a sale waits for the one before it, or for its stock.
    const POLL_QUEUEING: Duration = Duration::from_millis(50);
    /// A sale that does not sell now is looked at again after this time, whatever any clock shows.
    const REST: Duration = Duration::from_secs(30);
    /// A stock that differs for longer than this has to be rebuilt.
    const DIFFERING_MAX: Duration = Duration::from_secs(3);
    /// For how long buyers read what became of their attempts after the end of a sale.
    const KEPT_MS: i64 = 7 * 86_400_000;

    pub(super) fn new(services: &Services, group: &str) -> Self {
        let engine = &services.engine;
        Self {
            sales: engine.sales.clone(),
            recovery: engine.recovery.clone().of_group(group),
            leadership: Arc::clone(&engine.leadership),
            clock: Arc::clone(&engine.sales.clock),
            seen: Revision::default(),
            looked_at: HashMap::new(),
            differing: HashMap::new(),
            queueing: false,
        }
    }

    /// The sales whose stock has to be there: those that are not over, and of each product the one
    /// that its buyers still read their results of.
    fn wanted(&self, now: Timestamp) -> Vec<Arc<Sale>> {
        let sales = self.sales.catalogue.all();
        let mut last: HashMap<ProductId, &Sale> = HashMap::new();
        for sale in sales.iter().filter(|sale| sale.phase != Phase::Scheduled) {
            let last = last.entry(sale.product.id).or_insert(sale);
            if last.window.start < sale.window.start {
                *last = sale;
            }
        }
        let wanted = sales.iter().filter(|sale| {
            let last = last
                .get(&sale.product.id)
                .is_some_and(|last| last.id == sale.id);
            sale.window.end > now || (last && sale.window.end.plus_ms(Self::KEPT_MS) > now)
        });
        wanted.cloned().collect()
    }

    /// Prepares one sale if there may be something to do; says whether the repository has changed
    /// by it.
    async fn prepare(&mut self, sale: &Sale, now: Timestamp) -> Result<bool, PortError> {
        let looked_at = self.looked_at.get(&sale.id);
        if looked_at.is_some_and(|looked_at| looked_at.holds(sale)) {
            return Ok(false);
        }
        let readiness = self.sales.prepare(sale).await?;
        if readiness != StockReadiness::Ahead {
            self.differing.remove(&sale.id);
        }
        let selling = sale.window.start <= now.plus_ms(Self::REST.as_millis() as i64)
            && now < sale.window.end;
        let rest = match readiness {
            StockReadiness::Ready if selling => Duration::ZERO,
            StockReadiness::Ready | StockReadiness::TooEarly => Self::REST,
            StockReadiness::Waiting => {
                let soon = now.plus_ms(Self::POLL.as_millis() as i64);
                self.queueing |= sale.window.start <= soon;
                return Ok(false);
            }
            StockReadiness::Ahead => {
                let since = *self.differing.entry(sale.id).or_insert_with(Instant::now);
                if since.elapsed() >= Self::DIFFERING_MAX {
                    self.recover(sale).await?;
                }
                return Ok(false);
            }
            StockReadiness::Lost => {
                self.recover(sale).await?;
                return Ok(false);
            }
        };
        let looked_at = LookedAt {
            version: sale.version,
            epoch: sale.epoch,
            phase: sale.phase,
            until: Instant::now() + rest,
        };
        self.looked_at.insert(sale.id, looked_at);
        Ok(sale.phase == Phase::Scheduled && readiness == StockReadiness::Ready)
    }

    /// Takes the rebuild of a stock a step further, if that is this process's turn.
    async fn recover(&mut self, sale: &Sale) -> Result<(), PortError> {
        if !self.leadership.leads(sale.id).await? {
            return Ok(());
        }
        let step = self.recovery.step(sale).await?;
        let id = sale.id.get();
        match step {
            RecoveryProgress::Done => tracing::info!(sale.id = id, "the stock is rebuilt"),
            RecoveryProgress::Fenced => {
                tracing::warn!(sale.id = id, "the stock is lost; rebuilding it")
            }
            RecoveryProgress::Draining { .. } | RecoveryProgress::Waiting => {}
        }
        self.queueing = true;
        Ok(())
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
        let sales = self.wanted(now);
        self.queueing = false;
        self.looked_at
            .retain(|id, _| sales.iter().any(|sale| sale.id == *id));
        let mut opened = false;
        let mut first_fault = None;
        for sale in &sales {
            match self.prepare(sale, now).await {
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
        for item in step.dead_letters {
            let (position, problem) = (item.position, item.problem);
            let length_bytes = item.content.stored().len();
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

/// Has a stock rebuilt that differs from the orders while nothing is in flight: it has lost
/// something, and nobody who had seen it before was there to notice.
#[derive(Debug)]
pub(super) struct Watch {
    auditor: Auditor,
    recovery: Recovery,
    leadership: Arc<dyn Leadership>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    /// What was seen of each sale at the last look.
    seen: HashMap<SaleId, Seen>,
}

/// A stock at a moment, and how far it has been looked into.
#[derive(Debug)]
struct Seen {
    levels: Levels,
    /// It has been compared with the orders and was right.
    exact: bool,
    /// It has been compared with the orders and differed like this.
    differed: Option<Reconciliation>,
}

impl Watch {
    /// The pause between two looks.
    const PAUSE: Duration = Duration::from_secs(2);

    pub(super) fn new(services: &Services, group: &str) -> Self {
        let engine = &services.engine;
        Self {
            auditor: engine.auditor.clone(),
            recovery: engine.recovery.clone().of_group(group),
            leadership: Arc::clone(&engine.leadership),
            catalogue: Arc::clone(&engine.catalogue),
            clock: Arc::clone(&engine.sales.clock),
            seen: HashMap::new(),
        }
    }

    /// Counting orders is work for the database, so it is done only for a stock that has not moved
    /// since the last look, and once if it is right.
    async fn watch(&mut self, sale: &Sale) -> Result<(), PortError> {
        if sale.is_recovering() || !self.leadership.leads(sale.id).await? {
            return Ok(());
        }
        let levels = self.auditor.stock.levels(&sale.key()).await?;
        let Some(levels) = levels.filter(|levels| levels.undecided == 0) else {
            self.seen.remove(&sale.id);
            return Ok(());
        };
        let before = self.seen.remove(&sale.id);
        let before = before.filter(|seen| seen.levels == levels);
        let (mut exact, mut differed) = (false, None);
        if let Some(before) = before {
            exact = before.exact;
            if !exact && let Some(mut account) = self.auditor.reconcile(sale.id).await? {
                account.queued = None;
                exact = account.verdict() == Verdict::Exact;
                if before.differed.as_ref() == Some(&account) {
                    tracing::warn!(
                        sale.id = sale.id.get(),
                        "the stock differs from the orders; rebuilding it"
                    );
                    self.recovery.step(&account.sale).await?;
                }
                differed = (account.verdict() == Verdict::Drift).then_some(account);
            }
        }
        let seen = Seen {
            levels,
            exact,
            differed,
        };
        self.seen.insert(sale.id, seen);
        Ok(())
    }
}

impl Chore for Watch {
    const NAME: &'static str = "watch stocks";

    async fn wait(&mut self) -> Result<(), PortError> {
        sleep(Self::PAUSE).await;
        Ok(())
    }

    /// A sale that cannot be looked at keeps none of the others from it.
    async fn step(&mut self) -> Result<(), PortError> {
        let now = self.clock.now();
        let mut sales = self.catalogue.all();
        sales.retain(|sale| {
            sale.window.start <= now && now < sale.window.end && sale.phase != Phase::Scheduled
        });
        self.seen
            .retain(|id, _| sales.iter().any(|sale| sale.id == *id));
        let mut first_fault = None;
        for sale in sales {
            if let Err(fault) = self.watch(&sale).await {
                first_fault = first_fault.or(Some(fault));
            }
        }
        first_fault.map_or(Ok(()), Err)
    }
}

/// Finishes attempts that a crash or a fault left undecided.
#[derive(Debug)]
pub(super) struct Mend {
    repair: Repair,
    clock: Arc<dyn Clock>,
    leadership: Arc<dyn Leadership>,
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
            clock: Arc::clone(&services.engine.sales.clock),
            leadership: Arc::clone(&services.engine.leadership),
            catalogue: Arc::clone(&services.engine.catalogue),
            rounds: 0,
        }
    }

    /// Looks after one sale until nothing is left to do.
    async fn mend(&self, sale: &Sale) -> Result<(), PortError> {
        // Without the database nobody leads, and what needs none is done by all.
        if matches!(self.leadership.leads(sale.id).await, Ok(false)) {
            return Ok(());
        }
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
        let since = self.clock.now().plus_ms(-Self::RECENT_MS);
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
