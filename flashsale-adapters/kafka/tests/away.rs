//! Brokers that never come.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use flashsale_core::ports::{AttemptQueue, HealthCheck, Published};
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use support::attempts;

/// Counts what an operator would see.
struct Counter;

static SEEN: AtomicUsize = AtomicUsize::new(0);

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A port that nobody listens on.
fn nowhere() -> KafkaConfig {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    KafkaConfig::new(listener.local_addr().unwrap().to_string())
}

#[tokio::test]
async fn brokers_that_are_away_are_told_of_once_and_keep_nobody_from_ending() {
    tracing::subscriber::set_global_default(Counter).unwrap();
    let queue = KafkaAttemptQueue::new(nowhere()).unwrap();
    let mut reader = queue.subscribe("workers").await.unwrap();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        let published = queue.publish(&attempts(10)).await.unwrap();
        assert_eq!(published, [Published::Unconfirmed; 10]);
        assert_eq!(reader.poll(10, 1).await.unwrap(), []);
        reader.commit().await.unwrap();
    }
    for question in [queue.check().await, queue.end().await.map(|_| ())] {
        assert_eq!(question.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    // That attempts are unconfirmed, and that Kafka cannot be used.
    let seen = SEEN.load(Ordering::Relaxed);
    assert!((1..=2).contains(&seen), "{seen} lines");

    let since = Instant::now();
    queue.close(Duration::from_millis(100)).await;
    assert!(
        since.elapsed() < Duration::from_millis(500),
        "{:?}",
        since.elapsed()
    );
    let since = Instant::now();
    drop((reader, queue));
    assert!(
        since.elapsed() < Duration::from_millis(100),
        "{:?}",
        since.elapsed()
    );
}
