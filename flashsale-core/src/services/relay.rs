use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::domain::{Attempt, SaleRef};
use crate::error::PortError;
use crate::ports::{AttemptQueue, BATCH_MAX, Published, StockStore};

/// Hands attempts to the queue after their buyers were answered, many at a time.
///
/// For [`AcceptAfter::Reserved`](super::AcceptAfter::Reserved). What waits here is only a shortcut:
/// the stock store's outbox has every attempt, and what is lost here with a process, or left out
/// because more than [`WAITING_MAX`](Self::WAITING_MAX) wait, [`Repair`](super::Repair) publishes.
#[derive(Clone, Debug)]
pub struct Relay {
    queue: Arc<dyn AttemptQueue>,
    stock: Arc<dyn StockStore>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    attempts: VecDeque<(SaleRef, Attempt)>,
    /// Who waits for the next attempt.
    steps: Vec<Waker>,
}

impl Relay {
    /// The most attempts that wait; further ones are left to the outbox.
    pub const WAITING_MAX: usize = 16_384;

    /// A relay from the stock store's outbox to the queue.
    pub fn new(queue: Arc<dyn AttemptQueue>, stock: Arc<dyn StockStore>) -> Self {
        Self {
            queue,
            stock,
            waiting: Arc::default(),
        }
    }

    /// Takes an attempt along, if there is room.
    pub(super) fn take_along(&self, sale: SaleRef, attempt: Attempt) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.attempts.len() < Self::WAITING_MAX {
            waiting.attempts.push_back((sale, attempt));
            waiting.steps.drain(..).for_each(Waker::wake);
        }
    }

    /// Waits until attempts wait.
    pub async fn ready(&self) {
        std::future::poll_fn(|context| {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.attempts.is_empty() {
                waiting.steps.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await
    }

    /// Hands a batch of one sale to the queue, and tells the stock store which of them the queue
    /// has now; says how many were handed over. Several may run at the same time.
    ///
    /// # Errors
    /// If the queue or the stock store fails; the attempts are left to the outbox.
    pub async fn step(&self) -> Result<usize, PortError> {
        let Some((sale, attempts)) = self.next() else {
            return Ok(0);
        };
        let count = attempts.len();
        let published = self.queue.publish(&attempts).await?;
        let logged: Vec<_> = attempts
            .into_iter()
            .zip(published)
            .filter(|(_, published)| *published == Published::Logged)
            .map(|(attempt, _)| attempt)
            .collect();
        if !logged.is_empty() {
            self.stock.acknowledge(&sale, &logged).await?;
        }
        Ok(count)
    }

    /// The attempts that have waited longest, of one sale.
    fn next(&self) -> Option<(SaleRef, Vec<Attempt>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = &mut waiting.attempts;
        let sale = attempts.front().map(|(sale, _)| *sale)?;
        let same = attempts.iter().take_while(|(other, _)| *other == sale);
        let count = same.take(BATCH_MAX).count();
        let batch = attempts.drain(..count).map(|(_, attempt)| attempt);
        Some((sale, batch.collect()))
    }
}
