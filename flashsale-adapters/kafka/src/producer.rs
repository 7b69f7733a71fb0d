use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flashsale_core::domain::Attempt;
use flashsale_core::ports::{BATCH_MAX, Published};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{timeout, timeout_at};

use crate::circuit::{Admission, Circuit};
use crate::client_log::log;
use crate::config::{ConfigError, KafkaConfig, PartitionBy};
use crate::error::{not_encrypted, refusal};
use crate::health::{Client, Health};
use crate::partitions::Partitions;
use crate::producer_batch::{Deliveries, ProducerBatch, Ticket};

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
///
/// While a batch is on its way the attempts of further calls gather for the next one, so nothing
/// waits for a timer and batches are the larger the more there is to do.
pub(crate) struct Producer {
    topic: String,
    wait: Duration,
    circuit: Arc<Circuit>,
    /// If they are chosen here.
    partitions: Option<Arc<Partitions>>,
    gathering: Mutex<Gathering>,
    /// Always there until it is dropped.
    native: Option<Native>,
}

/// What is to be handed over.
#[derive(Debug, Default)]
struct Gathering {
    batches: VecDeque<ProducerBatch>,
    /// Whether a task hands them over.
    sending: bool,
}

type Native = ThreadedProducer<Callbacks>;

/// The next batch waits for the one before it, but not longer than this: its partition may not
/// answer.
const NEXT_AFTER: Duration = Duration::from_millis(20);

impl Producer {
    fn new(config: &KafkaConfig, health: &Arc<Health>) -> Result<Self, KafkaError> {
        let circuit = Arc::new(Circuit::new());
        let partitions = match config.partition_by {
            PartitionBy::Batch => Some(Arc::<Partitions>::default()),
            PartitionBy::User => None,
        };
        let callbacks = Callbacks {
            topic: config.topic.clone(),
            circuit: Arc::clone(&circuit),
            partitions: partitions.clone(),
            health: Arc::clone(health),
            fatal: AtomicBool::new(false),
        };
        Ok(Self {
            topic: config.topic.clone(),
            wait: Duration::from_millis(config.publish_wait_ms),
            circuit,
            partitions,
            gathering: Mutex::default(),
            native: Some(Native::from_config_and_context(
                &config.producer(),
                callbacks,
            )?),
        })
    }

    /// Hands attempts to the brokers and waits until they have them, but not for long.
    pub(crate) async fn publish(self: &Arc<Self>, attempts: &[Attempt]) -> Vec<Published> {
        if attempts.is_empty() {
            return Vec::new();
        }
        // A probe is one until it has its answer.
        let _admission = match self.circuit.admit() {
            Admission::Refused => return vec![Published::Unconfirmed; attempts.len()],
            admission => admission,
        };
        let (reply, answer) = oneshot::channel();
        if self.gather(attempts, reply) {
            let producer = Arc::clone(self);
            let sender = Sender {
                producer,
                ended: false,
            };
            tokio::spawn(sender.run());
        }
        let answer = answer.await;
        answer.unwrap_or_else(|_| vec![Published::Unconfirmed; attempts.len()])
    }

    /// Adds a call to the last batch that is not handed over. Says whether somebody has to send it.
    fn gather(&self, attempts: &[Attempt], reply: oneshot::Sender<Vec<Published>>) -> bool {
        let mut gathering = self.gathering();
        let Gathering { batches, sending } = &mut *gathering;
        match batches.back_mut() {
            Some(batch) if batch.len() + attempts.len() <= BATCH_MAX => batch.add(attempts, reply),
            _ => {
                let mut batch = ProducerBatch::new(self.circuit.delivered());
                batch.add(attempts, reply);
                batches.push_back(batch);
            }
        }
        self.circuit.handed_over(attempts.len());
        !std::mem::replace(sending, true)
    }

