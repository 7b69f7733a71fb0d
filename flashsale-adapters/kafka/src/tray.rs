use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::Fault;

/// Where a reader lays what it wants to be committed, for its [`Clerk`](crate::clerk::Clerk).
#[derive(Debug, Default)]
pub(crate) struct Tray {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A newer commit takes the place of one that nobody waits for any more.
    commit: Option<Commit>,
    /// Since when the clerk is at what it does.
    at_work: Option<Instant>,
    /// The clerk is to look around.
    stirred: bool,
    /// There will be no clerk any more.
    closed: bool,
}

/// Offsets to be committed.
#[derive(Debug)]
pub(crate) struct Commit {
    /// The next offset of each partition.
    pub(crate) marks: BTreeMap<i32, i64>,
    /// Done: the brokers have them, or they are others' by now. Closed if nobody waits any more.
    pub(crate) answer: oneshot::Sender<Result<(), Fault>>,
}

impl Tray {
    /// Lays down a commit; says until when it is worth to wait for the answer. A clerk that has
    /// been waiting for the brokers for `patience` will not get to this one soon.
    pub(crate) fn put(&self, commit: Commit, patience: Duration) -> Instant {
        let mut state = self.state();
        if !state.closed {
            state.commit = Some(commit);
            self.changed.notify_all();
        }
        state.at_work.unwrap_or_else(Instant::now) + patience
    }

    /// Takes what is to be committed, for the clerk, who is at work from then on until the next
    /// call. Waits for it, for `within` at most.
    pub(crate) fn take(&self, within: Duration) -> Option<Commit> {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        state.at_work = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.commit.is_some() || state.stirred || left.is_zero() {
                state.stirred = false;
                state.at_work = Some(Instant::now());
                return state.commit.take();
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets the clerk look around, also if there is nothing to commit.
    pub(crate) fn stir(&self) {
        self.state().stirred = true;
        self.changed.notify_all();
    }

    /// Nobody is at work any more. What is to be committed belongs to others, or comes again.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.at_work = None;
        if let Some(commit) = state.commit.take() {
            let _ = commit.answer.send(Ok(()));
        }
    }

    /// There will be no clerk any more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        *state = State {
            closed: true,
            ..State::default()
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use tokio::sync::oneshot;

    use super::{Commit, Fault, Tray};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn commit(mark: i64) -> (Commit, oneshot::Receiver<Result<(), Fault>>) {
        let (answer, answered) = oneshot::channel();
        let marks = BTreeMap::from([(0, mark)]);
        (Commit { marks, answer }, answered)
    }

    #[test]
    fn the_newest_commit_is_taken() {
        let tray = Tray::default();
        let ((old, _), (new, _)) = (commit(1), commit(2));
        tray.put(old, PATIENCE);
        tray.put(new, PATIENCE);
        let taken = tray.take(Duration::ZERO).unwrap();
        assert_eq!(taken.marks, BTreeMap::from([(0, 2)]));
        assert!(tray.take(Duration::ZERO).is_none());
    }

    #[test]
    fn a_clerk_who_is_held_up_is_waited_for_once() {
        let tray = Tray::default();
        let ((first, _), (second, _), (third, _)) = (commit(1), commit(2), commit(3));
        let before = Instant::now();
        let deadline = tray.put(first, PATIENCE);
        assert!(deadline >= before + PATIENCE);
        tray.take(Duration::ZERO).unwrap();
        let taken = Instant::now();
        // From when the clerk began, not from now on.
        assert!(tray.put(second, PATIENCE) <= taken + PATIENCE);
        // The clerk is back.
        tray.take(Duration::ZERO).unwrap();
        let again = Instant::now();
        tray.clear();
        assert!(tray.put(third, PATIENCE) >= again + PATIENCE);
    }

    #[test]
    fn a_clerk_who_is_stirred_waits_no_longer() {
        let tray = Tray::default();
        tray.stir();
        let since = Instant::now();
        assert!(tray.take(PATIENCE).is_none());
        assert!(since.elapsed() < PATIENCE);
    }

    #[test]
    fn what_is_cleared_is_done_and_what_comes_after_the_end_is_not() {
        let tray = Tray::default();
        let ((cleared, mut answer), (late, mut none)) = (commit(1), commit(2));
        tray.put(cleared, PATIENCE);
        tray.clear();
        assert_eq!(answer.try_recv().unwrap(), Ok(()));
        tray.close();
        tray.put(late, PATIENCE);
        assert_eq!(none.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
