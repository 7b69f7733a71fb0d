use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Keeps buyers from waiting for brokers that do not answer.
///
/// It opens when a wait was in vain, and when the client has lost all brokers. While it is open
/// nothing is handed to the client but for one probe at a time. What was handed over before is
/// delivered by itself when the brokers are back, and any delivery closes it. The probes are for
/// when nothing is left to be delivered, and for when some partitions work and others do not.
#[derive(Debug)]
pub(crate) struct Circuit {
    born: Instant,
    open: AtomicBool,
    /// Messages for the client that are neither delivered nor given up.
    waiting: AtomicUsize,
    /// Messages that the brokers have.
    delivered: AtomicU64,
    probing: AtomicBool,
    /// When the circuit opened or the last probe began, in milliseconds since its birth.
    probed_ms: AtomicU64,
}

/// Whether a call may hand messages over.
#[derive(Debug)]
pub(crate) enum Admission<'a> {
    /// It may, like any other.
    Free,
    /// It may, and finds out how things stand.
    Probe(#[expect(dead_code, reason = "it is held")] Probe<'a>),
    /// It may not.
    Refused,
}

/// Keeps others from probing.
#[derive(Debug)]
pub(crate) struct Probe<'a>(&'a Circuit);

/// The pause between probes while messages wait for their delivery, which is a probe by itself.
const PROBE_PAUSE_MS: u64 = 1_000;

impl Circuit {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            open: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            probing: AtomicBool::new(false),
            probed_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn admit(&self) -> Admission<'_> {
        if !self.open.load(Ordering::Acquire) {
            return Admission::Free;
        }
        let probed_ms = self.probed_ms.load(Ordering::Acquire);
        let is_early = self.now_ms() < probed_ms + PROBE_PAUSE_MS;
        if (self.waiting() > 0 && is_early) || self.probing.swap(true, Ordering::AcqRel) {
            return Admission::Refused;
        }
        self.probed_ms.store(self.now_ms(), Ordering::Release);
        Admission::Probe(Probe(self))
    }

    pub(crate) fn open(&self) {
        if !self.open.swap(true, Ordering::AcqRel) {
            self.probed_ms.store(self.now_ms(), Ordering::Release);
            tracing::warn!("Kafka does not answer; attempts are unconfirmed until it does");
        }
    }

    pub(crate) fn close(&self) {
        if self.open.load(Ordering::Acquire) && self.open.swap(false, Ordering::AcqRel) {
            tracing::info!("Kafka answers again");
        }
    }

    /// Messages are for the client.
    pub(crate) fn handed_over(&self, messages: usize) {
        self.waiting.fetch_add(messages, Ordering::AcqRel);
    }

    /// The client never got these messages.
    pub(crate) fn dropped(&self, messages: usize) {
        self.waiting.fetch_sub(messages, Ordering::AcqRel);
    }

    /// The client is done with a message.
    pub(crate) fn done(&self, delivered: bool) {
        if delivered {
            self.delivered.fetch_add(1, Ordering::AcqRel);
            self.close();
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many messages the client has still to deliver.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// How many messages the brokers have taken so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Acquire)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::{Admission, Circuit};

    #[test]
    fn an_open_circuit_lets_one_probe_through_at_a_time() {
        let circuit = Circuit::new();
        assert!(matches!(circuit.admit(), Admission::Free));
        circuit.open();
        let probe = circuit.admit();
        assert!(matches!(probe, Admission::Probe(_)));
        assert!(matches!(circuit.admit(), Admission::Refused));
        drop(probe);
        assert!(matches!(circuit.admit(), Admission::Probe(_)));
    }

    #[test]
    fn what_waits_for_delivery_is_the_probe() {
        let circuit = Circuit::new();
        circuit.handed_over(2);
        circuit.open();
        assert!(matches!(circuit.admit(), Admission::Refused));
        circuit.done(false);
        assert!(matches!(circuit.admit(), Admission::Refused));
        circuit.done(true);
        assert!(matches!(circuit.admit(), Admission::Free));
        assert_eq!((circuit.waiting(), circuit.delivered()), (0, 1));
    }
}
