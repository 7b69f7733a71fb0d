use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::domain::Attempt;
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, BATCH_MAX, HealthCheck, Published, QueuePosition,
};
use flashsale_core::{ErrorKind, PortError};
use tokio::time::{Instant, sleep, timeout_at};

use crate::attempt_reader::KafkaAttemptReader;
use crate::config::{ConfigError, KafkaConfig};
use crate::error::Fault;
use crate::keeper::Keeper;
use crate::observer::Observers;
use crate::producer::Producers;
use crate::readers::Readers;
use crate::reports::Reports;

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
    keeper: Keeper,
    readers: Arc<Readers>,
    observers: Observers,
    reports: Arc<Reports>,
}

impl KafkaAttemptQueue {
    /// A queue on these brokers, which need not be there yet. Threads of its own look after the
    /// topic and keep trying.
    ///
    /// # Errors
    /// If a setting cannot be used.
    pub fn new(config: KafkaConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let reports = Arc::new(Reports::default());
        let producers = Arc::new(Producers::new(config.clone(), Arc::clone(&reports))?);
        let keeper = Keeper::start(config.clone(), Arc::clone(&producers), Arc::clone(&reports))?;
        Ok(Self(Arc::new(Inner {
            observers: Observers::new(config.clone()),
            config,
            producers,
            keeper,
            readers: Arc::default(),
            reports,
        })))
    }

    /// How many items a group has not committed yet; the answer takes 5 s at most.
    ///
    /// # Errors
    /// If the brokers do not answer, or refuse to.
    pub async fn group_lag(&self, group: &str) -> Result<u64, PortError> {
        let lag = self.0.observers.lag(group, None).await;
        lag.map_err(|fault| fault.of("lag"))
    }

    /// Waits, not longer than this, until nothing that was published waits for its delivery any
    /// more, and says whether that is so.
    pub async fn flush(&self, within: Duration) -> bool {
        const LOOK: Duration = Duration::from_millis(2);
        let deadline = Instant::now() + within;
        loop {
            if self.0.producers.present().waiting() == 0 {
                return true;
            }
            if Instant::now() + LOOK > deadline {
                return false;
            }
            sleep(LOOK).await;
        }
    }

    /// For the end of a process: lets all readers leave their groups, so that others get their
    /// partitions at once, and [flushes](Self::flush). Waits not longer than this.
    ///
    /// There are no readers any more after it: those that were let go of are gone, the others and
    /// new ones answer [`Stopped`](ErrorKind::Stopped).
    pub async fn close(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.0.readers.close();
        self.flush(within).await;
        let _ = timeout_at(deadline, self.0.readers.gone()).await;
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
        let Inner {
            config,
            readers,
            reports,
            ..
        } = &*self.0;
        let reader = KafkaAttemptReader::start(config, group, readers, reports);
        let reader = reader.map_err(|fault| fault.of("subscribe"))?;
        Ok(Box::new(reader))
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        let mark = self.0.observers.end().await;
        mark.map_err(|fault| fault.of("mark"))
    }

    async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, PortError> {
        let left = self.0.observers.lag(group, Some(until.clone())).await;
        left.map_err(|fault| fault.of("left"))
    }
}

#[async_trait]
impl HealthCheck for KafkaAttemptQueue {
    /// Asks the brokers for the topic; the answer takes 2 s at most.
    async fn check(&self) -> Result<(), PortError> {
        let checked = self.0.keeper.check().await;
        checked.map_err(|fault| fault.of("check"))
    }
}
