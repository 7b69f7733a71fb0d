use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use crate::bell::Bell;

/// The readers of a queue whose threads live.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    state: Mutex<State>,
    /// How many threads live.
    alive: watch::Sender<usize>,
    /// The brokers have refused short sessions.
    long_sessions: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    bells: Vec<Weak<Bell>>,
    /// By group.
    seats: HashMap<String, Vec<Arc<Seat>>>,
}

/// A place in a group, for one reader at a time of a process with a name.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) number: usize,
    taken: AtomicBool,
    /// Held by the thread of a reader for as long as it is a member.
    pub(crate) membership: Mutex<()>,
}

/// The thread of a reader, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Living(Arc<Readers>);

impl Readers {
    /// Lets a reader in, unless the queue is closed.
    pub(crate) fn admit(self: &Arc<Self>, bell: &Arc<Bell>) -> Option<Living> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        state.bells.retain(|bell| bell.strong_count() > 0);
        state.bells.push(Arc::downgrade(bell));
        self.alive.send_modify(|alive| *alive += 1);
        Some(Living(Arc::clone(self)))
    }

    /// The first seat of a group that is free.
    pub(crate) fn seat(&self, group: &str) -> Arc<Seat> {
        let mut state = self.state();
        let seats = state.seats.entry(group.to_owned()).or_default();
        let free = seats
            .iter()
            .find(|seat| !seat.taken.swap(true, Ordering::AcqRel));
        if let Some(seat) = free {
            return Arc::clone(seat);
        }
        let seat = Arc::new(Seat {
            number: seats.len(),
            taken: AtomicBool::new(true),
            membership: Mutex::new(()),
        });
        seats.push(Arc::clone(&seat));
        seat
    }

    /// Whether the brokers have refused short sessions.
    pub(crate) fn have_long_sessions(&self) -> bool {
        self.long_sessions.load(Ordering::Acquire)
    }

    /// From now on all ask for long sessions. Says whether that is news.
    pub(crate) fn lengthen_sessions(&self) -> bool {
        !self.long_sessions.swap(true, Ordering::AcqRel)
    }

    /// Asks all readers to leave their groups, and lets no more in.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for bell in state.bells.drain(..) {
            if let Some(bell) = bell.upgrade() {
                bell.close();
            }
        }
    }

    /// Waits until no thread lives.
    pub(crate) async fn gone(&self) {
        let mut alive = self.alive.subscribe();
        // It cannot fail: the sender is here.
        let _ = alive.wait_for(|alive| *alive == 0).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Leaves it to the next reader.
    pub(crate) fn leave(&self) {
        self.taken.store(false, Ordering::Release);
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.alive.send_modify(|alive| *alive -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Readers;

    #[test]
    fn a_seat_that_is_left_is_the_next_to_be_taken() {
        let readers = Readers::default();
        let (first, second) = (readers.seat("workers"), readers.seat("workers"));
        assert_eq!((first.number, second.number), (0, 1));
        assert_eq!(readers.seat("others").number, 0);
        first.leave();
        let heir = readers.seat("workers");
        assert!(Arc::ptr_eq(&first, &heir));
        assert_eq!(readers.seat("workers").number, 2);
    }
}
