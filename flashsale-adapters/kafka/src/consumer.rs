use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flashsale_core::ports::{Delivery, Undecodable};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::client_log::log;
use crate::config::{KafkaConfig, SESSION_LONG_MS};
use crate::error::{Fault, refusal};
use crate::health::{self, Health};
use crate::message::decode;
use crate::offset_committer::OffsetCommitter;
use crate::record_buffer::{Record, RecordBuffer};

/// A member of a group of readers. It polls the brokers all the time, also while nobody reads: a
/// member that does not poll would be thrown out of its group. What it fetches waits in a
/// [`RecordBuffer`], and an [`OffsetCommitter`] commits beside it.
///
/// It has a thread of its own, because the client blocks, also when it ends.
pub(crate) struct GroupConsumer {
    pub(crate) config: KafkaConfig,
    pub(crate) group: String,
    /// Of nobody else, ever (static membership): brokers that were away for longer than its session
    /// know the member again, and nobody waits for the one that it was.
    pub(crate) instance_id: String,
    /// The session to ask for; that of all consumers of the queue.
    pub(crate) session_ms: Arc<AtomicU64>,
    pub(crate) buffer: Arc<RecordBuffer>,
    pub(crate) health: Arc<Health>,
}

type Client = BaseConsumer<Callbacks>;

/// Why a client is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The reader is gone.
    Closed,
    /// It cannot go on.
    Fatal,
    /// The brokers want a longer session.
    Session,
}

/// How long a poll waits; also how long it takes to notice that the reader is gone.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// So many records may come before the reader is told.
const NOTIFY_EVERY: usize = 256;
/// How long a full buffer is waited for before the partitions are paused. Pausing throws away what
/// the client has fetched ahead; not polling keeps the group waiting.
const FULL_PATIENCE: Duration = Duration::from_millis(500);
/// The pause before a new client takes the place of one that cannot go on.
const REPLACE_PAUSE: Duration = Duration::from_millis(20);
/// The same if none can be made.
const JOIN_PAUSE: Duration = Duration::from_millis(500);
/// The longest time that a member takes to leave. If the brokers are away or the group rebalances it
/// may not do: then others wait for its session.
const LEAVE_MAX: Duration = Duration::from_millis(300);
/// From the moment at which it has no partitions any more to the one at which it has told the
/// brokers, at most.
const LEAVE_TELLING: Duration = Duration::from_millis(100);

impl GroupConsumer {
    /// One client after the other, each until it cannot go on.
    pub(crate) fn run(self) {
        let _end = EndOnDrop(&self.buffer);
        while !self.buffer.is_closed() {
            let session_ms = self.session_ms.load(Ordering::Acquire);
            let pause = match self.join(session_ms) {
                Ok(client) => {
                    self.serve(&client, session_ms);
                    REPLACE_PAUSE
                }
                Err(error) => {
                    tracing::warn!(%error, "no Kafka consumer can be made; trying again");
                    JOIN_PAUSE
                }
            };
            self.buffer.wait_for_close(pause);
        }
    }

    fn join(&self, session_ms: u64) -> KafkaResult<Client> {
        let Self { config, group, .. } = self;
        let callbacks = Callbacks {
            reader: health::Client::Reader(group.clone()),
            buffer: Arc::clone(&self.buffer),
            health: Arc::clone(&self.health),
        };
        let client = config.consumer(group, &self.instance_id, session_ms);
        let client = Client::from_config_and_context(&client, callbacks)?;
        client.subscribe(&[&config.topic])?;
        Ok(client)
    }

    /// Uses a client until it is done with.
    fn serve(&self, client: &Client, session_ms: u64) {
        let heed = |error: &KafkaError| self.heed(error);
        let committer = OffsetCommitter::new(&self.config.topic, &self.buffer, client, &heed);
        let end = std::thread::scope(|scope| {
            scope.spawn(|| committer.run());
            let _stop = committer.stop_on_drop();
            self.poll(client, session_ms)
        });
        self.buffer.revoke_all();
        match end {
            End::Closed => leave(client),
            End::Session => self.lengthen_session(),
            End::Fatal => {
                let why = client.client().fatal_error();
                tracing::warn!(group = self.group, ?why, "a Kafka consumer is replaced");
            }
        }
    }

