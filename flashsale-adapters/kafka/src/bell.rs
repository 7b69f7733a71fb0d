use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wakes the thread of a reader, and tells it what to do.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<Rung>,
    waiting: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    closed: bool,
    /// The client has something to poll for, or the shelf has room again.
    stirred: bool,
}

impl Bell {
    pub(crate) fn close(&self) {
        self.ring(|rung| rung.closed = true);
    }

    /// The client has something to poll for. Called by its threads.
    pub(crate) fn stir(&self) {
        self.ring(|rung| rung.stirred = true);
    }

    /// The shelf has room again.
    pub(crate) fn room(&self) {
        self.ring(|rung| rung.stirred = true);
    }

    /// From now on only what stirs is news.
    pub(crate) fn calm(&self) {
        self.rung().stirred = false;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.rung().closed
    }

    /// Waits until there is something to do, for `within` at most.
    pub(crate) fn wait(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut rung = self.rung();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if rung.stirred || rung.closed || left.is_zero() {
                return;
            }
            let waited = self.waiting.wait_timeout(rung, left);
            rung = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn ring(&self, change: impl FnOnce(&mut Rung)) {
        change(&mut self.rung());
        self.waiting.notify_one();
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
