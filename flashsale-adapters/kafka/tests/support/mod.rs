//! What the tests of the queue share.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::HashSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flashsale_core::domain::{
    Attempt, AttemptId, Epoch, ProductId, Quantity, SaleId, Timestamp, UserId,
};
use flashsale_core::ports::{AttemptQueue, AttemptReader, Delivery, HealthCheck, Published};
use flashsale_core::{ErrorKind, PortError};
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig, PartitionBy};
use flashsale_stack::Kafka;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use uuid::Uuid;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A broker for all tests of a program that do it no harm. It ends with the program.
static KAFKA: LazyLock<Kafka> = LazyLock::new(Kafka::start);

/// Settings for a topic of its own on the broker of all. Groups have to have names of their own,
/// too: a broker keeps them apart by nothing else.
pub(crate) fn on_the_broker_of_all(topic: &str) -> KafkaConfig {
    KafkaConfig {
        // The first message to a new topic may take a second.
        publish_wait_ms: 10_000,
        // What is committed is to be seen by others, also on a busy machine.
        commit_wait_ms: 10_000,
        session_ms: Some(1_500),
        ..on(&KAFKA, topic)
    }
}

/// The same, with attempts of several users in every partition, for what several readers share.
pub(crate) fn spread_on_the_broker_of_all(topic: &str) -> KafkaConfig {
    KafkaConfig {
        partition_by: PartitionBy::User,
        ..on_the_broker_of_all(topic)
    }
}

/// Settings for a topic on this broker.
pub(crate) fn on(kafka: &Kafka, topic: &str) -> KafkaConfig {
    KafkaConfig {
        topic: topic.to_owned(),
        partitions: 3,
        ..KafkaConfig::new(kafka.brokers())
    }
}

/// A queue that can be used.
pub(crate) async fn queue(config: &KafkaConfig) -> KafkaAttemptQueue {
    let queue = KafkaAttemptQueue::new(config.clone()).unwrap();
    ready(&queue).await;
    queue
}

/// Waits until the queue can be used.
pub(crate) async fn ready(queue: &KafkaAttemptQueue) {
    let since = Instant::now();
    while let Err(error) = queue.check().await {
        let why = why(&error);
        assert!(since.elapsed() < PATIENCE, "{error}: {why}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the queue says that somebody has to do something, and returns what.
pub(crate) async fn remedy(queue: &KafkaAttemptQueue) -> String {
    let since = Instant::now();
    loop {
        let checked = queue.check().await;
        if let Err(error) = &checked
            && error.kind() == ErrorKind::Misconfigured
        {
            let why = why(error);
            assert_eq!(why.lines().count(), 1, "{why}");
            return why;
        }
        assert!(since.elapsed() < PATIENCE, "{checked:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What caused an error.
pub(crate) fn why(error: &PortError) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

/// So many attempts, each of a user of its own, that nobody has made before.
pub(crate) fn attempts(count: usize) -> Vec<Attempt> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let attempt = |_| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = u64::from(std::process::id());
        Attempt {
            id: AttemptId::from_uuid(Uuid::from_u64_pair(process, number)),
            sale: SaleId::new(1).unwrap(),
            product: ProductId::new(1).unwrap(),
            user: UserId::new(format!("user-{number}")).unwrap(),
            quantity: Quantity::ONE,
            epoch: Epoch::FIRST,
            seq: number,
            reserved_at: Timestamp::from_millis(1_800_000_000_000),
        }
    };
    (0..count).map(attempt).collect()
}

/// Publishes attempts, all of which have to be logged, and returns them.
pub(crate) async fn logged(queue: &KafkaAttemptQueue, count: usize) -> Vec<Attempt> {
    let attempts = attempts(count);
    for batch in attempts.chunks(1_024) {
        let published = queue.publish(batch).await.unwrap();
        assert_eq!(published, vec![Published::Logged; batch.len()]);
    }
    attempts
}

/// Publishes an attempt again and again until it is logged, and returns it.
pub(crate) async fn logged_at_last(queue: &KafkaAttemptQueue) -> Attempt {
    let attempt = attempts(1).remove(0);
    let since = Instant::now();
    while queue.publish(std::slice::from_ref(&attempt)).await.unwrap() != [Published::Logged] {
        assert!(since.elapsed() < PATIENCE, "it is never logged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    attempt
}

/// How much a group has not committed.
pub(crate) async fn lag(queue: &KafkaAttemptQueue, group: &str) -> u64 {
    let end = queue.end().await.unwrap();
    queue.lag(group, &end).await.unwrap()
}

/// The ids of attempts.
pub(crate) fn ids<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> HashSet<AttemptId> {
    attempts.into_iter().map(|attempt| attempt.id).collect()
}

/// The ids of the attempts among these, in order.
pub(crate) fn came(deliveries: &[Delivery]) -> Vec<AttemptId> {
    let attempt = |delivery: &Delivery| match delivery {
        Delivery::Attempt(attempt) => Some(attempt.id),
        Delivery::Undecodable(_) => None,
    };
    deliveries.iter().filter_map(attempt).collect()
}

/// Reads until `enough`; returns all that came.
pub(crate) async fn read_until(
    reader: &mut dyn AttemptReader,
    mut enough: impl FnMut(&[Delivery]) -> bool,
) -> Vec<Delivery> {
    let mut came = Vec::new();
    let since = Instant::now();
    while !enough(&came) {
        assert!(since.elapsed() < PATIENCE, "only {} came", came.len());
        came.extend(reader.poll(1_024, 100).await.unwrap());
    }
    came
}

/// Reads until all of these have come.
pub(crate) async fn read_all(reader: &mut dyn AttemptReader, wanted: &HashSet<AttemptId>) {
    let mut missing = wanted.clone();
    read_until(reader, |items| {
        for id in came(items) {
            missing.remove(&id);
        }
        missing.is_empty()
    })
    .await;
}

/// Writes bytes as they are.
#[derive(Clone)]
pub(crate) struct RawWriter {
    producer: FutureProducer,
    topic: String,
}

impl std::fmt::Debug for RawWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawWriter")
    }
}

impl RawWriter {
    pub(crate) fn new(config: &KafkaConfig) -> Self {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &config.brokers);
        Self {
            producer: client.create().unwrap(),
            topic: config.topic.clone(),
        }
    }

    pub(crate) async fn put(&self, payload: &[u8]) {
        let record = FutureRecord::<(), _>::to(&self.topic).payload(payload);
        self.producer.send(record, PATIENCE).await.unwrap();
    }
}
