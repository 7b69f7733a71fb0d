use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{BackgroundLimits, BackgroundTask, TaskEvent, TaskReport, Wait};
use crate::domain::{Epoch, Phase, Sale, SaleId, Timestamp};
use crate::error::PortError;
use crate::ports::{Leadership, Revision};
use crate::services::{EngineServices, Recovery, RecoveryProgress, SaleService, StockReadiness};

/// Keeps the catalogue fresh, and the stock of every sale up to date, also after it was lost.
#[derive(Debug)]
pub struct SaleSupervisor {
    sales: SaleService,
    recovery: Recovery,
    leadership: Arc<dyn Leadership>,
    limits: BackgroundLimits,
    seen: Revision,
    /// Why nobody says whether the sales have changed.
    deaf: Option<PortError>,
    /// What each sale was like when it was last looked at to the end.
    looked_at: HashMap<SaleId, LookedAt>,
    /// The sales whose stock store is ahead of the repository, and since when.
    ahead: HashMap<SaleId, u64>,
    /// Whether a sale that should sell by now is about to.
    waiting: bool,
}

/// That nothing has to be done for a sale as long as it is like this.
#[derive(Debug)]
struct LookedAt {
    version: u64,
    epoch: Epoch,
    phase: Phase,
    until_ms: u64,
}

impl LookedAt {
    fn holds(&self, sale: &Sale, now_ms: u64) -> bool {
        self.version == sale.version
            && self.epoch == sale.epoch
            && self.phase == sale.phase
            && now_ms < self.until_ms
    }
}

impl SaleSupervisor {
    /// Over these services, whose workers read the queue as `group`.
    pub fn new(services: &EngineServices, group: &str) -> Self {
        Self {
            sales: services.sales.clone(),
            recovery: services.recovery.clone().of_group(group),
            leadership: Arc::clone(&services.leadership),
            limits: services.limits,
            seen: Revision::default(),
            deaf: None,
            looked_at: HashMap::new(),
            ahead: HashMap::new(),
            waiting: false,
        }
    }

    /// A sale that cannot be prepared keeps none of the others from it.
    async fn prepare_all(&mut self, now_ms: u64, report: &mut TaskReport) -> Result<(), PortError> {
        self.sales.catalogue.refresh().await?;
        let now = self.sales.clock.now();
        let sales = self.sales.catalogue.kept(now, self.limits.results_kept_ms);
        self.waiting = false;
        self.looked_at
            .retain(|id, _| sales.iter().any(|sale| sale.id == *id));
        let mut opened = false;
        for sale in &sales {
            match self.prepare(sale, now, now_ms, &mut report.events).await {
                Ok(changed) => opened |= changed,
                Err(fault) => report.note(Err(fault)),
            }
        }
        if opened {
            self.sales.catalogue.refresh().await?;
        }
        Ok(())
    }

    /// Prepares one sale if there may be something to do; says whether the repository has changed
    /// by it.
    async fn prepare(
        &mut self,
        sale: &Sale,
        now: Timestamp,
        now_ms: u64,
        events: &mut Vec<TaskEvent>,
    ) -> Result<bool, PortError> {
        let looked_at = self.looked_at.get(&sale.id);
        if looked_at.is_some_and(|looked_at| looked_at.holds(sale, now_ms)) {
            return Ok(false);
        }
        let readiness = self.sales.prepare(sale).await?;
        if readiness != StockReadiness::Ahead {
            self.ahead.remove(&sale.id);
        }
        let BackgroundLimits {
            sales_rest_ms,
            sales_poll_ms,
            ahead_max_ms,
            ..
        } = self.limits;
        let selling =
            sale.window.start <= now.plus_ms(sales_rest_ms as i64) && now < sale.window.end;
        let rest_ms = match readiness {
            StockReadiness::Ready if selling => 0,
            StockReadiness::Ready | StockReadiness::TooEarly => sales_rest_ms,
            StockReadiness::Waiting => {
                self.waiting |= sale.window.start <= now.plus_ms(sales_poll_ms as i64);
                return Ok(false);
            }
            StockReadiness::Ahead => {
                let since_ms = *self.ahead.entry(sale.id).or_insert(now_ms);
                if now_ms.saturating_sub(since_ms) >= ahead_max_ms {
                    self.recover(sale, events).await?;
                }
                return Ok(false);
            }
            StockReadiness::Lost => {
                self.recover(sale, events).await?;
                return Ok(false);
            }
        };
        let looked_at = LookedAt {
            version: sale.version,
            epoch: sale.epoch,
            phase: sale.phase,
            until_ms: now_ms + rest_ms,
        };
        self.looked_at.insert(sale.id, looked_at);
        Ok(sale.phase == Phase::Scheduled && readiness == StockReadiness::Ready)
    }

    /// Takes the rebuild of a stock a step further, if that is this process's turn.
    async fn recover(&mut self, sale: &Sale, events: &mut Vec<TaskEvent>) -> Result<(), PortError> {
        if !self.leadership.leads(sale.id).await? {
            return Ok(());
        }
        match self.recovery.step(sale).await? {
            RecoveryProgress::Done => events.push(TaskEvent::StockRebuilt(sale.id)),
            RecoveryProgress::Fenced => events.push(TaskEvent::StockLost(sale.id)),
            RecoveryProgress::Draining { .. } | RecoveryProgress::Waiting => {}
        }
        self.waiting = true;
        Ok(())
    }
}

#[async_trait]
impl BackgroundTask for SaleSupervisor {
    fn name(&self) -> &'static str {
        "keep sales"
    }

    fn next(&self) -> Wait {
        Wait::ReadyOr(if self.waiting {
            self.limits.sales_poll_waiting_ms
        } else {
            self.limits.sales_poll_ms
        })
    }

    /// Waits for a change of the sales. As long as nobody can say whether there was one, they are
    /// looked at as often as if there were none.
    async fn ready(&mut self) {
        match self.sales.catalogue.changed(self.seen).await {
            Ok(seen) => self.seen = seen,
            Err(fault) => {
                self.deaf = Some(fault);
                std::future::pending().await
            }
        }
    }

    async fn step(&mut self, now_ms: u64) -> TaskReport {
        let mut report = TaskReport::default();
        let prepared = self.prepare_all(now_ms, &mut report).await;
        report.note(prepared);
        report.note(self.deaf.take().map_or(Ok(()), Err));
        report
    }

    async fn finish(&mut self) {}
}
