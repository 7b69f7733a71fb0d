//! The suite of [`AttemptQueue`](crate::ports::AttemptQueue).

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;

use super::{ensure_invalid, fresh_place};
use crate::domain::{Attempt, AttemptId, Epoch, SaleRef, Timestamp};
use crate::error::PortError;
use crate::ports::{AttemptDecoder, AttemptQueue, AttemptReader, BATCH_MAX, Delivery, Published};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, run_cases};
use crate::testing::samples::{self, units, user};
use crate::testing::{Fixture, Report, Violation};

/// What the suite of [`AttemptQueue`] works with.
#[derive(Clone, Debug)]
pub struct AttemptQueueRig {
    /// The queue to check.
    pub queue: Arc<dyn AttemptQueue>,
    /// Where garbage gets into it, if there is a way.
    pub garbage: Option<Arc<dyn GarbageSource>>,
    /// Reads it once more, if its items have a form of their own.
    pub decoder: Option<Arc<dyn AttemptDecoder>>,
}

/// Puts things into a queue that are not attempts.
#[async_trait]
pub trait GarbageSource: Debug + Send + Sync + 'static {
    /// Puts an item of these bytes into the queue.
    async fn put(&self, payload: &[u8]) -> Result<(), PortError>;
}

/// Checks an [`AttemptQueue`] against its contract. Waits up to 20 s for what has to come, and half
/// a second for what must not.
pub async fn attempt_queue(fixture: &dyn Fixture<AttemptQueueRig>) -> Report {
    let mut report = Report::new("AttemptQueue");
    run_cases!(
        report,
        fixture,
        [
            an_attempt_comes_out_as_it_went_in,
            publishing_an_attempt_twice_is_harmless,
            every_group_gets_every_attempt,
            readers_of_a_group_share_its_attempts,
            a_new_group_starts_at_the_oldest_attempt_that_is_kept,
            what_is_not_committed_comes_again,
            what_is_committed_does_not_come_again,
            what_was_polled_comes_again_after_a_rewind,
            at_most_max_attempts_come,
            nothing_comes_out_of_an_empty_queue,
            dropping_a_poll_loses_nothing,
            what_cannot_be_decoded_comes_out_as_such_once,
            an_empty_batch_is_answered_with_nothing,
            a_batch_of_the_largest_size_is_published,
            a_larger_batch_is_refused_as_a_whole,
            an_empty_queue_has_no_lag,
            the_lag_counts_down_as_the_group_commits,
            what_is_published_after_the_end_does_not_count,
            each_group_has_its_own_lag,
            what_a_rewind_brings_back_counts_as_lag,
            what_came_out_as_undecodable_is_refused_again,
            attempts_survive_a_reopen,
        ]
    );
    report
}

type Rigs<'a> = &'a dyn Fixture<AttemptQueueRig>;

const GROUP: &str = "workers";
const WAIT_MS: u64 = 100;
/// So many polls in a row may come back empty before something is held to be lost.
const EMPTY_POLLS_MAX: usize = 200;
/// So many before nothing is held to be there.
const EMPTY_POLLS_ENOUGH: usize = 5;

/// A queue with nothing in it of this sale.
struct Bench {
    place: String,
    rig: AttemptQueueRig,
    queue: Arc<dyn AttemptQueue>,
    sale: SaleRef,
}

impl Bench {
    async fn open(rigs: Rigs<'_>) -> Result<Self, Violation> {
        let place = fresh_place("attempts");
        let rig = rigs.open(&place).await?;
        Ok(Self {
            place,
            queue: Arc::clone(&rig.queue),
            rig,
            sale: samples::fresh_sale(),
        })
    }

    /// Fresh attempts of the users with these numbers.
    fn attempts(&self, users: impl IntoIterator<Item = u64>) -> Vec<Attempt> {
        let attempts = users.into_iter().enumerate();
        let attempts = attempts.map(|(i, n)| samples::attempt(&self.sale, user(n), i as u64));
        attempts.collect()
    }

    async fn publish(&self, attempts: &[Attempt]) -> Result<(), Violation> {
        let published = self.queue.publish(attempts).await?;
        let all = vec![Published::Logged; attempts.len()];
        ensure_eq!("the answers to a publish", published, all);
        Ok(())
    }

    async fn reader(&self, group: &str) -> Result<Box<dyn AttemptReader>, Violation> {
        Ok(self.queue.subscribe(group).await?)
    }

