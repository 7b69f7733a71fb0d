//! Readers that are killed, and those that they leave behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flashsale_core::ports::AttemptQueue;
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};

use support::{PATIENCE, came, ids, logged, on_the_broker_of_all, queue, read_all, read_until};

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
        ..on_the_broker_of_all(topic)
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
    assert_eq!(queue.group_lag("inherited").await.unwrap(), 0);
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
    assert_eq!(queue.group_lag("succeeded").await.unwrap(), 0);
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
    assert_eq!(queue.group_lag("two-die").await.unwrap(), 0);
}

/// The group is finding a new order, since somebody joins it, and cannot before the session of the
/// dead one is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_reader_keeps_the_others_from_nothing() {
    const STEPS: usize = 60;
    let config = KafkaConfig {
        session_ms: Some(45_000),
        commit_wait_ms: 250,
        ..on_the_broker_of_all("undisturbed")
    };
    let queue = queue(&config).await;
    logged(&queue, 300).await;
    let mut dead = Reader::start(&config).await;
    let mut living = queue.subscribe("undisturbed").await.unwrap();
    read_until(&mut *living, |items| !items.is_empty()).await;
    living.commit().await.unwrap();
    dead.kill();
    let mut newcomer = queue.subscribe("undisturbed").await.unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..STEPS {
        // One goes to each partition, more or less.
        logged(&queue, 30).await;
        read_until(&mut *living, |items| !items.is_empty()).await;
        let since = Instant::now();
        living.commit().await.unwrap();
        slowest = slowest.max(since.elapsed());
        assert_eq!(came(&newcomer.poll(1, 20).await.unwrap()), []);
    }
    println!("the slowest of {STEPS} commits took {slowest:?}");
}
