use std::collections::HashMap;
use std::sync::Mutex;

use super::lock;
use crate::ports::{Metric, Recorder};

/// Keeps counters to look at.
#[derive(Debug, Default)]
pub struct MemoryRecorder(Mutex<HashMap<Metric, u64>>);

impl MemoryRecorder {
    /// What a counter stands at.
    pub fn get(&self, metric: Metric) -> u64 {
        lock(&self.0).get(&metric).copied().unwrap_or(0)
    }
}

impl Recorder for MemoryRecorder {
    fn count(&self, metric: Metric, count: u64) {
        *lock(&self.0).entry(metric).or_default() += count;
    }
}
