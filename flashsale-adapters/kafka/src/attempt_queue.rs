use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::domain::Attempt;
use flashsale_core::ports::{AttemptQueue, AttemptReader, HealthCheck, Published};
use flashsale_core::{ErrorKind, PortError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, sleep};

use crate::attempt_reader::{KafkaAttemptReader, Readers};
use crate::config::{ConfigError, KafkaConfig};
use crate::error::{ASK_MAX, blocking, broken, check_batch, fault};
use crate::producer::Producer;
use crate::topic::{Known, Topic, look_after};

/// The attempt queue on Apache Kafka: one topic, keyed by user. Cloning shares it.
///
/// It needs no broker to be made, and none to go on: see the [crate](crate).
#[derive(Clone)]
pub struct KafkaAttemptQueue(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    config: KafkaConfig,
    pub(crate) producer: Producer,
    pub(crate) topic: Topic,
    readers: Readers,
}

impl KafkaAttemptQueue {
    /// A queue on these brokers, which need not be there yet. Has to be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// If a setting cannot be used.
    pub fn new(config: KafkaConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let inner = Arc::new(Inner {
            producer: Producer::new(&config)?,
            topic: Topic::new(),
            readers: Readers::default(),
            config: config.clone(),
        });
        tokio::spawn(look_after(Arc::downgrade(&inner), config));
        Ok(Self(inner))
    }

    /// How many attempts a group has not committed yet.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub async fn lag(&self, group: &str) -> Result<u64, PortError> {
        let (config, group) = (self.0.config.clone(), group.to_owned());
        blocking("lag", move || lag(&config, &group)).await
    }

    /// Waits, not longer than this, until the brokers have everything that was handed over and the
    /// readers that were dropped have left their groups. For the end of a process.
    pub async fn close(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let inner = Arc::clone(&self.0);
        let flushed = tokio::task::spawn_blocking(move || inner.producer.flush(within));
        while self.0.readers.any() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let _ = tokio::time::timeout_at(deadline, flushed).await;
    }
}

impl fmt::Debug for KafkaAttemptQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaAttemptQueue")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl AttemptQueue for KafkaAttemptQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        check_batch("publish", attempts.len())?;
        Ok(self.0.producer.publish(attempts).await)
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        let Inner {
            config, readers, ..
        } = &*self.0;
        let reader = KafkaAttemptReader::start(config, group, readers)?;
        Ok(Box::new(reader))
    }
}

#[async_trait]
impl HealthCheck for KafkaAttemptQueue {
    /// Asks for the topic; 1.5 s at most.
    async fn check(&self) -> Result<(), PortError> {
        if let Known::Refused(problem) = self.0.topic.known() {
            return Err(fault(ErrorKind::Misconfigured, "check").with_source(problem));
        }
        let inner = Arc::clone(&self.0);
        let metadata = blocking("check", move || {
            let metadata = inner.producer.metadata(ASK_MAX);
            metadata.map_err(|error| broken("check", error))
        });
        let metadata = metadata.await?;
        let there = metadata.topics().first().is_some_and(|topic| {
            let partitions = topic.partitions();
            let led = partitions.iter().all(|partition| partition.leader() >= 0);
            topic.error().is_none() && !partitions.is_empty() && led
        });
        match there {
            true => Ok(()),
            // It is being made, was deleted, or a broker is missing.
            false => Err(fault(ErrorKind::Unavailable, "check")
                .with_source(format!("topic {} is not there yet", self.0.config.topic))),
        }
    }
}

/// What a group has left to read, without joining it.
fn lag(config: &KafkaConfig, group: &str) -> Result<u64, PortError> {
    let wrong = |error| broken("lag", error);
    let consumer: BaseConsumer = config.consumer(group).create().map_err(wrong)?;
    let topic = &config.topic;
    let metadata = consumer
        .fetch_metadata(Some(topic), ASK_MAX)
        .map_err(wrong)?;
    let partitions = metadata
        .topics()
        .first()
        .map_or(&[][..], |topic| topic.partitions());
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic, partition.id());
    }
    let committed = consumer.committed_offsets(asked, ASK_MAX).map_err(wrong)?;
    let mut lag = 0;
    for element in committed.elements() {
        let marks = consumer.fetch_watermarks(topic, element.partition(), ASK_MAX);
        let (low, high) = marks.map_err(wrong)?;
        let next = match element.offset() {
            Offset::Offset(offset) => offset.max(low),
            _ => low,
        };
        lag += u64::try_from(high - next).unwrap_or(0);
    }
    Ok(lag)
}