    /// Reads until all wanted attempts have come; returns what came, in order.
    async fn read(
        &self,
        reader: &mut dyn AttemptReader,
        wanted: &[Attempt],
    ) -> Result<Vec<Attempt>, Violation> {
        let mut missing = ids(wanted);
        let mut came = Vec::new();
        let mut empty_polls = 0;
        while !missing.is_empty() {
            let deliveries = reader.poll(BATCH_MAX, WAIT_MS).await?;
            empty_polls = if deliveries.is_empty() {
                empty_polls + 1
            } else {
                0
            };
            ensure!(
                empty_polls < EMPTY_POLLS_MAX,
                "{} attempts are lost",
                missing.len()
            );
            came.extend(self.ours(deliveries));
            for attempt in &came {
                missing.remove(&attempt.id);
            }
        }
        Ok(came)
    }

    /// Reads until nothing more seems to come.
    async fn drain(&self, reader: &mut dyn AttemptReader) -> Result<Vec<Attempt>, Violation> {
        let mut came = Vec::new();
        let mut empty_polls = 0;
        while empty_polls < EMPTY_POLLS_ENOUGH {
            let deliveries = reader.poll(BATCH_MAX, WAIT_MS).await?;
            empty_polls = if deliveries.is_empty() {
                empty_polls + 1
            } else {
                0
            };
            came.extend(self.ours(deliveries));
        }
        Ok(came)
    }

    /// The attempts of this case; the queue may be shared with others.
    fn ours(&self, deliveries: Vec<Delivery>) -> Vec<Attempt> {
        let ours = deliveries
            .into_iter()
            .filter_map(|delivery| match delivery {
                Delivery::Attempt(attempt) if attempt.sale == self.sale.id => Some(attempt),
                Delivery::Attempt(_) | Delivery::Undecodable(_) => None,
            });
        ours.collect()
    }
}

fn ids(attempts: &[Attempt]) -> HashSet<AttemptId> {
    attempts.iter().map(|attempt| attempt.id).collect()
}

async fn an_attempt_comes_out_as_it_went_in(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let mut attempts = bench.attempts([1, 2]);
    attempts[0].quantity = units(u32::MAX);
    attempts[0].epoch = Epoch::new(u32::MAX);
    attempts[0].seq = (1 << 53) - 1;
    attempts[0].reserved_at = Timestamp::from_millis(1);
    let longest: String = ('!'..='~').take(64).collect();
    attempts[1].user = crate::domain::UserId::new(longest).expect("visible ASCII");
    bench.publish(&attempts).await?;
    let mut reader = bench.reader(GROUP).await?;
    let mut came = bench.read(&mut *reader, &attempts).await?;
    came.sort_by_key(|attempt| attempt.id);
    ensure_eq!("the attempts", came, attempts);
    Ok(Ran::Yes)
}

async fn publishing_an_attempt_twice_is_harmless(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts([1, 2]);
    bench.publish(&attempts).await?;
    bench.publish(&attempts).await?;
    bench
        .publish(&[attempts[0].clone(), attempts[0].clone()])
        .await?;
    let mut reader = bench.reader(GROUP).await?;
    bench.read(&mut *reader, &attempts).await?;
    Ok(Ran::Yes)
}

async fn every_group_gets_every_attempt(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts(0..10);
    let mut workers = bench.reader("workers").await?;
    let mut auditors = bench.reader("auditors").await?;
    bench.publish(&attempts).await?;
    bench.read(&mut *workers, &attempts).await?;
    workers.commit().await?;
    bench.read(&mut *auditors, &attempts).await?;
    Ok(Ran::Yes)
}

async fn readers_of_a_group_share_its_attempts(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let mut readers = [bench.reader(GROUP).await?, bench.reader(GROUP).await?];
    let attempts = bench.attempts(0..40);
    bench.publish(&attempts).await?;
    let mut missing = ids(&attempts);
    let mut empty_polls = 0;
    while !missing.is_empty() {
        for reader in &mut readers {
            let deliveries = reader.poll(BATCH_MAX, WAIT_MS).await?;
            empty_polls = if deliveries.is_empty() {
                empty_polls + 1
            } else {
                0
            };
            for attempt in bench.ours(deliveries) {
                missing.remove(&attempt.id);
            }
        }
        ensure!(
            empty_polls < EMPTY_POLLS_MAX,
            "{} attempts are lost",
            missing.len()
        );
    }
    Ok(Ran::Yes)
}

