//! What the tests of the queue share.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::time::{Duration, Instant};

use flashsale_core::domain::{
    Attempt, AttemptId, Epoch, ProductId, Quantity, SaleId, Timestamp, UserId,
};
use flashsale_core::ports::{AttemptReader, Delivery, HealthCheck};
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use uuid::Uuid;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

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

/// Waits until the queue can be used.
pub(crate) async fn ready(queue: &KafkaAttemptQueue) {
    let since = Instant::now();
    while let Err(error) = queue.check().await {
        assert!(
            since.elapsed() < PATIENCE,
            "{error}: {:?}",
            std::error::Error::source(&error)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Attempts of so many users, one each.
pub(crate) fn attempts(users: std::ops::Range<u64>) -> Vec<Attempt> {
    users
        .map(|user| Attempt {
            id: AttemptId::from_uuid(Uuid::from_u128(u128::from(user) + 1)),
            sale: SaleId::new(1).unwrap(),
            product: ProductId::new(1).unwrap(),
            user: UserId::new(format!("user-{user}")).unwrap(),
            quantity: Quantity::ONE,
            epoch: Epoch::FIRST,
            seq: user + 1,
            reserved_at: Timestamp::from_millis(1_800_000_000_000),
        })
        .collect()
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
