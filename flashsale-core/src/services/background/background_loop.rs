use super::{BackgroundTask, TaskReport, Wait};
use crate::services::join::either;

/// Runs a [`BackgroundTask`]: wait, step, wait, step. After a fault, or a step that was left (also
/// by a panic), it waits longer: 100 ms, doubled up to 1 s.
///
/// It has no clock and does not sleep: its caller passes both in.
#[derive(Debug)]
pub struct BackgroundLoop {
    task: Box<dyn BackgroundTask>,
    /// How long to wait in addition if the next step does not succeed.
    backoff_ms: u64,
    /// Whether the last step succeeded.
    succeeded: bool,
}

impl BackgroundLoop {
    /// The wait after the first fault.
    pub const BACKOFF_MIN_MS: u64 = 100;
    /// The longest wait after a fault.
    pub const BACKOFF_MAX_MS: u64 = 1_000;

    /// Runs this task.
    pub fn new(task: Box<dyn BackgroundTask>) -> Self {
        Self {
            task,
            backoff_ms: Self::BACKOFF_MIN_MS,
            succeeded: true,
        }
    }

    /// What the task does, for logs.
    pub fn name(&self) -> &'static str {
        self.task.name()
    }

    /// Waits until the next step is due; `sleep` is to sleep for so many milliseconds. May be
    /// dropped.
    pub async fn wait<S>(&mut self, sleep: impl Fn(u64) -> S + Send)
    where
        S: Future<Output = ()> + Send,
    {
        if !std::mem::replace(&mut self.succeeded, false) {
            let backoff_ms = self.backoff_ms;
            self.backoff_ms = Self::BACKOFF_MAX_MS.min(backoff_ms * 2);
            sleep(backoff_ms).await;
        }
        match self.task.next() {
            Wait::Nothing => {}
            Wait::Pause(ms) => sleep(ms).await,
            Wait::ReadyOr(ms) => either(self.task.ready(), sleep(ms)).await,
            Wait::ReadyThen(ms) => {
                self.task.ready().await;
                sleep(ms).await;
            }
        }
    }

    /// Does a step; see [`BackgroundTask::step`].
    pub async fn step(&mut self, now_ms: u64) -> TaskReport {
        self.succeeded = false;
        let report = self.task.step(now_ms).await;
        if report.fault.is_none() {
            self.succeeded = true;
            self.backoff_ms = Self::BACKOFF_MIN_MS;
        }
        report
    }

    /// See [`BackgroundTask::finish`].
    pub async fn finish(&mut self) {
        self.task.finish().await;
    }
}
