use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::Fault;

/// Wakes the thread of a reader, and tells it what to do.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<Rung>,
    waiting: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    /// A newer commit takes the place of one that nobody waits for any more.
    commit: Option<Commit>,
    closed: bool,
    /// The client has something to poll for, or the shelf has room again.
    stirred: bool,
}

/// Offsets to be committed.
#[derive(Debug)]
pub(crate) struct Commit {
    /// The next offset of each partition.
    pub(crate) marks: BTreeMap<i32, i64>,
    /// Until when it is tried again.
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<Committed, Fault>>,
}

/// What became of offsets that were to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// The brokers have them, or they are others' by now.
    Yes,
    /// Not now: the group is finding a new order.
    Later,
}

impl Bell {
    pub(crate) fn commit(&self, commit: Commit) {
        self.ring(|rung| rung.commit = Some(commit));
    }

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

    pub(crate) fn take_commit(&self) -> Option<Commit> {
        self.rung().commit.take()
    }

    /// Waits until there is something to do, for `within` at most.
    pub(crate) fn wait(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut rung = self.rung();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if rung.stirred || rung.closed || rung.commit.is_some() || left.is_zero() {
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
