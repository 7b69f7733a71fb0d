use async_trait::async_trait;

use super::{BackgroundTask, TaskReport, Wait};
use crate::services::{EngineServices, Relay};

/// Tells the stock store what the queue has.
#[derive(Debug)]
pub struct AcknowledgeTask {
    relay: Relay,
    pause_ms: u64,
}

impl AcknowledgeTask {
    /// Over these services.
    pub fn new(services: &EngineServices) -> Self {
        Self {
            relay: services.relay.clone(),
            pause_ms: services.limits.acknowledge_pause_ms,
        }
    }
}

#[async_trait]
impl BackgroundTask for AcknowledgeTask {
    fn name(&self) -> &'static str {
        "acknowledge attempts"
    }

    fn next(&self) -> Wait {
        Wait::Pause(self.pause_ms)
    }

    async fn ready(&mut self) {}

    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        self.relay.acknowledge().await.into()
    }

    /// Twice: what the queue has had since the last round is told in the round after the next.
    async fn finish(&mut self) {
        for _ in 0..2 {
            let _ = self.relay.acknowledge().await;
        }
    }
}
