use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::PortError;
use crate::ports::{AttemptRecord, AttemptRepo, BATCH_MAX, Metric, Recorder};

/// Takes refusals to the audit trail without holding a buyer up.
///
/// Accepted attempts do not come this way: whoever keeps the orders records them. Of refusals, the
/// newest are left out when [`WAITING_MAX`](Self::WAITING_MAX) wait already (counted as
/// [`Metric::AuditDropped`]), and what waits is lost with the process.
#[derive(Debug)]
pub struct AuditTrail {
    repo: Arc<dyn AttemptRepo>,
    recorder: Arc<dyn Recorder>,
    waiting: Mutex<VecDeque<AttemptRecord>>,
}

impl AuditTrail {
    /// The most refusals that wait to be recorded.
    pub const WAITING_MAX: usize = 16_384;

    /// A way to this trail.
    pub fn new(repo: Arc<dyn AttemptRepo>, recorder: Arc<dyn Recorder>) -> Self {
        Self {
            repo,
            recorder,
            waiting: Mutex::default(),
        }
    }

    /// Takes a refusal along, if there is room.
    pub(super) fn note(&self, refusal: AttemptRecord) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < Self::WAITING_MAX {
            waiting.push_back(refusal);
        } else {
            drop(waiting);
            self.recorder.count(Metric::AuditDropped, 1);
        }
    }

    /// Records a batch of what waits; returns how many more do.
    ///
    /// # Errors
    /// If the trail cannot be written; the batch is lost, and counted as such.
    pub async fn step(&self) -> Result<usize, PortError> {
        let (batch, left) = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = waiting.len().min(BATCH_MAX);
            let batch: Vec<_> = waiting.drain(..count).collect();
            (batch, waiting.len())
        };
        if batch.is_empty() {
            return Ok(0);
        }
        let recorded = self.repo.record(&batch).await;
        if recorded.is_err() {
            self.recorder
                .count(Metric::AuditDropped, batch.len() as u64);
        }
        recorded.map(|()| left)
    }
}
