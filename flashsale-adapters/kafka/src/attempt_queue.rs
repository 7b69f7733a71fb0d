use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::domain::Attempt;
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, BATCH_MAX, HealthCheck, Published, QueuePosition,
};
use flashsale_core::{ErrorKind, PortError};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::attempt_reader::KafkaAttemptReader;
use crate::config::{ConfigError, KafkaConfig, check_group};
use crate::consumer::GroupConsumer;
use crate::error::Fault;
use crate::health::Health;
use crate::offsets::Offsets;
use crate::producer::Producers;
use crate::record_buffer::RecordBuffer;
use crate::topic_admin::TopicAdmin;

/// The attempt queue on Apache Kafka: one topic, keyed by user. Cloning shares it.
///
/// It needs no broker to be made, and none to go on: see the [crate](crate). Its calls have to be
/// made inside a tokio runtime with its timer.
#[derive(Clone, Debug)]
pub struct KafkaAttemptQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: KafkaConfig,
    producers: Arc<Producers>,
    offsets: Offsets,
    health: Arc<Health>,
    _admin: TopicAdmin,
    /// The session that consumers ask for.
    session_ms: Arc<AtomicU64>,
    consumers: Mutex<Consumers>,
}

/// Those that are running, and perhaps some that have ended.
#[derive(Debug, Default)]
struct Consumers {
    closed: bool,
    running: Vec<(Arc<RecordBuffer>, JoinHandle<()>)>,
}

impl KafkaAttemptQueue {
    /// A queue on these brokers, which need not be there yet. Threads of its own look after the
    /// topic and keep trying.
    ///
    /// # Errors
    /// If a setting cannot be used.
    pub fn new(config: KafkaConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let health = Arc::new(Health::default());
        let producers = Arc::new(Producers::new(config.clone(), Arc::clone(&health))?);
        let admin = TopicAdmin::start(config.clone(), Arc::clone(&producers), Arc::clone(&health))?;
        Ok(Self(Arc::new(Inner {
            offsets: Offsets::start(config.clone())?,
            session_ms: Arc::new(AtomicU64::new(config.session_asked_ms())),
            config,
            producers,
            health,
            _admin: admin,
            consumers: Mutex::default(),
        })))
    }

    /// Waits, not longer than this, until nothing that was published waits for its delivery any
    /// more, and says whether that is so.
    pub async fn flush(&self, within: Duration) -> bool {
        let is_flushed = || self.0.producers.present().waiting() == 0;
        wait_until(is_flushed, Instant::now() + within).await
    }

    /// For the end of a process: lets all readers leave their groups, so that others get their
    /// partitions at once, and [flushes](Self::flush). Waits not longer than this.
    ///
    /// There are no readers any more after it: those that were let go of are gone, the others and
    /// new ones answer [`Stopped`](ErrorKind::Stopped).
    pub async fn close(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.0.consumers().close();
        self.flush(within).await;
        wait_until(|| self.0.consumers().have_ended(), deadline).await;
    }
}

impl Consumers {
    fn close(&mut self) {
        self.closed = true;
        self.running.iter().for_each(|(buffer, _)| buffer.close());
    }

    fn have_ended(&self) -> bool {
        self.running.iter().all(|(_, thread)| thread.is_finished())
    }
}

impl Inner {
    fn subscribe(&self, group: &str) -> Result<KafkaAttemptReader, Fault> {
        check_group(group)?;
        let mut consumers = self.consumers();
        if consumers.closed {
            return Err(Fault::new(ErrorKind::Stopped, "the queue is closed"));
        }
        let buffer = Arc::new(RecordBuffer::new(self.config.buffer_max));
        let consumer = GroupConsumer {
            config: self.config.clone(),
            group: group.to_owned(),
            instance_id: format!("flashsale-{}", Uuid::now_v7()),
            session_ms: Arc::clone(&self.session_ms),
            buffer: Arc::clone(&buffer),
            health: Arc::clone(&self.health),
        };
        let thread = std::thread::Builder::new().name("kafka consumer".to_owned());
        let thread = thread
            .spawn(move || consumer.run())
            .map_err(|error| Fault::unavailable(format!("no thread to read: {error}")))?;
        let running = &mut consumers.running;
        running.retain(|(_, thread)| !thread.is_finished());
        running.push((Arc::clone(&buffer), thread));
        let commit_wait = Duration::from_millis(self.config.commit_wait_ms);
        Ok(KafkaAttemptReader::new(buffer, commit_wait))
    }

    fn consumers(&self) -> MutexGuard<'_, Consumers> {
        self.consumers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AttemptQueue for KafkaAttemptQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        if attempts.len() > BATCH_MAX {
            let line = format!("a batch has {BATCH_MAX} attempts at most");
            return Err(Fault::new(ErrorKind::Invalid, line).of("publish"));
        }
        Ok(self.0.producers.present().publish(attempts).await)
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        let reader = self.0.subscribe(group);
        Ok(Box::new(reader.map_err(|fault| fault.of("subscribe"))?))
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        let end = self.0.offsets.end().await;
        end.map_err(|fault| fault.of("end"))
    }

    async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, PortError> {
        let lag = self.0.offsets.lag(group, until).await;
        lag.map_err(|fault| fault.of("lag"))
    }
}

#[async_trait]
impl HealthCheck for KafkaAttemptQueue {
    /// Asks the brokers for the topic; the answer takes 2 s at most.
    async fn check(&self) -> Result<(), PortError> {
        let checked = self.0.health.check().await;
        checked.map_err(|fault| fault.of("check"))
    }
}

/// Waits until something is so, but not longer than until then; says whether it is.
async fn wait_until(is_so: impl Fn() -> bool, deadline: Instant) -> bool {
    const LOOK: Duration = Duration::from_millis(2);
    while !is_so() {
        if Instant::now() + LOOK > deadline {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}
