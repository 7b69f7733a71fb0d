use async_trait::async_trait;

use super::{BackgroundTask, TaskReport, Wait};
use crate::services::{EngineServices, Relay};

/// Takes attempts to the queue whose buyers were answered before it had them.
#[derive(Debug)]
pub struct RelayTask {
    relay: Relay,
    gather_ms: u64,
}

impl RelayTask {
    /// Over these services. Several may run at the same time.
    pub fn new(services: &EngineServices) -> Self {
        Self {
            relay: services.relay.clone(),
            gather_ms: services.limits.relay_gather_ms,
        }
    }
}

#[async_trait]
impl BackgroundTask for RelayTask {
    fn name(&self) -> &'static str {
        "forward attempts"
    }

    fn next(&self) -> Wait {
        Wait::ReadyThen(self.gather_ms)
    }

    async fn ready(&mut self) {
        self.relay.ready().await;
    }

    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        self.relay.step().await.map(|_| ()).into()
    }

    async fn finish(&mut self) {
        while matches!(self.relay.step().await, Ok(1..)) {}
    }
}
