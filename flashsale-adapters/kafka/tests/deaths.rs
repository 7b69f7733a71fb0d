//! Readers that are killed, and those that they leave behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flashsale_core::ports::AttemptQueue;
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};

use support::{
    PATIENCE, came, ids, lag, logged, queue, read_all, read_until, spread_on_the_broker_of_all,
};

/// What the process that reads and dies is told: brokers, topic and, unless it is the usual one,
/// session.
const CHILD: &str = "FLASHSALE_TEST_CHILD";

/// Not a test by itself: the process that reads and dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_reads_and_commits_nothing() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let told: Vec<_> = told.split(' ').collect();
    let config = KafkaConfig {
        topic: told[1].to_owned(),
        session_ms: told[2].parse().ok(),
        ..KafkaConfig::new(told[0])
    };
    let queue = KafkaAttemptQueue::new(config.clone()).unwrap();
    let mut reader = queue.subscribe(&config.topic).await.unwrap();
    read_until(&mut *reader, |items| !items.is_empty()).await;
    println!("\nhas read");
    // Until it is killed, or its parent is no more.
    while std::os::unix::process::parent_id() != 1 {
        let _ = reader.poll(1_024, 100).await;
    }
}

/// A process that reads and commits nothing. It is killed.
struct Reader(Child);

impl Reader {
    /// Starts one and waits until it has read something.
    async fn start(config: &KafkaConfig) -> Self {
        let session = config.session_ms.map(|session| session.to_string());
        let session = session.unwrap_or_default();
        let KafkaConfig { brokers, topic, .. } = config;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "child_that_reads_and_commits_nothing",
                "--nocapture",
            ])
            .env(CHILD, format!("{brokers} {topic} {session}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = Self(child);
        let has_read = tokio::task::spawn_blocking(|| {
            let mut lines = lines.map_while(Result::ok);
            lines.any(|line| line == "has read")
        });
        let has_read = tokio::time::timeout(PATIENCE, has_read).await;
        assert!(has_read.unwrap().unwrap());
        reader
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With the sessions that are asked for if nothing is said.
fn usual(topic: &str) -> KafkaConfig {
    KafkaConfig {
        session_ms: None,
        ..spread_on_the_broker_of_all(topic)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_reader_had_comes_to_one_that_is_there() {
    let config = usual("inherited");
    let queue = queue(&config).await;
    let all = ids(&logged(&queue, 300).await);
    let mut dead = Reader::start(&config).await;
    let mut heir = queue.subscribe("inherited").await.unwrap();
    read_until(&mut *heir, |items| !items.is_empty()).await;
    heir.rewind().await.unwrap();
    dead.kill();
    let since = Instant::now();
    read_all(&mut *heir, &all).await;
    println!("an heir has all after {:?}", since.elapsed());
    heir.commit().await.unwrap();
    assert_eq!(lag(&queue, "inherited").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_reader_had_comes_to_its_successor() {
    let config = usual("succeeded");
    let queue = queue(&config).await;
    let all = ids(&logged(&queue, 300).await);
    Reader::start(&config).await.kill();
    let since = Instant::now();
    let mut successor = queue.subscribe("succeeded").await.unwrap();
    read_all(&mut *successor, &all).await;
    println!("a successor has all after {:?}", since.elapsed());
    successor.commit().await.unwrap();
    assert_eq!(lag(&queue, "succeeded").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_had_who_die_shortly_after_each_other_comes_to_the_third() {
    let config = usual("two-die");
    let queue = queue(&config).await;
    let all = ids(&logged(&queue, 300).await);
    let mut first = Reader::start(&config).await;
    let mut second = Reader::start(&config).await;
    let mut heir = queue.subscribe("two-die").await.unwrap();
    first.kill();
    // The other one dies within the session of the first, when the group already waits for it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.kill();
    let since = Instant::now();
    read_all(&mut *heir, &all).await;
    println!("the third has all after {:?}", since.elapsed());
    heir.commit().await.unwrap();
    assert_eq!(lag(&queue, "two-die").await, 0);
}

/// The group rebalances, since somebody joins it, and cannot before the session of the dead one is
/// over. The others are done long before that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_reader_keeps_the_others_from_nothing() {
    const ROUNDS: usize = 40;
    let config = KafkaConfig {
        session_ms: Some(30_000),
        // If every commit waited for so long, the session would be over before the last of them.
        commit_wait_ms: 4_000,
        ..spread_on_the_broker_of_all("undisturbed")
    };
    let queue = queue(&config).await;
    let mut all = ids(&logged(&queue, 300).await);
    let mut dead = Reader::start(&config).await;
    let mut living = queue.subscribe("undisturbed").await.unwrap();
    let items = read_until(&mut *living, |items| !items.is_empty()).await;
    let mut done: HashSet<_> = came(&items).into_iter().collect();
    living.commit().await.unwrap();
    dead.kill();
    let mut newcomer = queue.subscribe("undisturbed").await.unwrap();
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        // Some go to each partition, more or less.
        all.extend(ids(&logged(&queue, 30).await));
        let items = read_until(&mut *living, |items| !items.is_empty()).await;
        done.extend(came(&items));
        let since = Instant::now();
        living.commit().await.unwrap();
        slowest = slowest.max(since.elapsed());
        let items = newcomer.poll(1, 20).await.unwrap();
        assert_eq!(items, [], "the session is over in round {round}");
    }
    println!("the slowest of {ROUNDS} commits took {slowest:?}");
    // What was read meanwhile is committed, now or when the group has its new order.
    let since = Instant::now();
    while lag(&queue, "undisturbed").await > 0 {
        assert!(since.elapsed() < PATIENCE, "{} are done", done.len());
        for reader in [&mut living, &mut newcomer] {
            done.extend(came(&reader.poll(1_024, 20).await.unwrap()));
            reader.commit().await.unwrap();
        }
    }
    assert_eq!(all.difference(&done).count(), 0, "attempts are passed over");
}
