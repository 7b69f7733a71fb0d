use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flashsale_core::domain::Attempt;
use flashsale_core::ports::Published;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::{ConfigError, KafkaConfig};
use crate::message::{self, encode};

type Native = ThreadedProducer<Callbacks>;

/// Writes attempts, as long as the brokers take them.
///
/// A circuit breaker keeps buyers from waiting for brokers that are away: when a wait was in vain,
/// or the client has lost all brokers, further attempts are unconfirmed at once. What was handed
/// over before is delivered by itself when a broker is back, and that closes the circuit.
#[derive(Debug)]
pub(crate) struct Producer {
    config: KafkaConfig,
    circuit: Arc<Circuit>,
    native: Mutex<Arc<Shell>>,
}

/// The client's producer, which says nothing of itself.
struct Shell(Native);

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ThreadedProducer")
    }
}

#[derive(Debug, Default)]
struct Circuit {
    open: AtomicBool,
    /// The producer cannot go on and has to be replaced.
    fatal: AtomicBool,
}

/// Attempts that are published together, and what became of each.
#[derive(Debug)]
struct Batch {
    outcomes: Vec<AtomicU8>,
    open: AtomicUsize,
    done: Notify,
}

const LOGGED: u8 = 1;

impl Producer {
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self, ConfigError> {
        let circuit = Arc::new(Circuit::default());
        let native = make(config, &circuit).map_err(|e| ConfigError::Client(e.to_string()))?;
        Ok(Self {
            config: config.clone(),
            circuit,
            native: Mutex::new(native),
        })
    }

    /// Hands attempts to the brokers and waits until they have them, but not for long.
    pub(crate) async fn publish(&self, attempts: &[Attempt]) -> Vec<Published> {
        if attempts.is_empty() {
            return Vec::new();
        }
        if self.circuit.open.load(Ordering::Acquire) && self.native().0.in_flight_count() > 0 {
            return vec![Published::Unconfirmed; attempts.len()];
        }
        let batch = self.send(attempts);
        let wait = Duration::from_millis(self.config.publish_wait_ms);
        let waited = timeout(wait, batch.finished()).await;
        let published = batch.published();
        if waited.is_err() && !published.contains(&Published::Logged) {
            self.circuit.open();
        }
        published
    }

    fn send(&self, attempts: &[Attempt]) -> Arc<Batch> {
        let batch = Arc::new(Batch {
            outcomes: attempts.iter().map(|_| AtomicU8::new(0)).collect(),
            open: AtomicUsize::new(attempts.len()),
            done: Notify::new(),
        });
        let native = self.native();
        for (index, attempt) in attempts.iter().enumerate() {
            let payload = encode(attempt);
            let record = BaseRecord::with_opaque_to(
                &self.config.topic,
                Box::new((Arc::clone(&batch), index)),
            );
            let record = record
                .key(attempt.user.as_str())
                .payload(&payload)
                .headers(headers(attempt));
            if let Err((_, record)) = native.0.send(record) {
                // The queue in this process is full, or the client is past hope.
                let (batch, _) = *record.delivery_opaque;
                batch.finish_one();
            }
        }
        batch
    }

    /// The present producer; a new one if the last has met a fatal error.
    fn native(&self) -> Arc<Shell> {
        let mut native = self.native.lock().unwrap_or_else(PoisonError::into_inner);
        if self.circuit.fatal.swap(false, Ordering::AcqRel) {
            match make(&self.config, &self.circuit) {
                Ok(fresh) => {
                    tracing::warn!("the Kafka producer met a fatal error and is replaced");
                    let old = std::mem::replace(&mut *native, fresh);
                    // Ending it waits for its thread.
                    std::thread::spawn(move || drop(old));
                }
                Err(_) => self.circuit.fatal.store(true, Ordering::Release),
            }
        }
        Arc::clone(&native)
    }

    /// Waits until the brokers have everything that was handed over, but not longer than this.
    /// Blocks.
    pub(crate) fn flush(&self, within: Duration) {
        let _ = self.native().0.flush(within);
    }

    /// Asks the brokers about the topic. Blocks, not longer than this.
    pub(crate) fn metadata(
        &self,
        within: Duration,
    ) -> Result<rdkafka::metadata::Metadata, KafkaError> {
        let native = self.native();
        native
            .0
            .client()
            .fetch_metadata(Some(&self.config.topic), within)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let native = self.native();
        // Ending it waits for its thread, which must not keep an async one.
        std::thread::spawn(move || drop(native));
    }
}

fn make(config: &KafkaConfig, circuit: &Arc<Circuit>) -> Result<Arc<Shell>, KafkaError> {
    let callbacks = Callbacks(Arc::clone(circuit));
    let native = Native::from_config_and_context(&config.producer(), callbacks)?;
    Ok(Arc::new(Shell(native)))
}

fn headers(attempt: &Attempt) -> OwnedHeaders {
    let (id, sale) = (attempt.id.to_string(), attempt.sale.to_string());
    let header = |key, value| Header {
        key,
        value: Some(value),
    };
    // So that an attempt can be named although its message cannot be read.
    OwnedHeaders::new_with_capacity(4)
        .insert(header("fs-attempt", id.as_str()))
        .insert(header("fs-sale", sale.as_str()))
        .insert(header("fs-user", attempt.user.as_str()))
        .insert(header("fs-v", message::VERSION_TEXT))
}

impl Circuit {
    fn open(&self) {
        if !self.open.swap(true, Ordering::AcqRel) {
            tracing::warn!("Kafka does not answer; attempts are kept in the outbox until it does");
        }
    }

    fn close(&self) {
        if self.open.load(Ordering::Acquire) && self.open.swap(false, Ordering::AcqRel) {
            tracing::info!("Kafka answers again");
        }
    }
}

impl Batch {
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
        let outcomes = self.outcomes.iter();
        let published = outcomes.map(|outcome| match outcome.load(Ordering::Acquire) {
            LOGGED => Published::Logged,
            _ => Published::Unconfirmed,
        });
        published.collect()
    }
}

/// What the client tells us.
#[derive(Debug)]
struct Callbacks(Arc<Circuit>);

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, _: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.0.open(),
            Some(RDKafkaErrorCode::Fatal) => self.0.fatal.store(true, Ordering::Release),
            _ => {}
        }
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = Box<(Arc<Batch>, usize)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let (batch, index) = *opaque;
        if result.is_ok() {
            batch.outcomes[index].store(LOGGED, Ordering::Release);
            self.0.close();
        }
        batch.finish_one();
    }
}

/// The client repeats itself while brokers are away; what matters is logged where it is handled.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "Kafka client");
        }
        _ => tracing::debug!(facility, message, "Kafka client"),
    }
}
