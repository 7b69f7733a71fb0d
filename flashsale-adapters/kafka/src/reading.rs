use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use flashsale_core::ports::{Delivery, Undecodable};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::bell::Bell;
use crate::clerk::Clerk;
use crate::config::SESSION_LONG_MS;
use crate::error::refusal;
use crate::leaving::leave;
use crate::message::decode;
use crate::readers::{Living, Readers, Seat};
use crate::reports::{Client, Reports, log};
use crate::shelf::{Item, Shelf};
use crate::tray::Tray;

/// The work of a reader's thread: it is a member of the group, and fetches what the reader will
/// want next. A [`Clerk`] commits beside it.
///
/// The consumer lives on this thread, because it blocks when it ends.
pub(crate) struct Reading {
    pub(crate) topic: String,
    pub(crate) group: String,
    pub(crate) client: ClientConfig,
    /// With a longer session, for brokers that refuse the short one; unless the session was chosen.
    pub(crate) patient_client: Option<ClientConfig>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) tray: Arc<Tray>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) reports: Arc<Reports>,
    /// That of a process with a name, which comes back to it.
    pub(crate) seat: Option<Arc<Seat>>,
    /// Held as long as the thread lives.
    pub(crate) _living: Living,
}

pub(crate) type Native = BaseConsumer<Callbacks>;

/// Why a consumer is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The reader is gone.
    Closed,
    /// It cannot go on.
    Fatal,
    /// The brokers want a longer session.
    Session,
}

/// The longest time without a look around.
const IDLE: Duration = Duration::from_millis(100);
/// So many items may come before the reader is told.
const ANNOUNCE_EVERY: usize = 256;
/// How long a full shelf is waited for before the partitions are paused. Pausing throws away what
/// was fetched ahead; not polling keeps the group waiting.
const FULL_PATIENCE: Duration = Duration::from_millis(500);
/// The pause before a new consumer takes the place of one that cannot go on: another process may
/// have its name.
const REPLACE_PAUSE: Duration = Duration::from_millis(500);
/// The same if nobody else can have its name: brokers take it for another one after they have
/// forgotten what they knew last.
const RESUME_PAUSE: Duration = Duration::from_millis(20);

impl Reading {
    /// One consumer after the other, each until it cannot go on.
    pub(crate) fn run(self) {
        let seat = self.seat.clone();
        // The member before has to be gone: two with one name throw each other out.
        let _membership = seat.as_ref().map(|seat| {
            let held = seat.membership.lock();
            held.unwrap_or_else(PoisonError::into_inner)
        });
        let _end = Ended {
            shelf: Arc::clone(&self.shelf),
            tray: Arc::clone(&self.tray),
        };
        while !self.bell.is_closed() {
            let pause = match self.make() {
                Ok(consumer) => match self.serve(&consumer) {
                    End::Closed => return,
                    End::Fatal => {
                        let why = consumer.client().fatal_error();
                        tracing::warn!(group = self.group, ?why, "a Kafka consumer is replaced");
                        self.seat.as_ref().map_or(RESUME_PAUSE, |_| REPLACE_PAUSE)
                    }
                    End::Session => {
                        self.lengthen_sessions();
                        continue;
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "no Kafka consumer can be made; trying again");
                    REPLACE_PAUSE
                }
            };
            self.pause(pause);
        }
    }

    fn make(&self) -> KafkaResult<Native> {
        let callbacks = Callbacks {
            group: Client::Reader(self.group.clone()),
            shelf: Arc::clone(&self.shelf),
            reports: Arc::clone(&self.reports),
            rebalanced: AtomicBool::new(false),
            served: AtomicBool::new(false),
        };
        let client = match &self.patient_client {
            Some(client) if self.readers.have_long_sessions() => client,
            _ => &self.client,
        };
        let mut consumer = Native::from_config_and_context(client, callbacks)?;
        let bell = Arc::clone(&self.bell);
        consumer.set_nonempty_callback(move || bell.stir());
        consumer.subscribe(&[&self.topic])?;
        Ok(consumer)
    }

    fn pause(&self, pause: Duration) {
        let over = Instant::now() + pause;
        while !self.bell.is_closed() && Instant::now() < over {
            self.bell.calm();
            self.bell.wait(IDLE.min(pause));
            // What it is about belongs to others.
            self.tray.clear();
        }
    }

    /// Uses a consumer until it is done with.
    fn serve(&self, consumer: &Native) -> End {
        let over = AtomicBool::new(false);
        let clerk = Clerk {
            reading: self,
            consumer,
            over: &over,
        };
        let end = std::thread::scope(|scope| {
            scope.spawn(|| clerk.run());
            let _over = Over {
                over: &over,
                tray: &self.tray,
            };
            self.poll(consumer)
        });
        self.shelf.revoke_all();
        if end == End::Closed && self.seat.is_none() {
            leave(consumer);
        }
        end
    }

    /// Polls until the consumer is done with.
    fn poll(&self, consumer: &Native) -> End {
        let mut flow = Flow::Open;
        let mut unannounced = 0;
        loop {
            if self.bell.is_closed() {
                return End::Closed;
            }
            let rebalanced = consumer.context().rebalanced.swap(false, Ordering::AcqRel);
            flow = self.regulate(consumer, flow, rebalanced);
            if let Flow::Full { since } = flow {
                self.shelf.announce();
                self.bell.calm();
                // Room that is made after this look rings the bell.
                if !self.shelf.has_room() {
                    let left = FULL_PATIENCE.saturating_sub(since.elapsed());
                    self.bell.wait(left);
                }
                continue;
            }
            match self.step(consumer) {
                Stepped::End(end) => return end,
                Stepped::Something => {
                    unannounced += 1;
                    if unannounced < ANNOUNCE_EVERY {
                        continue;
                    }
                }
                Stepped::Nothing => {}
            }
            // Many at a time, so that the reader is not woken for each.
            if unannounced > 0 {
                self.shelf.announce();
                unannounced = 0;
                continue;
            }
            // What has come since the last look, before the bell could tell.
            self.bell.calm();
            match self.step(consumer) {
                Stepped::End(end) => return end,
                Stepped::Something => unannounced = 1,
                Stepped::Nothing if flow.is_paused() && self.shelf.has_room() => {}
                Stepped::Nothing => self.bell.wait(IDLE),
            }
        }
    }

