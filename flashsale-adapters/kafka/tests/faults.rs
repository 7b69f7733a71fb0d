//! Brokers that are away, frozen, killed, or that refuse us.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use flashsale_core::domain::AttemptId;
use flashsale_core::ports::{AttemptQueue, Delivery, HealthCheck, Published};
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
use flashsale_stack::Kafka;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use support::{PATIENCE, RawWriter, attempts, read_until, ready};

/// The wait of the queue, and what a busy machine adds.
const ANSWER_MAX: Duration = Duration::from_millis(250 + 1_500);

fn config(kafka: &Kafka, topic: &str) -> KafkaConfig {
    KafkaConfig {
        topic: topic.to_owned(),
        partitions: 3,
        ..KafkaConfig::new(kafka.brokers())
    }
}

fn ids(deliveries: &[Delivery]) -> HashSet<AttemptId> {
    deliveries
        .iter()
        .filter_map(|delivery| match delivery {
            Delivery::Attempt(attempt) => Some(attempt.id),
            Delivery::Undecodable(_) => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_late_keeps_nobody_waiting() {
    let mut kafka = Kafka::reserve();
    let queue = KafkaAttemptQueue::new(config(&kafka, "late")).unwrap();
    let mut reader = queue.subscribe("workers").await.unwrap();
    let all = attempts(0..50);
    let since = Instant::now();
    for attempt in &all {
        let asked = Instant::now();
        let published = queue.publish(std::slice::from_ref(attempt)).await.unwrap();
        assert_eq!(published, [Published::Unconfirmed]);
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
    }
    // One call finds out that nobody is there; the others do not wait.
    assert!(
        since.elapsed() < Duration::from_secs(25),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(
        queue.check().await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(reader.poll(10, 50).await.unwrap(), []);

    kafka.start_now();
    ready(&queue).await;
    let since = Instant::now();
    while queue
        .publish(&all)
        .await
        .unwrap()
        .contains(&Published::Unconfirmed)
    {
        assert!(since.elapsed() < PATIENCE, "never logged");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let wanted: HashSet<_> = all.iter().map(|attempt| attempt.id).collect();
    read_until(&mut *reader, |came| ids(came).is_superset(&wanted)).await;
}

/// Publishes all the time while something happens to the broker; whatever was logged has to come
/// out, and every answer in time.
async fn logged_through(happens: impl FnOnce(&mut Kafka) + Send + 'static, topic: &str) {
    let mut kafka = Kafka::start();
    let queue = KafkaAttemptQueue::new(config(&kafka, topic)).unwrap();
    ready(&queue).await;
    let happening = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(500));
        happens(&mut kafka);
        kafka
    });
    let mut logged = HashSet::new();
    let mut next = 0;
    let since = Instant::now();
    let mut after = 0;
    // Until a good while after it was over.
    while after < 100 {
        assert!(since.elapsed() < PATIENCE, "nothing is logged any more");
        let batch = attempts(next..next + 5);
        next += 5;
        let asked = Instant::now();
        let published = queue.publish(&batch).await.unwrap();
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
        let confirmed = batch.iter().zip(&published);
        let confirmed = confirmed.filter(|(_, published)| **published == Published::Logged);
        let before = logged.len();
        logged.extend(confirmed.map(|(attempt, _)| attempt.id));
        if happening.is_finished() && logged.len() > before {
            after += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _kafka = happening.await.unwrap();
    let mut reader = queue.subscribe("workers").await.unwrap();
    read_until(&mut *reader, |came| ids(came).is_superset(&logged)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_logged_is_lost_when_the_broker_is_killed() {
    let happens = |kafka: &mut Kafka| {
        kafka.kill();
        kafka.restart();
    };
    logged_through(happens, "killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_logged_is_lost_when_the_broker_freezes() {
    let happens = |kafka: &mut Kafka| {
        kafka.freeze();
        std::thread::sleep(Duration::from_secs(2));
        kafka.thaw();
    };
    logged_through(happens, "frozen").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_does_not_block_what_comes_after_it() {
    let kafka = Kafka::start();
    let config = KafkaConfig {
        partitions: 1,
        publish_wait_ms: 10_000,
        ..config(&kafka, "garbage")
    };
    let writer = RawWriter::new(&config);
    let queue = KafkaAttemptQueue::new(config).unwrap();
    ready(&queue).await;
    let (first, second) = (attempts(0..1), attempts(1..2));
    queue.publish(&first).await.unwrap();
    writer.put(b"\xff not json").await;
    queue.publish(&second).await.unwrap();
    let mut reader = queue.subscribe("workers").await.unwrap();
    let came = read_until(&mut *reader, |came| came.len() == 3).await;
    assert_eq!(came[0], Delivery::Attempt(first[0].clone()));
    let Delivery::Undecodable(garbage) = &came[1] else {
        panic!("{:?}", came[1]);
    };
    assert_eq!(
        (garbage.position.as_str(), &*garbage.payload),
        ("garbage/0/1", &b"\xff not json"[..])
    );
    assert_eq!(came[2], Delivery::Attempt(second[0].clone()));
    assert_eq!(queue.lag("workers").await.unwrap(), 3);
    reader.commit().await.unwrap();
    assert_eq!(queue.lag("workers").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_nobody_polls_stays_in_its_group() {
    let kafka = Kafka::start();
    let config = KafkaConfig {
        session_ms: 1_000,
        publish_wait_ms: 10_000,
        ..config(&kafka, "idle")
    };
    let queue = KafkaAttemptQueue::new(config).unwrap();
    ready(&queue).await;
    let mut reader = queue.subscribe("workers").await.unwrap();
    let all = attempts(0..1_000);
    queue.publish(&all).await.unwrap();
    read_until(&mut *reader, |came| !came.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Still a member: what it has not committed comes to it again, and it may commit.
    reader.rewind().await.unwrap();
    let wanted: HashSet<_> = all.iter().map(|attempt| attempt.id).collect();
    read_until(&mut *reader, |came| ids(came) == wanted).await;
    reader.commit().await.unwrap();
    assert_eq!(queue.lag("workers").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_broker_are_tried_again() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("flashsale.attempts", 1, 1).unwrap();
    let config = KafkaConfig {
        publish_wait_ms: 10_000,
        ..KafkaConfig::new(cluster.bootstrap_servers())
    };
    let queue = KafkaAttemptQueue::new(config).unwrap();
    ready(&queue).await;
    let again = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    cluster.request_errors(RDKafkaApiKey::Produce, &[again, again, again]);
    let published = queue.publish(&attempts(0..3)).await.unwrap();
    assert_eq!(published, [Published::Logged; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_refused_is_a_wrong_setting() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("flashsale.attempts", 1, 1).unwrap();
    let forbidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster
        .topic_error("flashsale.attempts", forbidden)
        .unwrap();
    let queue = KafkaAttemptQueue::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
    let since = Instant::now();
    loop {
        let error = queue.check().await.unwrap_err();
        if error.kind() == ErrorKind::Misconfigured {
            let remedy = std::error::Error::source(&error).unwrap().to_string();
            assert!(remedy.contains("rights"), "{remedy}");
            assert_eq!(remedy.lines().count(), 1);
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_cannot_be_made_is_a_wrong_setting_until_somebody_makes_it() {
    let kafka = Kafka::start();
    let impossible = KafkaConfig {
        replication: Some(3),
        ..config(&kafka, "missing")
    };
    let queue = KafkaAttemptQueue::new(impossible).unwrap();
    let since = Instant::now();
    loop {
        let error = queue.check().await.unwrap_err();
        if error.kind() == ErrorKind::Misconfigured {
            let remedy = std::error::Error::source(&error).unwrap().to_string();
            assert!(remedy.contains("missing does not exist"), "{remedy}");
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let published = queue.publish(&attempts(0..1)).await.unwrap();
    assert_eq!(published, [Published::Unconfirmed]);
    let mut reader = queue.subscribe("workers").await.unwrap();

    let other = KafkaAttemptQueue::new(config(&kafka, "missing")).unwrap();
    ready(&other).await;
    ready(&queue).await;
    let since = Instant::now();
    while queue.publish(&attempts(1..2)).await.unwrap() == [Published::Unconfirmed] {
        assert!(since.elapsed() < PATIENCE, "never logged");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    read_until(&mut *reader, |came| {
        ids(came).contains(&attempts(1..2)[0].id)
    })
    .await;
}
