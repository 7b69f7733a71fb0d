//! The queue keeps the contract of its port, on a real broker.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::testing::{self, AttemptQueueRig, Fixture, GarbageSource, Task};
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
use flashsale_stack::Kafka;

use support::{RawWriter, ready};

#[derive(Debug)]
struct Topics(Kafka);

#[derive(Debug)]
struct Garbage(RawWriter);

#[async_trait]
impl GarbageSource for Garbage {
    async fn put(&self, payload: &[u8]) -> Result<(), PortError> {
        self.0.put(payload).await;
        Ok(())
    }
}

#[async_trait]
impl Fixture<AttemptQueueRig> for Topics {
    async fn open(&self, place: &str) -> Result<AttemptQueueRig, PortError> {
        let config = KafkaConfig {
            topic: place.to_owned(),
            partitions: 3,
            // The first batch to a new topic may take a second.
            publish_wait_ms: 10_000,
            ..KafkaConfig::new(self.0.brokers())
        };
        let garbage = Garbage(RawWriter::new(&config));
        let queue = KafkaAttemptQueue::new(config).unwrap();
        ready(&queue).await;
        Ok(AttemptQueueRig {
            queue: Arc::new(queue),
            garbage: Some(Arc::new(garbage)),
        })
    }

    fn durable(&self) -> bool {
        true
    }

    async fn together(&self, tasks: Vec<Task>) {
        let mut set = tokio::task::JoinSet::new();
        for task in tasks {
            set.spawn(task);
        }
        set.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_keeps_its_contract() {
    let report = testing::attempt_queue(&Topics(Kafka::start())).await;
    report.assert_passed();
    assert_eq!(report.skipped(), Vec::<&str>::new());
}
