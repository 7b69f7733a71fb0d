//! How far groups are, as others ask it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use flashsale_core::ports::{AttemptDecoder, AttemptQueue, QueuePosition};
use flashsale_kafka::{KafkaAttemptDecoder, KafkaAttemptQueue, KafkaConfig};
use flashsale_stack::Kafka;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use support::{PATIENCE, ids, logged, on, on_the_broker_of_all, queue, read_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_seen_at_once() {
    let queue = queue(&on_the_broker_of_all("seen-at-once")).await;
    let mut reader = queue.subscribe("seen-at-once").await.unwrap();
    for round in 0..30 {
        let attempts = logged(&queue, 3).await;
        let end = queue.end().await.unwrap();
        let left = queue.lag("seen-at-once", &end).await.unwrap();
        assert_eq!(left, 3, "round {round}");
        read_all(&mut *reader, &ids(&attempts)).await;
        reader.commit().await.unwrap();
        let left = queue.lag("seen-at-once", &end).await.unwrap();
        assert_eq!(left, 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_told_apart() {
    let queue = queue(&on_the_broker_of_all("told-apart")).await;
    let attempts = logged(&queue, 10).await;
    let end = queue.end().await.unwrap();
    let mut reader = queue.subscribe("told-apart-1").await.unwrap();
    read_all(&mut *reader, &ids(&attempts)).await;
    reader.commit().await.unwrap();
    for _ in 0..3 {
        for (group, lag) in [("told-apart-1", 0), ("told-apart-2", 10)] {
            assert_eq!(queue.lag(group, &end).await.unwrap(), lag, "{group}");
        }
    }
    for name in ["", "a\0b", &"a".repeat(250)] {
        let error = queue.lag(name, &end).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_before_the_start() {
    let queue = queue(&on_the_broker_of_all("start")).await;
    logged(&queue, 3).await;
    let start = QueuePosition::default();
    assert_eq!(queue.lag("start", &start).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_away_is_asked_again() {
    let mut kafka = Kafka::start();
    let config = KafkaConfig {
        // What is published again is there twice.
        publish_wait_ms: 10_000,
        ..on(&kafka, "asked-again")
    };
    let queue = queue(&config).await;
    logged(&queue, 1).await;
    let end = queue.end().await.unwrap();
    assert_eq!(queue.lag("workers", &end).await.unwrap(), 1);
    kafka.kill();
    let asked = Instant::now();
    let error = queue.lag("workers", &end).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    queue.end().await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(12));
    kafka.restart();
    let since = Instant::now();
    while queue.lag("workers", &end).await.ok() != Some(1) {
        assert!(since.elapsed() < PATIENCE, "it does not ask again");
    }
    let again = queue.end().await.unwrap();
    assert_eq!(offsets(&again), offsets(&end));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_decoded_once_more_from_its_bytes() {
    let config = on_the_broker_of_all("decoded-again");
    let queue: KafkaAttemptQueue = queue(&config).await;
    let attempts = logged(&queue, 1).await;
    let end: QueuePosition = queue.end().await.unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers);
    client.set("group.id", "decoded-again");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in offsets(&end).keys() {
        let added = partitions.add_partition_offset(&config.topic, *partition, Offset::Beginning);
        added.unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let message = consumer.poll(PATIENCE).unwrap().unwrap();
    let payload = message.payload().unwrap();
    assert_eq!(KafkaAttemptDecoder.decode(payload), Ok(attempts[0].clone()));
    let problem = KafkaAttemptDecoder.decode(&payload[1..]).unwrap_err();
    assert_eq!(problem.lines().count(), 1, "{problem}");
}

fn offsets(position: &QueuePosition) -> &BTreeMap<i32, i64> {
    position.get().expect("it is of Kafka")
}