async fn a_new_group_starts_at_the_oldest_attempt_that_is_kept(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let early = bench.attempts(0..3);
    bench.publish(&early).await?;
    let mut reader = bench.reader(GROUP).await?;
    bench.read(&mut *reader, &early).await?;
    let late = bench.attempts(3..6);
    bench.publish(&late).await?;
    let all: Vec<_> = early.into_iter().chain(late).collect();
    let mut newcomer = bench.reader("newcomers").await?;
    bench.read(&mut *newcomer, &all).await?;
    Ok(Ran::Yes)
}

async fn what_is_not_committed_comes_again(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let (first, second) = (bench.attempts(0..4), bench.attempts(4..8));
    bench.publish(&first).await?;
    let mut reader = bench.reader(GROUP).await?;
    bench.read(&mut *reader, &first).await?;
    reader.commit().await?;
    bench.publish(&second).await?;
    bench.read(&mut *reader, &second).await?;
    drop(reader);
    for _ in 0..2 {
        let mut heir = bench.reader(GROUP).await?;
        bench.read(&mut *heir, &second).await?;
    }
    Ok(Ran::Yes)
}

async fn what_is_committed_does_not_come_again(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts(0..8);
    bench.publish(&attempts).await?;
    let mut reader = bench.reader(GROUP).await?;
    bench.read(&mut *reader, &attempts).await?;
    reader.commit().await?;
    reader.commit().await?;
    drop(reader);
    let mut heir = bench.reader(GROUP).await?;
    let last = bench.attempts([8]);
    bench.publish(&last).await?;
    let mut came = bench.read(&mut *heir, &last).await?;
    came.extend(bench.drain(&mut *heir).await?);
    ensure_eq!("the attempts after the commit", came, last);
    Ok(Ran::Yes)
}

async fn what_was_polled_comes_again_after_a_rewind(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let (first, second) = (bench.attempts(0..4), bench.attempts(4..8));
    bench.publish(&first).await?;
    let mut reader = bench.reader(GROUP).await?;
    bench.read(&mut *reader, &first).await?;
    reader.commit().await?;
    bench.publish(&second).await?;
    bench.read(&mut *reader, &second).await?;
    for _ in 0..2 {
        reader.rewind().await?;
        let came = bench.read(&mut *reader, &second).await?;
        ensure_eq!("what comes after it", ids(&came), ids(&second));
    }
    reader.commit().await?;
    reader.rewind().await?;
    let came = bench.drain(&mut *reader).await?;
    ensure_eq!("what comes after a commit", came, Vec::<Attempt>::new());
    Ok(Ran::Yes)
}

async fn at_most_max_attempts_come(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts(0..7);
    bench.publish(&attempts).await?;
    let mut reader = bench.reader(GROUP).await?;
    let mut missing = ids(&attempts);
    let mut empty_polls = 0;
    while !missing.is_empty() {
        let deliveries = reader.poll(2, WAIT_MS).await?;
        ensure!(
            deliveries.len() <= 2,
            "{} come instead of 2",
            deliveries.len()
        );
        empty_polls = if deliveries.is_empty() {
            empty_polls + 1
        } else {
            0
        };
        ensure!(
            empty_polls < EMPTY_POLLS_MAX,
            "{} attempts are lost",
            missing.len()
        );
        for attempt in bench.ours(deliveries) {
            missing.remove(&attempt.id);
        }
    }
    Ok(Ran::Yes)
}

async fn nothing_comes_out_of_an_empty_queue(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let mut reader = bench.reader(GROUP).await?;
    for wait_ms in [0, 1, WAIT_MS] {
        let came = bench.ours(reader.poll(10, wait_ms).await?);
        ensure_eq!("what comes", came, vec![]);
    }
    reader.commit().await?;
    Ok(Ran::Yes)
}

async fn dropping_a_poll_loses_nothing(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let mut reader = bench.reader(GROUP).await?;
    let mut came = Vec::new();
    let mut all = Vec::new();
    for number in 0..10 {
        if number % 2 == 1 {
            let attempts = bench.attempts([number]);
            bench.publish(&attempts).await?;
            all.extend(attempts);
        }
        if let Some(deliveries) = once(reader.poll(10, WAIT_MS)).await {
            came.extend(bench.ours(deliveries?));
        }
    }
    let seen = ids(&came);
    let missing: Vec<_> = all.into_iter().filter(|a| !seen.contains(&a.id)).collect();
    bench.read(&mut *reader, &missing).await?;
    Ok(Ran::Yes)
}

