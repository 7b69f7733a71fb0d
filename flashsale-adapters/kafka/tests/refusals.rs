//! Brokers that say no.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use flashsale_core::ports::{AttemptQueue, HealthCheck, Published};
use flashsale_core::testing::{self, HealthChecks};
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use support::{
    PATIENCE, attempts, ids, logged_at_last, on_the_broker_of_all, queue, read_all, ready, remedy,
    why,
};

type Mock = MockCluster<'static, DefaultProducerContext>;

/// A broker that can be told to say no, with a topic.
fn mock() -> (Mock, KafkaConfig) {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("flashsale.attempts", 1, 1).unwrap();
    let config = KafkaConfig {
        // A group forms within 3 s there, and whoever has a shorter session is no member any more.
        session_ms: Some(6_000),
        ..KafkaConfig::new(cluster.bootstrap_servers())
    };
    (cluster, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_tried_again() {
    let (cluster, mut config) = mock();
    config.publish_wait_ms = 10_000;
    let queue = queue(&config).await;
    let again = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    cluster.request_errors(RDKafkaApiKey::Produce, &[again, again, again]);
    let published = queue.publish(&attempts(3)).await.unwrap();
    assert_eq!(published, [Published::Logged; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_may_not_be_seen_is_a_wrong_setting() {
    let (cluster, config) = mock();
    let forbidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.topic_error(&config.topic, forbidden).unwrap();
    let queue = KafkaAttemptQueue::new(config).unwrap();
    assert!(
        remedy(&queue)
            .await
            .contains("grant it DESCRIBE, READ and WRITE")
    );
    let published = queue.publish(&attempts(1)).await.unwrap();
    assert_eq!(published, [Published::Unconfirmed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_may_not_be_written_is_a_wrong_setting_until_it_may() {
    let (cluster, config) = mock();
    let queue = queue(&config).await;
    logged_at_last(&queue).await;
    let forbidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[forbidden]);
    let published = queue.publish(&attempts(1)).await.unwrap();
    assert_eq!(published, [Published::Unconfirmed]);
    assert!(
        remedy(&queue)
            .await
            .contains("grant it DESCRIBE, READ and WRITE")
    );
    logged_at_last(&queue).await;
    ready(&queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_cannot_go_on_is_replaced() {
    let (cluster, config) = mock();
    let forbidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[forbidden, forbidden]);
    let queue = KafkaAttemptQueue::new(config).unwrap();
    let asked = Instant::now();
    let published = queue.publish(&attempts(1)).await.unwrap();
    assert_eq!(published, [Published::Unconfirmed]);
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert!(remedy(&queue).await.contains("IDEMPOTENT_WRITE"));
    logged_at_last(&queue).await;
    ready(&queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_check_keeps_its_contract() {
    let config = on_the_broker_of_all("checked");
    let missing = KafkaAttemptQueue::new(KafkaConfig {
        topic: "not-checked".to_owned(),
        create_topic: false,
        ..config.clone()
    })
    .unwrap();
    // Until somebody has looked.
    remedy(&missing).await;
    let checks = HealthChecks {
        sound: Arc::new(queue(&config).await),
        away: Arc::new(KafkaAttemptQueue::new(KafkaConfig::new("127.0.0.1:1")).unwrap()),
        wrong: Arc::new(missing),
    };
    testing::health_check(&checks).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_topic_that_may_not_be_made_is_a_wrong_setting_until_somebody_makes_it() {
    let config = on_the_broker_of_all("made-by-another");
    let waiting = KafkaAttemptQueue::new(KafkaConfig {
        create_topic: false,
        publish_wait_ms: 250,
        ..config.clone()
    })
    .unwrap();
    let remedy = remedy(&waiting).await;
    assert!(
        remedy.contains("made-by-another does not exist: make it"),
        "{remedy}"
    );
    let published = waiting.publish(&attempts(1)).await.unwrap();
    assert_eq!(published, [Published::Unconfirmed]);
    let mut reader = waiting.subscribe("made-by-another").await.unwrap();
    assert_eq!(reader.poll(10, 50).await.unwrap(), []);

    queue(&config).await;
    ready(&waiting).await;
    let attempt = logged_at_last(&waiting).await;
    read_all(&mut *reader, &ids([&attempt])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_copies_than_brokers_wait_for_more_brokers() {
    let queue = KafkaAttemptQueue::new(KafkaConfig {
        replication: Some(3),
        ..on_the_broker_of_all("three-copies")
    })
    .unwrap();
    let since = Instant::now();
    loop {
        let error = queue.check().await.unwrap_err();
        // It stays a matter of time, also for a process that is about to start.
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let line = why(&error);
        if line.contains("1 brokers cannot keep 3 copies of it: start more brokers") {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{line}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_other_partitions_is_used_as_it_is() {
    let config = on_the_broker_of_all("of-three");
    queue(&config).await;
    let other = queue(&KafkaConfig {
        partitions: 5,
        ..config
    })
    .await;
    let attempt = logged_at_last(&other).await;
    let mut reader = other.subscribe("of-three").await.unwrap();
    read_all(&mut *reader, &ids([&attempt])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_have_names() {
    let queue = queue(&on_the_broker_of_all("groups")).await;
    for name in ["", "a\0b", &"a".repeat(250)] {
        let error = queue.subscribe(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    queue.subscribe(&"a".repeat(249)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_may_not_be_joined_is_a_wrong_setting_until_it_may() {
    let (cluster, config) = mock();
    let queue = queue(&config).await;
    let forbidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::JoinGroup, &[forbidden; 3]);
    let mut reader = queue.subscribe("workers").await.unwrap();
    assert!(remedy(&queue).await.contains("grant it READ on the group"));
    let attempt = logged_at_last(&queue).await;
    read_all(&mut *reader, &ids([&attempt])).await;
    let since = Instant::now();
    while let Err(error) = queue.check().await {
        assert!(since.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
