//! Which partitions attempts go to.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use flashsale_core::domain::Attempt;
use flashsale_core::ports::{AttemptQueue, Published};
use flashsale_kafka::{KafkaConfig, PartitionBy};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use support::{
    PATIENCE, attempts, ids, lag, logged, logged_at_last, on_the_broker_of_all, queue, read_all,
};

/// The partition of each key on a topic of so many partitions, when all of these have come.
fn partitions(config: &KafkaConfig, count: i32, keys: &[&str]) -> HashMap<String, i32> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("group.id", "a look")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..count {
        all.add_partition_offset(&config.topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut found = HashMap::new();
    let since = Instant::now();
    while !keys.iter().all(|key| found.contains_key(*key)) {
        assert!(since.elapsed() < PATIENCE, "only {} came", found.len());
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            found.insert(key, message.partition());
        }
    }
    found
}

fn users(attempts: &[Attempt]) -> Vec<&str> {
    attempts
        .iter()
        .map(|attempt| attempt.user.as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_keeps_together_and_the_next_goes_to_the_next_partition() {
    let config = KafkaConfig {
        partitions: 4,
        ..on_the_broker_of_all("by-batch")
    };
    let queue = queue(&config).await;
    let batches: Vec<_> = (0..4).map(|_| attempts(50)).collect();
    for batch in &batches {
        let published = queue.publish(batch).await.unwrap();
        assert_eq!(published, [Published::Logged; 50]);
    }
    let keys: Vec<_> = batches.iter().flat_map(|batch| users(batch)).collect();
    let found = tokio::task::block_in_place(|| partitions(&config, 4, &keys));
    let of_batch = |batch: &Vec<Attempt>| -> HashSet<i32> {
        users(batch).into_iter().map(|user| found[user]).collect()
    };
    let chosen: Vec<_> = batches.iter().map(of_batch).collect();
    assert!(chosen.iter().all(|batch| batch.len() == 1), "{chosen:?}");
    let all: HashSet<_> = chosen.into_iter().flatten().collect();
    assert_eq!(all, HashSet::from([0, 1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_come_together_are_one_batch() {
    let config = KafkaConfig {
        partitions: 4,
        ..on_the_broker_of_all("together")
    };
    let queue = queue(&config).await;
    let attempts = attempts(200);
    // Polled in one task, they all have come before anything can be handed over.
    let mut calls: Vec<_> = attempts
        .iter()
        .map(|attempt| queue.publish(std::slice::from_ref(attempt)))
        .collect();
    let mut published = vec![None; calls.len()];
    std::future::poll_fn(|context| {
        for (call, published) in calls.iter_mut().zip(&mut published) {
            if published.is_none()
                && let std::task::Poll::Ready(done) = call.as_mut().poll(context)
            {
                *published = Some(done.unwrap());
            }
        }
        match published.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    let logged = published.iter().flatten().flatten();
    assert!(logged.eq([Published::Logged; 200].iter()));
    let found = tokio::task::block_in_place(|| partitions(&config, 4, &users(&attempts)));
    // Another thread may have begun before the last had come.
    let chosen: HashSet<_> = found.values().collect();
    assert!(chosen.len() <= 2, "{chosen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_decides_if_that_is_wanted() {
    let config = KafkaConfig {
        partitions: 4,
        partition_by: PartitionBy::User,
        ..on_the_broker_of_all("by-user")
    };
    let queue = queue(&config).await;
    // Where `org.apache.kafka.common.utils.Utils.murmur2` of Java clients puts these among four.
    const JAVA: [(&str, i32); 4] = [("1", 3), ("42", 0), ("4711", 2), ("user-7", 0)];
    let mut batch = attempts(JAVA.len());
    for (attempt, (user, _)) in batch.iter_mut().zip(JAVA) {
        attempt.user = flashsale_core::domain::UserId::new(user).unwrap();
    }
    let published = queue.publish(&batch).await.unwrap();
    assert_eq!(published, [Published::Logged; 4]);
    let found = tokio::task::block_in_place(|| partitions(&config, 4, &users(&batch)));
    let java = JAVA.map(|(user, partition)| (user.to_owned(), partition));
    assert_eq!(found, HashMap::from(java));
}

/// Half of the partitions have a broker that is away. Each of them keeps one batch at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_do_not_answer_are_left_and_tried_again() {
    const TOPIC: &str = "flashsale.attempts";
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic(TOPIC, 4, 1).unwrap();
    for partition in 0..4 {
        let leader = 1 + partition % 2;
        cluster
            .partition_leader(TOPIC, partition, Some(leader))
            .unwrap();
    }
    let config = KafkaConfig::new(cluster.bootstrap_servers());
    let queue = queue(&config).await;
    logged_at_last(&queue).await;

    cluster.broker_down(2).unwrap();
    let mut unconfirmed = Vec::new();
    let since = Instant::now();
    let mut in_a_row = 0;
    while in_a_row < 200 {
        assert!(
            since.elapsed() < PATIENCE,
            "{} are unconfirmed",
            unconfirmed.len()
        );
        let batch = attempts(1);
        match queue.publish(&batch).await.unwrap()[..] {
            [Published::Logged] => in_a_row += 1,
            _ => {
                in_a_row = 0;
                tokio::time::sleep(Duration::from_millis(5)).await;
                unconfirmed.extend(batch);
            }
        }
    }

    cluster.broker_up(2).unwrap();
    // What they have kept goes there by itself, and what comes now goes to all again.
    assert!(queue.flush(PATIENCE).await);
    let after = attempts(8);
    for attempt in &after {
        let published = queue.publish(std::slice::from_ref(attempt)).await.unwrap();
        assert_eq!(published, [Published::Logged]);
    }
    let found = tokio::task::block_in_place(|| partitions(&config, 4, &users(&after)));
    let chosen: HashSet<_> = found.into_values().collect();
    assert_eq!(chosen, HashSet::from([0, 1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_are_written_and_read() {
    let config = KafkaConfig {
        partitions: 2,
        ..on_the_broker_of_all("grows")
    };
    let queue = queue(&config).await;
    let mut reader = queue.subscribe("grows").await.unwrap();
    let before = logged(&queue, 10).await;
    read_all(&mut *reader, &ids(&before)).await;
    reader.commit().await.unwrap();

    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers);
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let four = NewPartitions::new(&config.topic, 4);
    let made = admin.create_partitions([&four], &AdminOptions::new()).await;
    made.unwrap().remove(0).unwrap();

    let mut after = Vec::new();
    let since = Instant::now();
    loop {
        after.push(logged_at_last(&queue).await);
        let found = tokio::task::block_in_place(|| partitions(&config, 4, &users(&after)));
        if found.values().any(|partition| *partition >= 2) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "new ones are not written");
    }
    // What came before the reader knew of a partition is not passed over.
    read_all(&mut *reader, &ids(&after)).await;
    reader.commit().await.unwrap();
    assert_eq!(lag(&queue, "grows").await, 0);
}