/// Polls a future once and drops it.
async fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn what_cannot_be_decoded_comes_out_as_such_once(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let Some(garbage) = bench.rig.garbage.clone() else {
        return Ok(Ran::Skipped);
    };
    let payload = format!("not an attempt {}", samples::fresh_number()).into_bytes();
    let attempts = bench.attempts([1, 2]);
    bench.publish(&attempts[..1]).await?;
    garbage.put(&payload).await?;
    bench.publish(&attempts[1..]).await?;
    let mut reader = bench.reader(GROUP).await?;
    let mut missing = ids(&attempts);
    let (mut undecodable, mut empty_polls) = (0, 0);
    while !missing.is_empty() || undecodable == 0 {
        let deliveries = reader.poll(BATCH_MAX, WAIT_MS).await?;
        empty_polls = if deliveries.is_empty() {
            empty_polls + 1
        } else {
            0
        };
        ensure!(empty_polls < EMPTY_POLLS_MAX, "an item is lost");
        undecodable += count_of(&deliveries, &payload);
        for attempt in bench.ours(deliveries) {
            missing.remove(&attempt.id);
        }
    }
    ensure_eq!("how often the garbage comes", undecodable, 1);
    reader.commit().await?;
    drop(reader);
    let mut heir = bench.reader(GROUP).await?;
    for _ in 0..EMPTY_POLLS_ENOUGH {
        let again = count_of(&heir.poll(BATCH_MAX, WAIT_MS).await?, &payload);
        ensure_eq!("how often the garbage comes again", again, 0);
    }
    Ok(Ran::Yes)
}

fn count_of(deliveries: &[Delivery], payload: &[u8]) -> usize {
    let garbage = |delivery: &&Delivery| match delivery {
        Delivery::Undecodable(item) => item.payload == payload,
        Delivery::Attempt(_) => false,
    };
    deliveries.iter().filter(garbage).count()
}

async fn an_empty_batch_is_answered_with_nothing(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    ensure_eq!("the answers", bench.queue.publish(&[]).await?, vec![]);
    Ok(Ran::Yes)
}

async fn a_batch_of_the_largest_size_is_published(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts(0..BATCH_MAX as u64);
    bench.publish(&attempts).await?;
    let mut reader = bench.reader(GROUP).await?;
    bench.read(&mut *reader, &attempts).await?;
    Ok(Ran::Yes)
}

async fn a_larger_batch_is_refused_as_a_whole(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts(0..=BATCH_MAX as u64);
    ensure_invalid("publish", bench.queue.publish(&attempts).await)?;
    let last = bench.attempts([1]);
    bench.publish(&last).await?;
    let mut reader = bench.reader(GROUP).await?;
    let came = bench.read(&mut *reader, &last).await?;
    ensure_eq!("what comes", came, last);
    Ok(Ran::Yes)
}

async fn an_empty_queue_has_no_lag(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let end = bench.queue.end().await?;
    ensure_eq!("the lag", bench.queue.lag(GROUP, &end).await?, 0);
    let _reader = bench.reader(GROUP).await?;
    ensure_eq!("with a reader", bench.queue.lag(GROUP, &end).await?, 0);
    bench.publish(&bench.attempts(0..5)).await?;
    ensure_eq!("after a publish", bench.queue.lag(GROUP, &end).await?, 0);
    Ok(Ran::Yes)
}

async fn the_lag_counts_down_as_the_group_commits(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts(0..9);
    bench.publish(&attempts).await?;
    let end = bench.queue.end().await?;
    let mut reader = bench.reader(GROUP).await?;
    let lag = bench.queue.lag(GROUP, &end).await?;
    ensure_eq!("of a group that never read", lag, 9);
    let (mut done, mut empty_polls) = (0, 0);
    while done < 9 {
        let polled = reader.poll(2, WAIT_MS).await?.len() as u64;
        empty_polls = if polled == 0 { empty_polls + 1 } else { 0 };
        ensure!(empty_polls < EMPTY_POLLS_MAX, "{} items are lost", 9 - done);
        let lag = bench.queue.lag(GROUP, &end).await?;
        ensure_eq!("before the commit", lag, 9 - done);
        reader.commit().await?;
        done += polled;
        let lag = bench.queue.lag(GROUP, &end).await?;
        ensure_eq!("after the commit", lag, 9_u64.saturating_sub(done));
    }
    drop(reader);
    let lag = bench.queue.lag(GROUP, &end).await?;
    ensure_eq!("without a reader", lag, 0);
    Ok(Ran::Yes)
}

