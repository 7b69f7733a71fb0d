use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::ports::{AttemptReader, Delivery, Undecodable};
use flashsale_core::{ErrorKind, PortError};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::KafkaConfig;
use crate::error::{broken, fault};
use crate::message::decode;
use crate::producer::log;

type Native = BaseConsumer<Callbacks>;

/// A member of a group.
///
/// A thread of its own polls the brokers all the time, also while nobody reads: a member that does
/// not poll would be thrown out of its group. What comes waits in a buffer. If that stays full, the
/// partitions are paused; not at once, because the client then drops what it has fetched.
#[derive(Debug)]
pub(crate) struct KafkaAttemptReader {
    shared: Arc<Shared>,
    topic: String,
    /// What comes again after a rewind, before anything else.
    again: VecDeque<Item>,
    /// What was handed out since the last commit.
    uncommitted: Vec<Item>,
    /// A commit that has not come back in time.
    committing: Option<JoinHandle<Result<(), KafkaError>>>,
}

#[derive(Clone, Debug)]
struct Item {
    delivery: Delivery,
    partition: i32,
    offset: i64,
}

/// What the reader and its thread share.
struct Shared {
    buffer: Mutex<VecDeque<Item>>,
    arrived: Notify,
    /// Something was taken out of the buffer.
    room: Condvar,
    /// The present consumer; the thread makes a new one when that cannot go on.
    consumer: Mutex<Option<Arc<Native>>>,
    /// The partitions are others than before: pausing has to be done anew.
    reassigned: AtomicBool,
    closed: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// How many reader threads live.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers(Arc<AtomicUsize>);

impl Readers {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

/// One of them, for as long as it lives.
struct Living(Readers);

impl Living {
    fn new(readers: &Readers) -> Self {
        readers.0.fetch_add(1, Ordering::AcqRel);
        Self(readers.clone())
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The most attempts that wait for the reader.
const BUFFER_MAX: usize = 4_096;
/// How long a commit may take.
const COMMIT_MAX: Duration = Duration::from_secs(2);

impl KafkaAttemptReader {
    /// Joins the group, in the background.
    pub(crate) fn start(
        config: &KafkaConfig,
        group: &str,
        readers: &Readers,
    ) -> Result<Self, PortError> {
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            arrived: Notify::new(),
            room: Condvar::new(),
            consumer: Mutex::default(),
            reassigned: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let client = config.consumer(group);
        let topic = config.topic.clone();
        // Settings that the client refuses show here.
        let first = make(&client, &topic, &shared).map_err(|error| broken("subscribe", error))?;
        let thread = {
            let (shared, topic, living) =
                (Arc::clone(&shared), topic.clone(), Living::new(readers));
            move || {
                run(first, &client, &topic, &shared);
                drop(living);
            }
        };
        let spawned = std::thread::Builder::new()
            .name("kafka reader".to_owned())
            .spawn(thread);
        spawned.map_err(|error| fault(ErrorKind::Unavailable, "subscribe").with_source(error))?;
        Ok(Self {
            shared,
            topic,
            again: VecDeque::new(),
            uncommitted: Vec::new(),
            committing: None,
        })
    }

    /// What is there now.
    fn take(&mut self, max: usize) -> Vec<Delivery> {
        let mut items: Vec<_> = self.again.drain(..self.again.len().min(max)).collect();
        if items.is_empty() {
            let mut buffer = self.shared.buffer();
            let count = buffer.len().min(max);
            items.extend(buffer.drain(..count));
            self.shared.room.notify_one();
        }
        self.uncommitted.extend(items.iter().cloned());
        items.into_iter().map(|item| item.delivery).collect()
    }

    /// The offset after the last item of each partition.
    fn next_offsets(&self) -> TopicPartitionList {
        let mut next = HashMap::new();
        for item in &self.uncommitted {
            let offset = next.entry(item.partition).or_insert(0);
            *offset = item.offset.max(*offset - 1) + 1;
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in next {
            // Every offset of a message is one.
            let _ = list.add_partition_offset(&self.topic, partition, Offset::Offset(offset));
        }
        list
    }
}

#[async_trait]
impl AttemptReader for KafkaAttemptReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        let shared = Arc::clone(&self.shared);
        let arrived = shared.arrived.notified();
        let mut arrived = std::pin::pin!(arrived);
        // Listens before it looks, so that nothing that arrives in between is missed.
        arrived.as_mut().enable();
        let there = self.take(max);
        if !there.is_empty() || wait_ms == 0 {
            return Ok(there);
        }
        let _ = timeout(Duration::from_millis(wait_ms), arrived).await;
        Ok(self.take(max))
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        if self.uncommitted.is_empty() {
            return Ok(());
        }
        let late = || fault(ErrorKind::Unavailable, "commit").effect_unknown();
        if let Some(before) = &mut self.committing {
            // It blocks a thread; a second one would not fare better.
            if timeout(COMMIT_MAX, before).await.is_err() {
                return Err(late());
            }
            self.committing = None;
        }
        let Some(consumer) = self.shared.consumer().clone() else {
            return Err(late());
        };
        let offsets = self.next_offsets();
        let mut committing =
            tokio::task::spawn_blocking(move || consumer.commit(&offsets, CommitMode::Sync));
        let done = match timeout(COMMIT_MAX, &mut committing).await {
            Ok(done) => done,
            Err(_) => {
                self.committing = Some(committing);
                return Err(late());
            }
        };
        match done {
            Ok(Ok(())) => {}
            // Others have the partitions now and do what is left once more, which is harmless.
            Ok(Err(error)) if is_reassigned(&error) => {}
            Ok(Err(error)) => return Err(broken("commit", error).effect_unknown()),
            Err(_) => return Err(late()),
        }
        self.uncommitted.clear();
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        for item in self.uncommitted.drain(..).rev() {
            self.again.push_front(item);
        }
        Ok(())
    }
}

impl Drop for KafkaAttemptReader {
    fn drop(&mut self) {
        // The thread leaves the group and ends the consumer, which may take a moment.
        self.shared.closed.store(true, Ordering::Release);
        self.shared.room.notify_one();
    }
}

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, VecDeque<Item>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consumer(&self) -> MutexGuard<'_, Option<Arc<Native>>> {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody makes room in the buffer, within this time.
    fn wait_for_room(&self, within: Duration) -> bool {
        let buffer = self.buffer();
        let full = |buffer: &mut VecDeque<Item>| buffer.len() >= BUFFER_MAX && !self.is_closed();
        let waited = self.room.wait_timeout_while(buffer, within, full);
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

fn make(client: &ClientConfig, topic: &str, shared: &Arc<Shared>) -> Result<Native, KafkaError> {
    let consumer = Native::from_config_and_context(client, Callbacks(Arc::clone(shared)))?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// The life of a reader's thread: one consumer after the other, each until it cannot go on.
fn run(first: Native, client: &ClientConfig, topic: &str, shared: &Arc<Shared>) {
    const PAUSE: Duration = Duration::from_millis(500);
    let mut next = Some(first);
    while !shared.is_closed() {
        let made = match next.take() {
            Some(consumer) => Ok(consumer),
            None => make(client, topic, shared),
        };
        match made {
            Ok(consumer) => {
                let consumer = Arc::new(consumer);
                *shared.consumer() = Some(Arc::clone(&consumer));
                pump(&consumer, shared);
                *shared.consumer() = None;
                shared.buffer().clear();
                end(consumer);
            }
            Err(error) => {
                tracing::warn!(%error, "no Kafka consumer can be made; trying again");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Fills the buffer until the reader is closed or the consumer cannot go on.
fn pump(consumer: &Native, shared: &Shared) {
    /// The longest silence before it looks whether it has to end.
    const WAIT: Duration = Duration::from_millis(50);
    const BATCH: usize = 512;
    /// How long it leaves the brokers alone while the buffer is full.
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut paused = false;
    let mut items = Vec::new();
    while !shared.is_closed() {
        let waiting = shared.buffer().len();
        let reassigned = shared.reassigned.swap(false, Ordering::AcqRel);
        let full = waiting >= BUFFER_MAX;
        if full && !paused && shared.wait_for_room(PATIENCE) {
            continue;
        }
        if full && (!paused || reassigned) {
            paused = set_paused(consumer, true);
        } else if paused && waiting < BUFFER_MAX / 2 {
            paused = !set_paused(consumer, false);
        }
        let mut wait = WAIT;
        while items.len() < BATCH {
            match consumer.poll(wait) {
                Some(Ok(message)) => items.push(item(&message)),
                Some(Err(error)) => {
                    if consumer.client().fatal_error().is_some() {
                        tracing::warn!(%error, "the Kafka consumer is replaced");
                        return;
                    }
                    tracing::debug!(%error, "Kafka consumer");
                    break;
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        if !items.is_empty() {
            shared.buffer().extend(items.drain(..));
            shared.arrived.notify_one();
        }
    }
}

fn set_paused(consumer: &Native, pause: bool) -> bool {
    let Ok(partitions) = consumer.assignment() else {
        return false;
    };
    let done = if pause {
        consumer.pause(&partitions)
    } else {
        consumer.resume(&partitions)
    };
    done.is_ok()
}

/// Ends a consumer on this thread, after a commit that still has it.
fn end(mut consumer: Arc<Native>) {
    loop {
        match Arc::try_unwrap(consumer) {
            Ok(consumer) => return drop(consumer),
            Err(shared) => consumer = shared,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn item(message: &BorrowedMessage<'_>) -> Item {
    let (partition, offset) = (message.partition(), message.offset());
    let payload = message.payload().unwrap_or_default();
    let delivery = match decode(payload) {
        Ok(attempt) => Delivery::Attempt(attempt),
        Err(problem) => Delivery::Undecodable(Undecodable {
            position: format!("{}/{partition}/{offset}", message.topic()),
            payload: payload.to_vec(),
            problem,
        }),
    };
    Item {
        delivery,
        partition,
        offset,
    }
}

/// Whether a commit was refused because the partitions belong to somebody else by now.
fn is_reassigned(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::StaleMemberEpoch
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::NoOffset
                | RDKafkaErrorCode::AssignmentLost
        )
    )
}

/// What the client tells us.
#[derive(Debug)]
struct Callbacks(Arc<Shared>);

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let gone: Vec<_> = partitions
                .elements()
                .iter()
                .map(|p| p.partition())
                .collect();
            // Whoever gets them reads on from the last commit.
            self.0
                .buffer()
                .retain(|item| !gone.contains(&item.partition));
        }
        self.0.reassigned.store(true, Ordering::Release);
    }
}
