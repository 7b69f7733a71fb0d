use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use flashsale_core::domain::Attempt;
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, Delivery, Published, QueuePosition, Undecodable,
};
use flashsale_core::{ErrorKind, PortError};

use super::stock::number;
use crate::executor::Process;
use crate::line::Line;
use crate::trace::About;
use crate::weather::QueueRates;
use crate::world::World;

/// A queue of several partitions and one group of readers.
#[derive(Default)]
pub(crate) struct SimQueue(Mutex<Log>);

#[derive(Default)]
struct Log {
    partitions: Vec<Partition>,
    members: Vec<Member>,
    /// Grows whenever a member comes or goes; what an older generation wants to commit is refused.
    generation: u64,
    readers_ever: u64,
    waiting: Vec<Waker>,
}

#[derive(Default)]
struct Partition {
    items: Vec<Delivery>,
    committed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Member {
    reader: u64,
    process: Process,
}

impl SimQueue {
    pub(crate) fn new(partitions: usize) -> Self {
        let log = Log {
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            ..Log::default()
        };
        Self(Mutex::new(log))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything in it is done.
    pub(crate) fn is_drained(&self) -> bool {
        let log = self.log();
        let mut partitions = log.partitions.iter();
        partitions.all(|partition| partition.committed == partition.items.len())
    }

    /// How many items each partition has.
    fn end(&self) -> QueuePosition {
        let partitions = &self.log().partitions;
        let ends: Vec<usize> = partitions.iter().map(|one| one.items.len()).collect();
        QueuePosition::new(ends)
    }

    fn lag(&self, until: &QueuePosition) -> u64 {
        let ends = until.get::<Vec<usize>>().map_or(&[][..], Vec::as_slice);
        let log = self.log();
        let lags = log.partitions.iter().zip(ends);
        lags.map(|(partition, end)| end.saturating_sub(partition.committed) as u64)
            .sum()
    }

    /// The readers of a process have not been heard of for too long.
    pub(crate) fn evict(&self, process: Process) {
        let mut log = self.log();
        if log.members.iter().any(|member| member.process == process) {
            log.members.retain(|member| member.process != process);
            log.rebalance();
        }
    }

    /// Any partition will do: nothing may depend on the order in which attempts come out again.
    fn append(&self, world: &World, item: Delivery) {
        let mut log = self.log();
        let partition = world.handle.below(log.partitions.len() as u64) as usize;
        log.partitions[partition].items.push(item);
        log.waiting.drain(..).for_each(Waker::wake);
    }

    fn take(&self, world: &World, attempt: &Attempt) -> Published {
        let rates = if world.is_healed() {
            QueueRates::default()
        } else {
            world.weather.queue
        };
        let handle = &world.handle;
        let about = About {
            sale: attempt.sale.get() as u64,
            attempt: number(attempt.id),
            items: 1,
        };
        if handle.chance(rates.acked_lost) {
            world.note(0, "queue", "loses what it acknowledges", about);
            return Published::Logged;
        }
        if handle.chance(rates.unconfirmed) {
            if handle.chance(500) {
                self.append(world, Delivery::Attempt(attempt.clone()));
            }
            return Published::Unconfirmed;
        }
        if handle.chance(rates.corrupt) {
            world.note(0, "queue", "keeps something unreadable", about);
            let unreadable = Undecodable {
                position: format!("of attempt {}", attempt.id),
                payload: Vec::new(),
                problem: "damaged".to_owned(),
            };
            self.append(world, Delivery::Undecodable(unreadable));
            return Published::Logged;
        }
        self.append(world, Delivery::Attempt(attempt.clone()));
        world.books().queued(attempt.id, handle.now_ms());
        if handle.chance(rates.doubled) {
            self.append(world, Delivery::Attempt(attempt.clone()));
        }
        Published::Logged
    }
}

impl Log {
    fn rebalance(&mut self) {
        self.generation += 1;
        self.waiting.drain(..).for_each(Waker::wake);
    }

    /// The partitions that are a reader's turn.
    fn assigned(&self, reader: u64) -> Vec<usize> {
        let members = self.members.len();
        let Some(place) = self.members.iter().position(|m| m.reader == reader) else {
            return Vec::new();
        };
        let partitions = 0..self.partitions.len();
        let turn = |partition: &usize| (partition + self.generation as usize) % members == place;
        partitions.filter(turn).collect()
    }
}

/// The queue as one process reaches it.
#[derive(Debug)]
pub(crate) struct SimAttemptQueue {
    pub(crate) line: Line,
    /// A new group starts after what is there: wrong on purpose.
    pub(crate) starts_at_latest: bool,
}

#[async_trait]
impl AttemptQueue for SimAttemptQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        let about = About {
            sale: attempts.first().map_or(0, |one| one.sale.get() as u64),
            attempt: attempts.first().map_or(0, |one| number(one.id)),
            items: attempts.len() as u64,
        };
        let (world, attempts) = (Arc::clone(&self.line.world), attempts.to_vec());
        let run = move || {
            let taken = attempts.iter().map(|one| world.queue.take(&world, one));
            Ok(taken.collect())
        };
        self.line.call("publish", about, run).await
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        let world = Arc::clone(&self.line.world);
        let run = move || Ok(world.queue.end());
        self.line.call("end", About::default(), run).await
    }

