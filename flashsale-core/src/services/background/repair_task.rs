use std::sync::Arc;

use async_trait::async_trait;

use super::{BackgroundTask, TaskEvent, TaskReport, Wait};
use crate::domain::Sale;
use crate::error::PortError;
use crate::ports::{Clock, Leadership};
use crate::services::{Catalogue, EngineServices, Repair};

/// Finishes attempts that a crash or a fault left undecided.
#[derive(Debug)]
pub struct RepairTask {
    repair: Repair,
    leadership: Arc<dyn Leadership>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    pause_ms: u64,
    recent_ms: u64,
    all_every: u32,
    rounds: u32,
}

impl RepairTask {
    /// Over these services.
    pub fn new(services: &EngineServices) -> Self {
        Self {
            repair: services.repair.clone(),
            leadership: Arc::clone(&services.leadership),
            catalogue: Arc::clone(&services.catalogue),
            clock: Arc::clone(&services.sales.clock),
            pause_ms: services.limits.repair_pause_ms,
            recent_ms: services.limits.repair_recent_ms,
            all_every: services.limits.repair_all_every,
            rounds: 0,
        }
    }

    /// Looks after one sale until nothing is left to do.
    async fn repair(&self, sale: &Sale, events: &mut Vec<TaskEvent>) -> Result<(), PortError> {
        // Without the database nobody leads, and what needs none is done by all.
        if matches!(self.leadership.leads(sale.id).await, Ok(false)) {
            return Ok(());
        }
        let batch = self.repair.limits.batch;
        loop {
            let repaired = self.repair.step(&sale.key()).await?;
            if repaired.completed + repaired.republished > 0 {
                events.push(TaskEvent::Repaired(sale.id, repaired));
            }
            if repaired.completed < batch && repaired.republished < batch {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl BackgroundTask for RepairTask {
    fn name(&self) -> &'static str {
        "repair attempts"
    }

    fn next(&self) -> Wait {
        Wait::Pause(self.pause_ms)
    }

    async fn ready(&mut self) {}

    /// A sale that cannot be repaired keeps none of the others from it.
    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        let all = self.rounds.is_multiple_of(self.all_every);
        self.rounds = self.rounds.wrapping_add(1);
        let since = self.clock.now().plus_ms(-(self.recent_ms as i64));
        let mut report = TaskReport::default();
        for sale in self.catalogue.all() {
            if all || sale.window.end > since {
                let repaired = self.repair(&sale, &mut report.events).await;
                report.note(repaired);
            }
        }
        report
    }

    async fn finish(&mut self) {}
}