    /// Polls once, without waiting: the bell tells when there is something.
    fn step(&self, consumer: &Native) -> Stepped {
        match consumer.poll(Duration::ZERO) {
            Some(Ok(message)) => {
                self.shelf.put(item(&message));
                Stepped::Something
            }
            Some(Err(error)) => {
                if self.may_have_longer_session(&error) {
                    return Stepped::End(End::Session);
                }
                self.heed(&error);
                if consumer.client().fatal_error().is_some() {
                    return Stepped::End(End::Fatal);
                }
                Stepped::Something
            }
            // It has served an event, and there may be more.
            None if consumer.context().served.swap(false, Ordering::AcqRel) => Stepped::Something,
            None => Stepped::Nothing,
        }
    }

    /// Stops and goes on fetching as the shelf fills and empties.
    fn regulate(&self, consumer: &Native, flow: Flow, rebalanced: bool) -> Flow {
        match flow {
            Flow::Open if self.shelf.is_full() => Flow::Full {
                since: Instant::now(),
            },
            Flow::Full { .. } if self.shelf.has_room() => Flow::Open,
            Flow::Full { since } if since.elapsed() >= FULL_PATIENCE => {
                pause(consumer, true);
                Flow::Paused
            }
            Flow::Paused if self.shelf.has_room() => {
                pause(consumer, false);
                Flow::Open
            }
            Flow::Paused if rebalanced => {
                // New partitions come unpaused.
                pause(consumer, true);
                Flow::Paused
            }
            flow => flow,
        }
    }

    /// Whether the brokers refuse the session, and there is another one to try.
    fn may_have_longer_session(&self, error: &KafkaError) -> bool {
        error.rdkafka_error_code() == Some(Code::InvalidSessionTimeout)
            && self.patient_client.is_some()
            && !self.readers.have_long_sessions()
    }

    fn lengthen_sessions(&self) {
        if self.readers.lengthen_sessions() {
            tracing::info!(
                group = self.group,
                session_ms = SESSION_LONG_MS,
                "the Kafka brokers refuse shorter sessions: what a killed reader had waits so long \
                 for another one; group.min.session.timeout.ms of the brokers decides"
            );
        }
    }

    pub(crate) fn heed(&self, error: &KafkaError) {
        tracing::debug!(group = self.group, %error, "a Kafka consumer has met an error");
        let code = error.rdkafka_error_code();
        match code.and_then(|code| refusal(code, &self.topic)) {
            Some(why) => {
                let client = Client::Reader(self.group.clone());
                self.reports.refused(client, why);
            }
            None => self.reports.trouble(),
        }
    }
}

/// Whether the client fetches.
#[derive(Clone, Copy, Debug)]
enum Flow {
    Open,
    /// It is not polled, so that it stops by itself.
    Full {
        since: Instant,
    },
    /// It is polled, and does not fetch.
    Paused,
}

impl Flow {
    fn is_paused(self) -> bool {
        matches!(self, Self::Paused)
    }
}

/// What polling once gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stepped {
    Something,
    Nothing,
    /// The consumer is done with.
    End(End),
}

/// Tells the reader that nothing more will come, also after a panic.
struct Ended {
    shelf: Arc<Shelf>,
    tray: Arc<Tray>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.shelf.end();
        self.tray.close();
    }
}

/// Tells the clerk that the consumer is done with, also after a panic.
struct Over<'a> {
    over: &'a AtomicBool,
    tray: &'a Tray,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.tray.stir();
    }
}

fn pause(consumer: &Native, pause: bool) {
    let done = consumer.assignment().and_then(|partitions| {
        if pause {
            consumer.pause(&partitions)
        } else {
            consumer.resume(&partitions)
        }
    });
    if let Err(error) = done {
        tracing::debug!(%error, pause, "Kafka partitions are not paused or resumed");
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

/// What the client tells us.
pub(crate) struct Callbacks {
    group: Client,
    shelf: Arc<Shelf>,
    reports: Arc<Reports>,
    /// The partitions are others than before.
    rebalanced: AtomicBool,
    /// The last poll has served an event that it does not return.
    served: AtomicBool,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.served.store(true, Ordering::Release);
        log(level, facility, message);
    }

    fn stats_raw(&self, _: &[u8]) {
        self.served.store(true, Ordering::Release);
    }

    fn error(&self, _: KafkaError, _: &str) {
        self.reports.trouble();
    }
}

impl ConsumerContext for Callbacks {
    fn commit_callback(&self, _: KafkaResult<()>, _: &TopicPartitionList) {
        self.served.store(true, Ordering::Release);
    }

    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let numbers = |list: &TopicPartitionList| -> Vec<i32> {
            list.elements().iter().map(|one| one.partition()).collect()
        };
        match rebalance {
            Rebalance::Assign(partitions) => {
                self.shelf.assign(numbers(partitions));
                self.reports.accepted(&self.group);
            }
            Rebalance::Revoke(partitions) => self.shelf.revoke(&numbers(partitions)),
            Rebalance::Error(error) => tracing::debug!(%error, "rebalance"),
        }
        self.rebalanced.store(true, Ordering::Release);
        self.served.store(true, Ordering::Release);
    }
}
