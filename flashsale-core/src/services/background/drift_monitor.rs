use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{BackgroundLimits, BackgroundTask, TaskEvent, TaskReport, Wait};
use crate::domain::{Levels, Phase, Sale, SaleId};
use crate::error::PortError;
use crate::ports::{Clock, Leadership};
use crate::services::{Auditor, Catalogue, EngineServices, Reconciliation, Recovery, Verdict};

/// Has a stock rebuilt that differs from the orders while nothing is in flight: it has lost
/// something, and nobody who had seen it before was there to notice.
#[derive(Debug)]
pub struct DriftMonitor {
    auditor: Auditor,
    recovery: Recovery,
    leadership: Arc<dyn Leadership>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    limits: BackgroundLimits,
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

impl DriftMonitor {
    /// Over these services, whose workers read the queue as `group`.
    pub fn new(services: &EngineServices, group: &str) -> Self {
        Self {
            auditor: services.auditor.clone(),
            recovery: services.recovery.clone().of_group(group),
            leadership: Arc::clone(&services.leadership),
            catalogue: Arc::clone(&services.catalogue),
            clock: Arc::clone(&services.sales.clock),
            limits: services.limits,
            seen: HashMap::new(),
        }
    }

    /// Counting orders is work for the database, so it is done only for a stock that has not moved
    /// since the last look, and once if it is right.
    async fn look(&mut self, sale: &Sale, events: &mut Vec<TaskEvent>) -> Result<(), PortError> {
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
                    events.push(TaskEvent::StockDiffers(sale.id));
                    self.recovery.step(&account.sale).await?;
                }
                // A change that the store has not been told of yet is not a loss.
                let current = levels.version == account.sale.version;
                let drifts = current && account.verdict() == Verdict::Drift;
                differed = drifts.then_some(account);
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

#[async_trait]
impl BackgroundTask for DriftMonitor {
    fn name(&self) -> &'static str {
        "watch stocks"
    }

    fn next(&self) -> Wait {
        Wait::Pause(self.limits.drift_pause_ms)
    }

    async fn ready(&mut self) {}

    /// A sale that cannot be looked at keeps none of the others from it.
    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        let now = self.clock.now();
        let mut sales = self.catalogue.kept(now, self.limits.results_kept_ms);
        sales.retain(|sale| sale.window.start <= now && sale.phase != Phase::Scheduled);
        self.seen
            .retain(|id, _| sales.iter().any(|sale| sale.id == *id));
        let mut report = TaskReport::default();
        for sale in sales {
            let looked = self.look(&sale, &mut report.events).await;
            report.note(looked);
        }
        report
    }

    async fn finish(&mut self) {}
}
