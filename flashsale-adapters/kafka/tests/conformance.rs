//! The queue keeps the contract of its port, on a real broker.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::testing::{self, AttemptQueueRig, Fixture, GarbageSource, Task};
use flashsale_kafka::KafkaAttemptDecoder;

use support::{RawWriter, on_the_broker_of_all, queue};

/// Places are topics of one broker.
#[derive(Debug)]
struct Topics;

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
        let config = on_the_broker_of_all(place);
        Ok(AttemptQueueRig {
            queue: Arc::new(queue(&config).await),
            garbage: Some(Arc::new(Garbage(RawWriter::new(&config)))),
            decoder: Some(Arc::new(KafkaAttemptDecoder)),
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
    let report = testing::attempt_queue(&Topics).await;
    report.assert_passed();
    assert_eq!(report.skipped(), Vec::<&str>::new());
}
