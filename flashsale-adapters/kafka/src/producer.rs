use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flashsale_core::domain::Attempt;
use flashsale_core::ports::Published;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::circuit::{Admission, Circuit};
use crate::client_log::log;
use crate::config::{ConfigError, KafkaConfig};
use crate::error::refusal;
use crate::health::{Client, Health};
use crate::message::{Writer, headers};

/// The producer of a queue, and its successors: one that has met a fatal error cannot go on.
#[derive(Debug)]
pub(crate) struct Producers {
    config: KafkaConfig,
    health: Arc<Health>,
    present: Mutex<Present>,
}

#[derive(Debug)]
struct Present {
    producer: Arc<Producer>,
    made: Instant,
}

/// The least time between two producers.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);

impl Producers {
    pub(crate) fn new(config: KafkaConfig, health: Arc<Health>) -> Result<Self, ConfigError> {
        let producer = Producer::new(&config, &health);
        let producer = producer.map_err(|error| ConfigError::Client(error.to_string()))?;
        let present = Present {
            producer: Arc::new(producer),
            made: Instant::now(),
        };
        Ok(Self {
            config,
            health,
            present: Mutex::new(present),
        })
    }

    pub(crate) fn present(&self) -> Arc<Producer> {
        Arc::clone(&self.lock().producer)
    }

