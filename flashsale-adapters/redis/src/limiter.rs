use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Fault;

/// How many items may wait in all [`Batcher`](crate::batcher::Batcher)s of a kind.
#[derive(Debug)]
pub(crate) struct Limiter {
    waiting: AtomicUsize,
    max: usize,
}

impl Limiter {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            max,
        }
    }

    /// Takes places for so many items, or refuses all of them.
    pub(crate) fn acquire(&self, count: usize) -> Result<(), Fault> {
        let waiting = self.waiting.fetch_add(count, Ordering::Relaxed);
        if waiting + count > self.max {
            self.release(count);
            return Err(Fault::waiting(self.max));
        }
        Ok(())
    }

    /// Gives places back.
    pub(crate) fn release(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }
}
