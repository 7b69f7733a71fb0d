use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flashsale_core::domain::Timestamp;
use flashsale_core::ports::Clock;
use flashsale_core::testing::ManualClock;

/// The world's clock, wrong by some time.
#[derive(Debug)]
pub(crate) struct SkewedClock {
    true_clock: Arc<ManualClock>,
    skew_ms: AtomicI64,
}

impl SkewedClock {
    pub(crate) fn new(true_clock: Arc<ManualClock>, skew_ms: i64) -> Self {
        Self {
            true_clock,
            skew_ms: AtomicI64::new(skew_ms),
        }
    }

    /// Makes it wrong by another time from now on.
    pub(crate) fn jump(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        self.true_clock
            .now()
            .plus_ms(self.skew_ms.load(Ordering::Relaxed))
    }
}