    /// Replaces the present producer if it cannot go on, unless it is quite new. Says whether there
    /// is one that can.
    pub(crate) fn mend(&self) -> bool {
        let mut present = self.lock();
        let Some((code, why)) = present.producer.fatal_error() else {
            return true;
        };
        if let Some(refused) = refusal(code, &self.config.topic) {
            self.health.refused(Client::Producer, refused);
        }
        if present.made.elapsed() < REPLACE_PAUSE {
            return false;
        }
        match Producer::new(&self.config, &self.health) {
            Ok(producer) => {
                tracing::warn!(why, "the Kafka producer cannot go on and is replaced");
                present.producer = Arc::new(producer);
                present.made = Instant::now();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no Kafka producer can be made; trying again");
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands attempts to the brokers, as long as they take them.
pub(crate) struct Producer {
    topic: String,
    wait: Duration,
    circuit: Arc<Circuit>,
    /// Always there until it is dropped.
    native: Option<Native>,
}

type Native = ThreadedProducer<Callbacks>;

impl Producer {
    fn new(config: &KafkaConfig, health: &Arc<Health>) -> Result<Self, KafkaError> {
        let circuit = Arc::new(Circuit::new());
        let callbacks = Callbacks {
            topic: config.topic.clone(),
            circuit: Arc::clone(&circuit),
            health: Arc::clone(health),
            fatal: AtomicBool::new(false),
        };
        Ok(Self {
            topic: config.topic.clone(),
            wait: Duration::from_millis(config.publish_wait_ms),
            circuit,
            native: Some(Native::from_config_and_context(
                &config.producer(),
                callbacks,
            )?),
        })
    }

    /// Hands attempts to the brokers and waits until they have them, but not for long.
    pub(crate) async fn publish(&self, attempts: &[Attempt]) -> Vec<Published> {
        if attempts.is_empty() {
            return Vec::new();
        }
        // A probe is one until it has its answer.
        let _admission = match self.circuit.admit() {
            Admission::Refused => return vec![Published::Unconfirmed; attempts.len()],
            admission => admission,
        };
        let before = self.circuit.delivered();
        let batch = self.hand_over(attempts);
        let in_time = timeout(self.wait, batch.finished()).await.is_ok();
        // Some partition may be slow while others work.
        if !in_time && self.circuit.delivered() == before {
            self.circuit.open();
        }
        batch.published()
    }

    fn hand_over(&self, attempts: &[Attempt]) -> Arc<Batch> {
        let batch = Arc::new(Batch::new(attempts.len()));
        let mut writer = Writer::default();
        for (index, attempt) in attempts.iter().enumerate() {
            let ticket = Box::new(Ticket {
                batch: Arc::clone(&batch),
                index,
            });
            let payload = writer.write(attempt);
            let record = BaseRecord::with_opaque_to(&self.topic, ticket)
                .key(attempt.user.as_str())
                .payload(payload)
                .headers(headers(attempt));
            self.circuit.handed_over();
            if let Err((error, record)) = self.native().send(record) {
                // The client's queue is full, or it cannot go on.
                self.circuit.done(false);
                record.delivery_opaque.batch.finish_one();
                self.native().context().heed(&error);
            }
        }
        batch
    }

    /// How many attempts wait for their delivery.
    pub(crate) fn waiting(&self) -> usize {
        self.circuit.waiting()
    }

    /// Asks the brokers about a topic. Blocks, not longer than this.
    pub(crate) fn metadata(&self, topic: &str, within: Duration) -> Result<Metadata, KafkaError> {
        let client = self.native().client();
        client.fetch_metadata(Some(topic), within)
    }

    /// The brokers have answered something else. If nothing waits for its delivery, attempts may
    /// be handed over again.
    pub(crate) fn answers(&self) {
        if self.waiting() == 0 {
            self.circuit.close();
        }
    }

    /// Why it cannot go on, if so.
    fn fatal_error(&self) -> Option<(Code, String)> {
        let native = self.native();
        let fatal = native.context().fatal.load(Ordering::Acquire);
        fatal.then(|| native.client().fatal_error()).flatten()
    }

    fn native(&self) -> &Native {
        self.native.as_ref().expect("it is there until the drop")
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("topic", &self.topic)
            .field("circuit", &self.circuit)
            .finish_non_exhaustive()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let native = self.native.take();
        // Ending it takes up to a second, which must not be one of an async thread.
        let thread = std::thread::Builder::new().name("kafka producer end".to_owned());
        let _ = thread.spawn(move || drop(native));
    }
}

/// Attempts that are published together, and what became of each.
#[derive(Debug)]
struct Batch {
    logged: Box<[AtomicBool]>,
    open: AtomicUsize,
    done: Notify,
}

/// Whom a delivery is reported to.
#[derive(Debug)]
struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

impl Batch {
    fn new(size: usize) -> Self {
        Self {
            logged: (0..size).map(|_| AtomicBool::new(false)).collect(),
            open: AtomicUsize::new(size),
            done: Notify::new(),
        }
    }

    fn finish_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    async fn finished(&self) {
        while self.open.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
    }

    fn published(&self) -> Vec<Published> {
        let logged = self.logged.iter();
        let published = logged.map(|logged| match logged.load(Ordering::Acquire) {
            true => Published::Logged,
            false => Published::Unconfirmed,
        });
        published.collect()
    }
}

/// What the client tells us.
struct Callbacks {
    topic: String,
    circuit: Arc<Circuit>,
    health: Arc<Health>,
    fatal: AtomicBool,
}

impl Callbacks {
    /// Draws the consequences of an error, whatever it is the error of.
    fn heed(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(Code::AllBrokersDown) => {
                self.circuit.open();
                self.health.trouble();
            }
            Some(Code::Fatal) if !self.fatal.swap(true, Ordering::AcqRel) => {
                self.health.trouble();
            }
            // It ends by itself.
            Some(Code::QueueFull | Code::MessageTimedOut) | None => {}
            Some(code) => {
                if let Some(why) = refusal(code, &self.topic) {
                    self.health.refused(Client::Producer, why);
                }
            }
        }
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, _: &str) {
        self.heed(&error);
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match result {
            Ok(_) => {
                ticket.batch.logged[ticket.index].store(true, Ordering::Release);
                self.circuit.done(true);
                self.health.accepted(&Client::Producer);
            }
            Err((error, _)) => {
                self.circuit.done(false);
                self.heed(error);
            }
        }
        ticket.batch.finish_one();
    }
}
