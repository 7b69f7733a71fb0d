use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::Attempt;
use flashsale_core::ports::{AttemptQueue, AttemptReader, Delivery, Published, QueuePosition};

use crate::engine::{Engine, check_batch};
use crate::queue_state::{Group, KEPT, append, store_done};

/// Attempts on their way to the workers of this process, in the engine's file.
///
/// Made by [`EmbeddedEngine::queue`](crate::EmbeddedEngine::queue). Publishing returns when the
/// attempts are on disk. An attempt is kept until every group that ever subscribed has committed
/// it, and the newest 10,000 are kept in any case, for groups to come. Waiting needs a tokio runtime with its timer.
#[derive(Clone, Debug)]
pub struct EmbeddedAttemptQueue(pub(crate) Arc<Engine>);

#[derive(Debug)]
struct EmbeddedAttemptReader {
    engine: Arc<Engine>,
    group: String,
    /// Positions handed out to this reader since its last commit.
    lent: Vec<i64>,
}

#[async_trait]
impl AttemptQueue for EmbeddedAttemptQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        check_batch("publish", attempts.len())?;
        let Engine {
            queue,
            journal,
            config,
            ..
        } = &*self.0;
        // Held while writing, so that positions appear in memory in the order of the disk.
        let mut log = queue.log.lock();
        if log.attempts.len() + attempts.len() > config.queue_max + KEPT {
            return Ok(vec![Published::Unconfirmed; attempts.len()]);
        }
        let positions = journal.write("publish", |transaction| append(transaction, attempts))?;
        log.attempts
            .extend(positions.into_iter().zip(attempts.iter().cloned()));
        drop(log);
        queue.published.notify_waiters();
        Ok(vec![Published::Logged; attempts.len()])
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        let mut log = self.0.queue.log.lock();
        if !log.groups.contains_key(group) {
            let done = log.attempts.keys().next().map_or(0, |first| first - 1);
            self.0.journal.write("subscribe", |transaction| {
                store_done(transaction, group, done)
            })?;
            let new = Group {
                done,
                ..Group::default()
            };
            log.groups.insert(group.to_owned(), new);
        }
        Ok(Box::new(EmbeddedAttemptReader {
            engine: Arc::clone(&self.0),
            group: group.to_owned(),
            lent: Vec::new(),
        }))
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        let log = self.0.queue.log.lock();
        let last = log.attempts.keys().next_back().copied().unwrap_or(0);
        Ok(QueuePosition::new(last))
    }

    async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, PortError> {
        let log = self.0.queue.log.lock();
        let end = until.get::<i64>().copied().unwrap_or_default();
        let done = log.groups.get(group);
        let left = log.attempts.range(..=end).filter(|(position, _)| {
            done.is_none_or(|group| {
                **position > group.done && !group.done_early.contains(*position)
            })
        });
        // Without readers nothing is ever done; then nothing is waited for either.
        Ok(if done.is_some() {
            left.count() as u64
        } else {
            0
        })
    }
}

#[async_trait]
impl AttemptReader for EmbeddedAttemptReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        let engine = Arc::clone(&self.engine);
        let wait = async {
            loop {
                let published = engine.queue.published.notified();
                let mut published = std::pin::pin!(published);
                // Listens before it looks, so that nothing published in between is missed.
                published.as_mut().enable();
                let lent = engine.queue.log.lock().lend(&self.group, max);
                if !lent.is_empty() || wait_ms == 0 {
                    return lent;
                }
                published.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_millis(wait_ms), wait).await;
        let lent = waited.unwrap_or_default();
        self.lent.extend(lent.iter().map(|(position, _)| position));
        let attempts = lent
            .into_iter()
            .map(|(_, attempt)| Delivery::Attempt(attempt));
        Ok(attempts.collect())
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        if self.lent.is_empty() {
            return Ok(());
        }
        let mut log = self.engine.queue.log.lock();
        let Some(group) = log.groups.get(&self.group) else {
            return Ok(());
        };
        let done = group.done_with(&log.attempts, &self.lent);
        let others = log.groups.iter().filter(|(name, _)| **name != self.group);
        let done_by_all = others.map(|(_, group)| group.done).min();
        let kept_from = done_by_all
            .unwrap_or(done)
            .min(done)
            .min(log.oldest_to_keep());
        self.engine.journal.write("commit", |transaction| {
            store_done(transaction, &self.group, done)?;
            let sql = "DELETE FROM queue WHERE position < ?1";
            transaction.prepare_cached(sql)?.execute([kept_from])
        })?;
        if let Some(group) = log.groups.get_mut(&self.group) {
            group.commit(&self.lent, done);
        }
        log.attempts = log.attempts.split_off(&kept_from);
        self.lent.clear();
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        self.give_back();
        Ok(())
    }
}

impl EmbeddedAttemptReader {
    /// Lets the readers of the group have what this one has not committed.
    fn give_back(&mut self) {
        let mut log = self.engine.queue.log.lock();
        if let Some(group) = log.groups.get_mut(&self.group) {
            for position in self.lent.drain(..) {
                group.lent.remove(&position);
            }
        }
        drop(log);
        self.engine.queue.published.notify_waiters();
    }
}

impl Drop for EmbeddedAttemptReader {
    fn drop(&mut self) {
        self.give_back();
    }
}