    /// Polls until the client is done with.
    fn poll(&self, client: &Client, session_ms: u64) -> End {
        let mut paused = false;
        while !self.buffer.is_closed() {
            if paused && self.buffer.has_room() {
                set_paused(client, false);
                paused = false;
            }
            if !paused && self.buffer.is_full() && !self.buffer.wait_for_room(FULL_PATIENCE) {
                set_paused(client, true);
                paused = true;
            }
            let mut fetched = 0;
            let mut wait = POLL_WAIT;
            while let Some(polled) = client.poll(wait) {
                match polled {
                    Ok(message) => {
                        self.buffer.push(record(&message));
                        fetched += 1;
                    }
                    Err(error) if self.may_have_longer_session(&error, session_ms) => {
                        return End::Session;
                    }
                    Err(error) => {
                        self.heed(&error);
                        if client.client().fatal_error().is_some() {
                            return End::Fatal;
                        }
                    }
                }
                if fetched == NOTIFY_EVERY || self.buffer.is_full() {
                    break;
                }
                wait = Duration::ZERO;
            }
            if fetched > 0 {
                self.buffer.notify();
                if paused {
                    // Partitions that are new come unpaused.
                    set_paused(client, true);
                }
            }
        }
        End::Closed
    }

    /// Whether the brokers refuse the session, and there is another one to try.
    fn may_have_longer_session(&self, error: &KafkaError, session_ms: u64) -> bool {
        error.rdkafka_error_code() == Some(Code::InvalidSessionTimeout)
            && self.config.session_ms.is_none()
            && session_ms < SESSION_LONG_MS
    }

    fn lengthen_session(&self) {
        if self.session_ms.swap(SESSION_LONG_MS, Ordering::AcqRel) != SESSION_LONG_MS {
            tracing::info!(
                group = self.group,
                session_ms = SESSION_LONG_MS,
                "the Kafka brokers refuse shorter sessions: what a killed reader had waits so long \
                 for another one; group.min.session.timeout.ms of the brokers decides"
            );
        }
    }

    /// Reports an error of the client; returns what is to be done about it if the brokers refuse
    /// something.
    fn heed(&self, error: &KafkaError) -> Option<Fault> {
        tracing::debug!(group = self.group, %error, "a Kafka consumer has met an error");
        let code = error.rdkafka_error_code();
        let refusal = code.and_then(|code| refusal(code, &self.config.topic));
        match &refusal {
            Some(why) => {
                let reader = health::Client::Reader(self.group.clone());
                self.health.refused(reader, why.clone());
            }
            None => self.health.trouble(),
        }
        refusal
    }
}

/// Tells the reader that nothing more will come, also after a panic.
struct EndOnDrop<'a>(&'a RecordBuffer);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        self.0.revoke_all();
    }
}

fn set_paused(client: &Client, paused: bool) {
    let done = client.assignment().and_then(|partitions| match paused {
        true => client.pause(&partitions),
        false => client.resume(&partitions),
    });
    if let Err(error) = done {
        tracing::debug!(%error, paused, "Kafka partitions are not paused or resumed");
    }
}

/// Gives the partitions of a member up, so that others get them at once.
///
/// A static member that is only closed does not leave its group (KIP-345: it may come back), and its
/// partitions would wait for its session. One that unsubscribes leaves as soon as nothing is assigned
/// to it any more, if it is polled meanwhile.
fn leave(client: &Client) {
    const LOOK: Duration = Duration::from_millis(5);
    client.unsubscribe();
    let mut until = Instant::now() + LEAVE_MAX;
    let mut has_partitions = true;
    while Instant::now() < until {
        // What comes is for the heirs to read.
        let _ = client.poll(LOOK);
        if has_partitions && client.assignment().is_ok_and(|left| left.count() == 0) {
            has_partitions = false;
            until = until.min(Instant::now() + LEAVE_TELLING);
        }
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
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
    Record {
        delivery,
        partition,
        offset,
    }
}

/// What the client tells us.
struct Callbacks {
    reader: health::Client,
    buffer: Arc<RecordBuffer>,
    health: Arc<Health>,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {
        self.health.trouble();
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let numbers = |list: &TopicPartitionList| -> Vec<i32> {
            list.elements().iter().map(|one| one.partition()).collect()
        };
        match rebalance {
            Rebalance::Assign(partitions) => {
                self.buffer.assign(&numbers(partitions));
                self.health.accepted(&self.reader);
            }
            Rebalance::Revoke(partitions) => self.buffer.revoke(&numbers(partitions)),
            Rebalance::Error(error) => tracing::debug!(%error, "rebalance"),
        }
    }
}
