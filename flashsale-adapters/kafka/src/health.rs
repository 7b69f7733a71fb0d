use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::Fault;

/// Whether Kafka can be used: what the clients of a queue report, and what the
/// [`TopicAdmin`](crate::topic_admin::TopicAdmin) finds when it looks.
#[derive(Debug)]
pub(crate) struct Health {
    state: Mutex<State>,
    changed: Condvar,
    found: watch::Sender<Found>,
    /// Whether there may be refusals, so that every delivery need not look.
    refused: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the latest look at the brokers that was asked for.
    asked: u64,
    trouble: bool,
    closed: bool,
    refusals: HashMap<Client, (Instant, Fault)>,
}

/// What a look has found.
#[derive(Clone, Debug)]
struct Found {
    /// It began after the look of this number was asked for.
    number: u64,
    found: Result<(), Fault>,
}

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Producer,
    /// A reader of this group.
    Reader(String),
}

/// The longest time without a look at the topic.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a check waits for a look.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// For so long a refusal that is not repeated is held to be true.
const REFUSAL_KEPT: Duration = Duration::from_secs(30);

impl Default for Health {
    fn default() -> Self {
        let (found, _) = watch::channel(Found {
            number: 0,
            found: Err(no_answer()),
        });
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            found,
            refused: AtomicBool::new(false),
        }
    }
}

/// For everybody who uses Kafka.
impl Health {
    /// Whether Kafka can be used now; the answer takes 2 s at most.
    pub(crate) async fn check(&self) -> Result<(), Fault> {
        let wanted = self.ask();
        let mut looks = self.found.subscribe();
        let looked = looks.wait_for(|look| look.number >= wanted);
        if let Ok(Ok(look)) = timeout(CHECK_MAX, looked).await {
            return look.found.clone();
        }
        // What was wrong is not right because a look takes long.
        let last = self.found.borrow().found.clone();
        last.and_then(|()| Err(no_answer()))
    }

    fn ask(&self) -> u64 {
        let mut state = self.state();
        state.asked += 1;
        self.changed.notify_all();
        state.asked
    }

    /// A client has met something that is worth a look.
    pub(crate) fn trouble(&self) {
        self.state().trouble = true;
        self.changed.notify_all();
    }

    /// A client is told that it may not do what it has to do.
    pub(crate) fn refused(&self, client: Client, why: Fault) {
        let mut state = self.state();
        state.refusals.insert(client, (Instant::now(), why));
        state.trouble = true;
        self.refused.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// A client could do what it has to do.
    pub(crate) fn accepted(&self, client: &Client) {
        if self.refused.load(Ordering::Acquire) {
            let mut state = self.state();
            state.refusals.remove(client);
            self.refused
                .store(!state.refusals.is_empty(), Ordering::Release);
        }
    }

    /// Nobody uses Kafka any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the one who looks.
impl Health {
    /// Begins a look: returns the number of the latest that was asked for.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.state();
        state.trouble = false;
        state.asked
    }

    /// Ends the look of this number.
    pub(crate) fn end(&self, number: u64, found: Result<(), Fault>) {
        self.found.send_replace(Found { number, found });
    }

    /// What clients may not do, as far as they have tried lately.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        let mut state = self.state();
        let refusals = &mut state.refusals;
        refusals.retain(|_, (since, _)| since.elapsed() < REFUSAL_KEPT);
        let newest = refusals.values().max_by_key(|(since, _)| *since);
        newest.map(|(_, why)| why.clone())
    }

    /// Waits until another look than `seen` is asked for, or until `pause` is over and there is
    /// trouble, or for a while: the topic may have got more partitions. Says whether to go on.
    pub(crate) fn wait(&self, seen: u64, pause: Duration, in_trouble: bool) -> bool {
        let mut state = self.state();
        state.trouble |= in_trouble;
        let asked = |state: &State| state.closed || state.asked != seen;
        let paused = self
            .changed
            .wait_timeout_while(state, pause, |state| !asked(state));
        let (state, _) = paused.unwrap_or_else(PoisonError::into_inner);
        let due = self
            .changed
            .wait_timeout_while(state, LOOK_EVERY, |state| !asked(state) && !state.trouble);
        !due.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}

pub(crate) fn no_answer() -> Fault {
    Fault::unavailable("no broker answers")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Client, Fault, Health};
    use std::time::Duration;

    #[test]
    fn a_look_is_due_when_it_is_asked_for_or_there_is_trouble() {
        let health = Health::default();
        let seen = health.begin();
        let (soon, late) = (Duration::from_millis(1), Duration::from_secs(3_600));
        assert!(health.wait(seen, soon, true));
        assert_eq!(health.ask(), seen + 1);
        assert!(health.wait(seen, late, false));
        health.trouble();
        assert!(health.wait(seen + 1, soon, false));
        health.close();
        assert!(!health.wait(seen + 1, late, false));
    }

    #[test]
    fn a_refusal_is_held_until_its_client_is_accepted() {
        let health = Health::default();
        let reader = Client::Reader("workers".to_owned());
        health.refused(reader.clone(), Fault::misconfigured("no right"));
        health.accepted(&Client::Producer);
        assert_eq!(health.refusal().unwrap().to_string(), "no right");
        health.accepted(&reader);
        assert_eq!(health.refusal(), None);
    }

    #[tokio::test]
    async fn a_check_is_answered_by_a_look_that_began_after_it() {
        let health = Health::default();
        let earlier = health.begin();
        let check = health.check();
        let looks = async {
            health.end(earlier, Err(Fault::unavailable("too early")));
            let number = health.begin();
            health.end(number, Ok(()));
        };
        let mut check = std::pin::pin!(check);
        // It asks when it is first polled.
        let asked = tokio::time::timeout(Duration::from_millis(1), check.as_mut()).await;
        assert!(asked.is_err());
        looks.await;
        assert_eq!(check.await, Ok(()));
    }
}