async fn what_is_published_after_the_end_does_not_count(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let (before, after) = (bench.attempts(0..4), bench.attempts(4..10));
    bench.publish(&before).await?;
    let mut reader = bench.reader(GROUP).await?;
    let end = bench.queue.end().await?;
    bench.publish(&after).await?;
    ensure_eq!("the lag", bench.queue.lag(GROUP, &end).await?, 4);
    let later = bench.queue.end().await?;
    ensure_eq!("by a later end", bench.queue.lag(GROUP, &later).await?, 10);
    bench.read(&mut *reader, &before).await?;
    reader.commit().await?;
    ensure_eq!("after a commit", bench.queue.lag(GROUP, &end).await?, 0);
    Ok(Ran::Yes)
}

async fn each_group_has_its_own_lag(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts(0..4);
    let mut workers = bench.reader("workers").await?;
    let _auditors = bench.reader("auditors").await?;
    bench.publish(&attempts).await?;
    let end = bench.queue.end().await?;
    bench.read(&mut *workers, &attempts).await?;
    workers.commit().await?;
    let lag = bench.queue.lag("workers", &end).await?;
    ensure_eq!("of those who have read", lag, 0);
    let lag = bench.queue.lag("auditors", &end).await?;
    ensure_eq!("of the others", lag, 4);
    Ok(Ran::Yes)
}

async fn what_a_rewind_brings_back_counts_as_lag(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let attempts = bench.attempts(0..4);
    bench.publish(&attempts).await?;
    let end = bench.queue.end().await?;
    let mut reader = bench.reader(GROUP).await?;
    for _ in 0..2 {
        bench.read(&mut *reader, &attempts).await?;
        reader.rewind().await?;
        ensure_eq!("the lag", bench.queue.lag(GROUP, &end).await?, 4);
    }
    bench.read(&mut *reader, &attempts).await?;
    reader.commit().await?;
    reader.rewind().await?;
    ensure_eq!("after a commit", bench.queue.lag(GROUP, &end).await?, 0);
    Ok(Ran::Yes)
}

async fn what_came_out_as_undecodable_is_refused_again(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs).await?;
    let rig = &bench.rig;
    let (Some(garbage), Some(decoder)) = (rig.garbage.clone(), rig.decoder.clone()) else {
        return Ok(Ran::Skipped);
    };
    let payload = format!("not an attempt {}", samples::fresh_number()).into_bytes();
    garbage.put(&payload).await?;
    let mut reader = bench.reader(GROUP).await?;
    for _ in 0..EMPTY_POLLS_MAX {
        for delivery in reader.poll(BATCH_MAX, WAIT_MS).await? {
            let Delivery::Undecodable(item) = delivery else {
                continue;
            };
            let problem = decoder.decode(&item.payload).err();
            ensure_eq!("what is wrong with it", problem, Some(item.problem));
            if item.payload == payload {
                return Ok(Ran::Yes);
            }
        }
    }
    Err(Violation::new("the item is lost"))
}

async fn attempts_survive_a_reopen(rigs: Rigs<'_>) -> Checked {
    let mut bench = Bench::open(rigs).await?;
    if !rigs.durable() {
        return Ok(Ran::Skipped);
    }
    let (first, second) = (bench.attempts(0..4), bench.attempts(4..8));
    bench.publish(&first).await?;
    let mut reader = bench.reader(GROUP).await?;
    bench.read(&mut *reader, &first).await?;
    reader.commit().await?;
    bench.publish(&second).await?;
    let Bench {
        place,
        sale,
        rig,
        queue,
    } = bench;
    drop((reader, rig, queue));
    let rig = rigs.open(&place).await?;
    bench = Bench {
        place,
        queue: Arc::clone(&rig.queue),
        rig,
        sale,
    };
    let mut reader = bench.reader(GROUP).await?;
    let came = bench.read(&mut *reader, &second).await?;
    ensure_eq!("what was not committed", ids(&came), ids(&second));
    Ok(Ran::Yes)
}
