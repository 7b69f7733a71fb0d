use std::sync::Arc;

use async_trait::async_trait;

use super::{BackgroundTask, TaskEvent, TaskReport, Wait};
use crate::error::PortError;
use crate::ports::{AttemptQueue, AttemptReader};
use crate::services::{EngineServices, Worker, WorkerReport};

/// Turns attempts from the queue into orders.
#[derive(Debug)]
pub struct WorkerTask {
    worker: Worker,
    queue: Arc<dyn AttemptQueue>,
    group: String,
    wait_ms: u64,
    /// Nothing before the first step and after a fault that it did not survive: what it had not
    /// committed is delivered again to its successor.
    reader: Option<Box<dyn AttemptReader>>,
}

impl WorkerTask {
    /// Over these services; reads the queue as `group`.
    pub fn new(services: &EngineServices, group: &str) -> Self {
        Self {
            worker: services.worker.clone(),
            queue: Arc::clone(&services.repair.queue),
            group: group.to_owned(),
            wait_ms: services.limits.worker_wait_ms,
            reader: None,
        }
    }

    async fn decide(&mut self) -> Result<WorkerReport, PortError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.queue.subscribe(&self.group).await?,
        };
        let decided = self.worker.step(&mut *reader, self.wait_ms).await;
        if decided.is_ok() || reader.rewind().await.is_ok() {
            self.reader = Some(reader);
        }
        decided
    }
}

#[async_trait]
impl BackgroundTask for WorkerTask {
    fn name(&self) -> &'static str {
        "decide attempts"
    }

    fn next(&self) -> Wait {
        Wait::Nothing
    }

    async fn ready(&mut self) {}

    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        match self.decide().await {
            Ok(decided) => TaskReport {
                events: decided
                    .dead_letters
                    .into_iter()
                    .map(TaskEvent::DeadLetter)
                    .collect(),
                fault: decided.unsettled,
            },
            Err(fault) => Err(fault).into(),
        }
    }

    async fn finish(&mut self) {}
}
