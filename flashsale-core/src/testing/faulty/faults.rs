use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use crate::error::{ErrorKind, PortError};
use crate::testing::Seeded;

/// How often calls go wrong, each in percent of all calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// Fails with effect [`None`](crate::Effect::None); the port is not called.
    pub fail_before: u8,
    /// Fails with effect [`Unknown`](crate::Effect::Unknown), after the port was called.
    pub fail_after: u8,
    /// Is pending before it goes on, one to four times.
    pub delay: u8,
    /// Is made twice; the second answer counts.
    pub duplicate: u8,
}

impl FaultRates {
    /// No faults.
    pub const NOTHING: Self = Self {
        fail_before: 0,
        fail_after: 0,
        delay: 0,
        duplicate: 0,
    };

    /// All faults, each in one of ten calls.
    pub const EVERYTHING: Self = Self {
        fail_before: 10,
        fail_after: 10,
        delay: 10,
        duplicate: 10,
    };
}

/// When what goes wrong. The same seed and the same order of calls give the same faults.
#[derive(Debug)]
pub struct Faults {
    rates: FaultRates,
    random: Mutex<Seeded>,
    healed: AtomicBool,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Plan {
    fail_before: bool,
    fail_after: bool,
    delays: u64,
    duplicate: bool,
}

impl Faults {
    /// Faults at these rates.
    pub fn new(seed: u64, rates: FaultRates) -> Self {
        Self {
            rates,
            random: Mutex::new(Seeded::new(seed)),
            healed: AtomicBool::new(false),
        }
    }

    /// Ends all faults: from now on every call is what it is.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    /// Draws what goes wrong with the next call; as many numbers each time.
    fn next(&self) -> Plan {
        if self.healed.load(Ordering::SeqCst) {
            return Plan::default();
        }
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let fail_before = random.percent(self.rates.fail_before);
        let fail_after = random.percent(self.rates.fail_after);
        let (delay, times) = (random.percent(self.rates.delay), 1 + random.below(4));
        Plan {
            fail_before,
            fail_after,
            delays: if delay { times } else { 0 },
            duplicate: random.percent(self.rates.duplicate),
        }
    }

    /// Makes a call with whatever goes wrong with it.
    pub(super) async fn around<T, F>(
        &self,
        operation: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, PortError>
    where
        F: Future<Output = Result<T, PortError>>,
    {
        let plan = self.next();
        pending(plan.delays).await;
        if plan.fail_before {
            return Err(fault(operation));
        }
        let mut answer = call().await;
        if plan.duplicate {
            answer = call().await;
        }
        if plan.fail_after {
            return Err(fault(operation).effect_unknown());
        }
        answer
    }

    /// As [`around`](Self::around), for a call that cannot wait.
    pub(super) fn around_at_once<T>(
        &self,
        operation: &'static str,
        call: impl Fn() -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        let plan = self.next();
        if plan.fail_before {
            return Err(fault(operation));
        }
        let mut answer = call();
        if plan.duplicate {
            answer = call();
        }
        if plan.fail_after {
            return Err(fault(operation).effect_unknown());
        }
        answer
    }

    /// What may go wrong before a call that must not be lost once it is made; says whether to
    /// repeat what it gives.
    pub(super) async fn before(&self, operation: &'static str) -> Result<bool, PortError> {
        let plan = self.next();
        pending(plan.delays).await;
        if plan.fail_before || plan.fail_after {
            return Err(fault(operation));
        }
        Ok(plan.duplicate)
    }
}

fn fault(operation: &'static str) -> PortError {
    PortError::new(ErrorKind::Unavailable, "faulty", operation)
}

/// Is pending so many times, and asks to be polled again at once.
async fn pending(mut times: u64) {
    std::future::poll_fn(|context| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