    fn hand_over(&self, batch: &ProducerBatch) -> Arc<Deliveries> {
        let partitions = self.partitions.as_ref();
        let partition = partitions.and_then(|partitions| partitions.choose());
        let deliveries = Arc::new(Deliveries::new(batch.len(), partition));
        for (index, (key, payload)) in batch.messages().enumerate() {
            let mut record = BaseRecord::with_opaque_to(&self.topic, deliveries.ticket(index))
                .key(key)
                .payload(payload);
            record.partition = partition;
            if let Err((error, record)) = self.native().send(record) {
                // The client's queue is full, or it cannot go on.
                let callbacks = self.native().context();
                callbacks.done(&record.delivery_opaque, false);
                callbacks.heed(&error);
            }
        }
        deliveries
    }

    /// Waits for the deliveries of a batch, and answers its calls.
    async fn answer(self: Arc<Self>, batch: ProducerBatch, deliveries: Arc<Deliveries>) {
        let finished = timeout_at(batch.since + self.wait, deliveries.finished());
        // Some partition may be slow while others work, or the batch has waited for its turn.
        if finished.await.is_err() && self.circuit.delivered() == batch.delivered_before {
            self.circuit.open();
        }
        batch.answer(&deliveries);
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many attempts wait for their delivery.
    pub(crate) fn waiting(&self) -> usize {
        self.circuit.waiting()
    }

    /// Asks the brokers about a topic. Blocks, not longer than this.
    pub(crate) fn metadata(&self, topic: &str, within: Duration) -> Result<Metadata, KafkaError> {
        let client = self.native().client();
        let metadata = client.fetch_metadata(Some(topic), within)?;
        let known = metadata
            .topics()
            .iter()
            .find(|known| known.name() == self.topic);
        if let (Some(partitions), Some(known)) = (&self.partitions, known) {
            partitions.learn(known.partitions().len());
        }
        Ok(metadata)
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

/// The task that hands batches over, one after the other. Two at a time were measured: they make
/// batches half as long, and cost a tenth more for each attempt. So was holding each back for 2 ms: it
/// makes them twice as long, and neither faster nor cheaper to speak of.
struct Sender {
    producer: Arc<Producer>,
    /// Nothing is left to send.
    ended: bool,
}

impl Sender {
    async fn run(mut self) {
        loop {
            // Whatever is ready to run may have a call for this batch.
            yield_now().await;
            let Some(batch) = self.take() else { return };
            let producer = &self.producer;
            let deliveries = producer.hand_over(&batch);
            let mut answering = Box::pin(Arc::clone(producer).answer(batch, deliveries));
            if timeout(NEXT_AFTER, &mut answering).await.is_err() {
                tokio::spawn(answering);
            }
        }
    }

    fn take(&mut self) -> Option<ProducerBatch> {
        let mut gathering = self.producer.gathering();
        let batch = gathering.batches.pop_front();
        if batch.is_none() {
            gathering.sending = false;
            self.ended = true;
        }
        batch
    }
}

impl Drop for Sender {
    /// Sees to it that nobody waits for a task that was stopped half-way.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut gathering = self.producer.gathering();
        gathering.sending = false;
        let left = std::mem::take(&mut gathering.batches);
        drop(gathering);
        let messages = left.iter().map(ProducerBatch::len).sum();
        self.producer.circuit.dropped(messages);
    }
}

/// What the client tells us.
struct Callbacks {
    topic: String,
    circuit: Arc<Circuit>,
    partitions: Option<Arc<Partitions>>,
    health: Arc<Health>,
    fatal: AtomicBool,
}

impl Callbacks {
    /// The client is done with a message.
    fn done(&self, ticket: &Ticket, logged: bool) {
        self.circuit.done(logged);
        if let (Some(partition), Some(partitions)) = (ticket.done(logged), &self.partitions) {
            partitions.close(partition);
        }
    }

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

    fn error(&self, error: KafkaError, reason: &str) {
        match not_encrypted(reason) {
            Some(why) => self.health.refused(Client::Producer, why),
            None => self.heed(&error),
        }
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        self.done(&ticket, result.is_ok());
        match result {
            Ok(_) => self.health.accepted(&Client::Producer),
            Err((error, _)) => self.heed(error),
        }
    }
}
