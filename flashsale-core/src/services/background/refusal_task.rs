use std::sync::Arc;

use async_trait::async_trait;

use super::{BackgroundTask, TaskReport, Wait};
use crate::error::PortError;
use crate::ports::BATCH_MAX;
use crate::services::{AuditTrail, EngineServices};

/// Takes refusals to the audit trail.
#[derive(Debug)]
pub struct RefusalTask {
    trail: Arc<AuditTrail>,
    pause_ms: u64,
}

impl RefusalTask {
    /// Over these services and their trail.
    pub fn new(services: &EngineServices, trail: &Arc<AuditTrail>) -> Self {
        Self {
            trail: Arc::clone(trail),
            pause_ms: services.limits.refusals_pause_ms,
        }
    }

    /// What comes meanwhile is left to the next round, so that a crowd of refused users keeps
    /// nobody's database busy all the time.
    async fn record(&self) -> Result<(), PortError> {
        for _ in 0..AuditTrail::WAITING_MAX.div_ceil(BATCH_MAX) {
            if self.trail.step().await? == 0 {
                break;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl BackgroundTask for RefusalTask {
    fn name(&self) -> &'static str {
        "record refusals"
    }

    fn next(&self) -> Wait {
        Wait::Pause(self.pause_ms)
    }

    async fn ready(&mut self) {}

    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        self.record().await.into()
    }

    async fn finish(&mut self) {
        let _ = self.record().await;
    }
}
