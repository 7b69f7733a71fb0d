//! Brokers that grant no short sessions, as brokers do by default.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use flashsale_core::ports::{AttemptQueue, HealthCheck};
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
use flashsale_stack::Kafka;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use support::{PATIENCE, ids, lag, logged_at_last, on, queue, read_all, ready, remedy};

/// Counts the lines about sessions, and those about brokers that cannot be used.
struct Counter;

static SESSIONS: AtomicUsize = AtomicUsize::new(0);
static UNUSABLE: AtomicUsize = AtomicUsize::new(0);

impl Visit for Counter {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let line = format!("{value:?}");
            let counted = |part: &str| usize::from(line.contains(part));
            SESSIONS.fetch_add(counted("group.min.session.timeout.ms"), Ordering::Relaxed);
            UNUSABLE.fetch_add(counted("cannot be used"), Ordering::Relaxed);
        }
    }
}

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Counter);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_as_short_as_the_brokers_grant_unless_they_were_chosen() {
    tracing::subscriber::set_global_default(Counter).unwrap();
    let kafka = Kafka::with_long_sessions();
    let config = KafkaConfig {
        publish_wait_ms: 10_000,
        commit_wait_ms: 10_000,
        ..on(&kafka, "long")
    };
    let usual = queue(&config).await;
    let said = UNUSABLE.load(Ordering::Relaxed);
    let attempt = logged_at_last(&usual).await;
    let since = Instant::now();
    for group in ["first", "second"] {
        let mut reader = usual.subscribe(group).await.unwrap();
        read_all(&mut *reader, &ids([&attempt])).await;
        usual.check().await.unwrap();
        reader.commit().await.unwrap();
        assert_eq!(lag(&usual, group).await, 0);
    }
    println!("two readers have read after {:?}", since.elapsed());
    assert!(since.elapsed() < PATIENCE);
    assert_eq!(SESSIONS.load(Ordering::Relaxed), 1, "it is said once");
    assert_eq!(UNUSABLE.load(Ordering::Relaxed), said, "nothing is wrong");

    let chosen = KafkaAttemptQueue::new(KafkaConfig {
        session_ms: Some(2_000),
        ..config
    })
    .unwrap();
    ready(&chosen).await;
    let _reader = chosen.subscribe("third").await.unwrap();
    assert!(remedy(&chosen).await.contains("Kafka refuses session_ms"));
}