    async fn lag(&self, _group: &str, until: &QueuePosition) -> Result<u64, PortError> {
        let (world, until) = (Arc::clone(&self.line.world), until.clone());
        let run = move || Ok(world.queue.lag(&until));
        self.line.call("lag", About::default(), run).await
    }

    async fn subscribe(&self, _group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        self.line
            .call("subscribe", About::default(), || Ok(()))
            .await?;
        let world = Arc::clone(&self.line.world);
        let mut log = world.queue.log();
        if self.starts_at_latest && log.readers_ever == 0 {
            for partition in &mut log.partitions {
                partition.committed = partition.items.len();
            }
        }
        log.readers_ever += 1;
        let member = Member {
            reader: log.readers_ever,
            process: self.line.process,
        };
        drop(log);
        Ok(Box::new(SimReader {
            line: self.line.clone(),
            member,
            generation: 0,
            positions: Vec::new(),
        }))
    }
}

/// A reader of a [`SimQueue`].
struct SimReader {
    line: Line,
    member: Member,
    generation: u64,
    /// Its partitions and how far it has read each.
    positions: Vec<(usize, usize)>,
}

impl std::fmt::Debug for SimReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "reader {}", self.member.reader)
    }
}

impl SimReader {
    fn fault(&self, operation: &'static str) -> PortError {
        PortError::new(ErrorKind::Unavailable, "simulation", operation)
    }

    /// Takes part in the group as it is now.
    fn join(&mut self, log: &mut Log) {
        if !log.members.contains(&self.member) {
            log.members.push(self.member);
            log.rebalance();
        }
        if self.generation != log.generation {
            self.generation = log.generation;
            let assigned = log.assigned(self.member.reader).into_iter();
            let start = |partition: usize| (partition, log.partitions[partition].committed);
            self.positions = assigned.map(start).collect();
        }
    }

    /// What is there and was not read yet.
    fn read(&mut self, max: usize, part: u64) -> Vec<Delivery> {
        let world = Arc::clone(&self.line.world);
        let mut log = world.queue.log();
        self.join(&mut log);
        let mut items = Vec::new();
        for (partition, position) in &mut self.positions {
            let there = &log.partitions[*partition].items[*position..];
            let mut count = there.len().min(max - items.len());
            if count > 1 && world.handle.chance(part) {
                count = world.handle.between(1, count as u64) as usize;
            }
            items.extend_from_slice(&there[..count]);
            *position += count;
        }
        items
    }
}

#[async_trait]
impl AttemptReader for SimReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        let world = Arc::clone(&self.line.world);
        let handle = world.handle.clone();
        let rates = if world.is_healed() {
            QueueRates::default()
        } else {
            world.weather.queue
        };
        handle.sleep(handle.below(3)).await;
        if handle.chance(rates.read_fails) {
            return Err(self.fault("poll"));
        }
        let until_ms = handle.now_ms() + wait_ms as i64;
        loop {
            let items = self.read(max, rates.part);
            let left_ms = until_ms - handle.now_ms();
            if !items.is_empty() || left_ms <= 0 {
                if !items.is_empty() {
                    let about = About {
                        items: items.len() as u64,
                        ..About::default()
                    };
                    world.note(self.line.process, "poll", "reads", about);
                }
                return Ok(items);
            }
            let mut waits = false;
            let news = std::future::poll_fn(|context| {
                if std::mem::replace(&mut waits, true) {
                    return Poll::Ready(());
                }
                world.queue.log().waiting.push(context.waker().clone());
                Poll::Pending
            });
            handle.within(left_ms as u64, news).await;
        }
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        let world = Arc::clone(&self.line.world);
        let positions = self.positions.clone();
        let (generation, process) = (self.generation, self.line.process);
        let stale = self.fault("commit");
        let run = move || {
            let mut log = world.queue.log();
            if log.generation != generation {
                return Err(stale.clone());
            }
            for &(partition, position) in &positions {
                let committed = &mut log.partitions[partition].committed;
                // A group's commits go over one connection: an old one is not made late.
                *committed = position.max(*committed);
            }
            drop(log);
            world.note(process, "commit offsets", "counts", About::default());
            Ok(())
        };
        self.line
            .call("commit offsets", About::default(), run)
            .await
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        self.line
            .call("rewind", About::default(), || Ok(()))
            .await?;
        // It takes its place anew at the next poll.
        self.generation = 0;
        Ok(())
    }
}

impl Drop for SimReader {
    /// A reader that closes is missed at once; one that died only after its session has run out.
    fn drop(&mut self) {
        let (world, member) = (Arc::clone(&self.line.world), self.member);
        let session_ms = if world.handle.chance(500) {
            0
        } else {
            world.handle.below(3_000)
        };
        let handle = world.handle.clone();
        handle.after(session_ms, move || {
            let mut log = world.queue.log();
            if log.members.contains(&member) {
                log.members.retain(|other| *other != member);
                log.rebalance();
            }
        });
    }
}
