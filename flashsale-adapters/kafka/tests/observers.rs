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
        let mark = queue.end().await.unwrap();
        let left = queue.lag("seen-at-once", &mark).await.unwrap();
        assert_eq!(left, 3, "round {round}");
        read_all(&mut *reader, &ids(&attempts)).await;
        reader.commit().await.unwrap();
        let left = queue.lag("seen-at-once", &mark).await.unwrap();
        assert_eq!(left, 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_groups_are_asked_about_and_not_one_more() {
    let queue = queue(&on_the_broker_of_all("many-groups")).await;
    let mark = queue.end().await.unwrap();
    // The mark was asked for by one of the 16.
    for number in 0..15 {
        let group = format!("many-groups-{number}");
        assert_eq!(queue.lag(&group, &mark).await.unwrap(), 0);
    }
    let error = queue.lag("many-groups-15", &mark).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(queue.lag("many-groups-3", &mark).await.unwrap(), 0);
    for name in ["", "a\0b", &"a".repeat(250)] {
        let error = queue.lag(name, &mark).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
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
    let mark = queue.end().await.unwrap();
    assert_eq!(queue.lag("workers", &mark).await.unwrap(), 1);
    kafka.kill();
    let asked = Instant::now();
    let error = queue.lag("workers", &mark).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    queue.end().await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(12));
    kafka.restart();
    let since = Instant::now();
    while queue.lag("workers", &mark).await.ok() != Some(1) {
        assert!(since.elapsed() < PATIENCE, "it does not ask again");
    }
    let again = queue.end().await.unwrap();
    assert_eq!(offsets(&again), offsets(&mark));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_decoded_once_more_from_its_bytes() {
    let config = on_the_broker_of_all("decoded-again");
    let queue: KafkaAttemptQueue = queue(&config).await;
    let attempts = logged(&queue, 1).await;
    let mark: QueuePosition = queue.end().await.unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers);
    client.set("group.id", "decoded-again");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in offsets(&mark).keys() {
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
