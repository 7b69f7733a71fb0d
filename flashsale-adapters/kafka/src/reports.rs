use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;

use crate::error::Fault;

/// What the clients of a queue report to its [`Keeper`](crate::keeper::Keeper), and what others ask
/// of it.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    state: Mutex<State>,
    bell: Condvar,
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

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Producer,
    /// A reader of this group.
    Reader(String),
}

/// Why a keeper is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A look is asked for, or due.
    Look,
    /// The queue is gone.
    Close,
}

/// For so long a refusal that is not repeated is held to be true.
const REFUSAL_KEPT: Duration = Duration::from_secs(30);

impl Reports {
    /// Asks for a look at the brokers and returns its number.
    pub(crate) fn ask(&self) -> u64 {
        let mut state = self.state();
        state.asked += 1;
        self.bell.notify_all();
        state.asked
    }

    /// Begins a look: returns the number of the latest that was asked for.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.state();
        state.trouble = false;
        state.asked
    }

    /// A client has met something that is worth a look.
    pub(crate) fn trouble(&self) {
        self.state().trouble = true;
        self.bell.notify_all();
    }

    /// A client is told that it may not do what it has to do.
    pub(crate) fn refused(&self, client: Client, why: Fault) {
        let mut state = self.state();
        state.refusals.insert(client, (Instant::now(), why));
        state.trouble = true;
        self.refused.store(true, Ordering::Release);
        self.bell.notify_all();
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

    /// What clients may not do, as far as they have tried lately.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        let mut state = self.state();
        let refusals = &mut state.refusals;
        refusals.retain(|_, (since, _)| since.elapsed() < REFUSAL_KEPT);
        let newest = refusals.values().max_by_key(|(since, _)| *since);
        newest.map(|(_, why)| why.clone())
    }

    /// Ends the keeper.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.bell.notify_all();
    }

    /// Waits until another look than `seen` is asked for, or until `pause` is over and, if the
    /// keeper heeds it, there is trouble.
    pub(crate) fn wait(&self, seen: u64, pause: Duration, heeds_trouble: bool) -> Call {
        let over = Instant::now() + pause;
        let mut state = self.state();
        loop {
            let left = over.saturating_duration_since(Instant::now());
            if state.closed {
                return Call::Close;
            }
            let due = left.is_zero() && (state.trouble || !heeds_trouble);
            if due || state.asked != seen {
                return Call::Look;
            }
            state = if left.is_zero() {
                let waited = self.bell.wait(state);
                waited.unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.bell.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client repeats itself while brokers are away; what matters is logged where it is handled.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "Kafka client");
        }
        _ => tracing::debug!(facility, message, "Kafka client"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Call, Client, Fault, Reports};
    use std::time::Duration;

    #[test]
    fn a_look_is_due_when_it_is_asked_for_or_there_is_trouble() {
        let reports = Reports::default();
        let seen = reports.begin();
        let (soon, late) = (Duration::from_millis(1), Duration::from_secs(3_600));
        assert_eq!(reports.wait(seen, soon, false), Call::Look);
        assert_eq!(reports.ask(), seen + 1);
        assert_eq!(reports.wait(seen, late, true), Call::Look);
        reports.trouble();
        assert_eq!(reports.wait(seen + 1, soon, true), Call::Look);
        reports.close();
        assert_eq!(reports.wait(seen + 1, late, true), Call::Close);
    }

    #[test]
    fn a_refusal_is_held_until_its_client_is_accepted() {
        let reports = Reports::default();
        let reader = Client::Reader("workers".to_owned());
        reports.refused(reader.clone(), Fault::misconfigured("no right"));
        reports.accepted(&Client::Producer);
        assert_eq!(reports.refusal().unwrap().to_string(), "no right");
        reports.accepted(&reader);
        assert_eq!(reports.refusal(), None);
    }
}
