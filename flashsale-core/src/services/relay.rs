use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::domain::{Attempt, SaleRef};
use crate::error::PortError;
use crate::ports::{AttemptQueue, BATCH_MAX, Published, StockStore};

/// What is done about accepted attempts after their buyers were answered, many at a time: handing
/// them to the queue, if they were [accepted](super::AcceptAfter) before that, and telling the stock
/// store what the queue has.
///
/// What waits here is only a shortcut: the stock store's outbox has every attempt, and what is lost
/// here with a process, or left out because more than [`WAITING_MAX`](Self::WAITING_MAX) wait,
/// [`Repair`](super::Repair) publishes.
#[derive(Clone, Debug)]
pub struct Relay {
    queue: Arc<dyn AttemptQueue>,
    stock: Arc<dyn StockStore>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    attempts: VecDeque<(SaleRef, Attempt)>,
    /// What the queue has and the stock store has not been told, since the last
    /// [`Relay::acknowledge`] and from before it.
    logged: [Vec<(SaleRef, Attempt)>; 2],
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
        let mut waiting = self.lock();
        if waiting.attempts.len() < Self::WAITING_MAX {
            waiting.attempts.push_back((sale, attempt));
            waiting.steps.drain(..).for_each(Waker::wake);
        }
    }

    /// Takes an attempt along that the queue has, if there is room.
    pub(super) fn logged(&self, sale: SaleRef, attempt: Attempt) {
        let [fresh, aged] = &mut self.lock().logged;
        if fresh.len() + aged.len() < Self::WAITING_MAX {
            fresh.push((sale, attempt));
        }
    }

    /// Waits until attempts wait for the queue.
    pub async fn ready(&self) {
        std::future::poll_fn(|context| {
            let mut waiting = self.lock();
            if waiting.attempts.is_empty() {
                waiting.steps.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await
    }

    /// Hands a batch of one sale to the queue; says how many were handed over. Several may run at
    /// the same time.
    ///
    /// # Errors
    /// If the queue fails; the attempts are left to the outbox.
    pub async fn step(&self) -> Result<usize, PortError> {
        let Some((sale, attempts)) = self.next() else {
            return Ok(0);
        };
        let count = attempts.len();
        let published = self.queue.publish(&attempts).await?;
        for (attempt, published) in attempts.into_iter().zip(published) {
            if published == Published::Logged {
                self.logged(sale, attempt);
            }
        }
        Ok(count)
    }

    /// Tells the stock store about attempts that the queue has had since before the last call.
    ///
    /// Most of them are decided by then and need no telling, which is why this is not done at once
    /// and the store is asked first how far it is.
    /// To be called every half of the time after which [`Repair`](super::Repair) publishes again,
    /// or more often.
    ///
    /// # Errors
    /// If the stock store fails; some attempts are then published once more.
    pub async fn acknowledge(&self) -> Result<(), PortError> {
        let aged = {
            let [fresh, aged] = &mut self.lock().logged;
            std::mem::replace(aged, std::mem::take(fresh))
        };
        let mut sales: Vec<(SaleRef, Vec<Attempt>)> = Vec::new();
        for (sale, attempt) in aged {
            match sales.iter_mut().find(|(other, _)| *other == sale) {
                Some((_, attempts)) => attempts.push(attempt),
                None => sales.push((sale, vec![attempt])),
            }
        }
        for (sale, mut attempts) in sales {
            let levels = self.stock.levels(&sale).await?;
            match levels.and_then(|levels| levels.oldest_reserved_at) {
                Some(oldest) => attempts.retain(|attempt| attempt.reserved_at >= oldest),
                None => continue,
            }
            for attempts in attempts.chunks(BATCH_MAX) {
                self.stock.acknowledge(&sale, attempts).await?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attempts that have waited longest, of one sale.
    fn next(&self) -> Option<(SaleRef, Vec<Attempt>)> {
        let mut waiting = self.lock();
        let attempts = &mut waiting.attempts;
        let sale = attempts.front().map(|(sale, _)| *sale)?;
        let same = attempts.iter().take_while(|(other, _)| *other == sale);
        let count = same.take(BATCH_MAX).count();
        let batch = attempts.drain(..count).map(|(_, attempt)| attempt);
        Some((sale, batch.collect()))
    }
}
