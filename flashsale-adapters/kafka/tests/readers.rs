//! Readers that come and go, idle, and meet garbage.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use flashsale_core::domain::AttemptId;
use flashsale_core::ports::{AttemptQueue, AttemptReader, Delivery};
use flashsale_kafka::KafkaConfig;

use support::{
    PATIENCE, RawWriter, came, ids, lag, logged, queue, read_all, read_until,
    spread_on_the_broker_of_all,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_does_not_block_what_comes_after_it() {
    let config = KafkaConfig {
        partitions: 1,
        ..spread_on_the_broker_of_all("garbage")
    };
    let queue = queue(&config).await;
    let first = logged(&queue, 1).await;
    RawWriter::new(&config).put(b"\xff not json").await;
    let second = logged(&queue, 1).await;
    assert_eq!(lag(&queue, "garbage").await, 3);

    let mut reader = queue.subscribe("garbage").await.unwrap();
    let items = read_until(&mut *reader, |items| items.len() == 3).await;
    assert_eq!(items[0], Delivery::Attempt(first[0].clone()));
    let Delivery::Undecodable(garbage) = &items[1] else {
        panic!("{:?}", items[1]);
    };
    assert_eq!(garbage.position, "garbage/0/1");
    assert_eq!(garbage.payload, b"\xff not json");
    assert_eq!(items[2], Delivery::Attempt(second[0].clone()));
    assert_eq!(lag(&queue, "garbage").await, 3);
    reader.commit().await.unwrap();
    assert_eq!(lag(&queue, "garbage").await, 0);
}

/// What is fetched ahead is little, so that the partitions are paused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_nobody_polls_stays_in_its_group() {
    let config = KafkaConfig {
        buffer_max: 100,
        ..spread_on_the_broker_of_all("idle")
    };
    let queue = queue(&config).await;
    let mut reader = queue.subscribe("idle").await.unwrap();
    let all = ids(&logged(&queue, 5_000).await);
    read_until(&mut *reader, |items| !items.is_empty()).await;
    tokio::time::sleep(2 * Duration::from_millis(config.session_ms.unwrap())).await;

    reader.rewind().await.unwrap();
    let mut other = queue.subscribe("idle").await.unwrap();
    assert_eq!(other.poll(1, 0).await.unwrap(), []);
    drop(other);
    read_all(&mut *reader, &all).await;
    reader.commit().await.unwrap();
    assert_eq!(lag(&queue, "idle").await, 0);
}

/// Reads and commits, or goes back, until it is stopped; notes what it has committed.
async fn work(
    mut reader: Box<dyn AttemptReader>,
    done: Arc<Mutex<HashSet<AttemptId>>>,
    stop: impl Fn() -> bool,
) {
    for step in 0.. {
        let items = reader.poll(7, 20).await.unwrap();
        if stop() {
            return;
        }
        if step % 5 == 4 {
            reader.rewind().await.unwrap();
            continue;
        }
        // Decided: from here on it may be committed, by nobody else.
        done.lock().unwrap().extend(came(&items));
        reader.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_passed_over_while_readers_come_and_go() {
    let queue = queue(&spread_on_the_broker_of_all("coming-and-going")).await;
    let done = Arc::new(Mutex::new(HashSet::new()));
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    let reader = queue.subscribe("coming-and-going").await.unwrap();
    let steady = Arc::clone(&over);
    tasks.spawn(work(reader, Arc::clone(&done), move || {
        steady.load(Ordering::Acquire)
    }));
    let mut all = HashSet::new();
    for _ in 0..8 {
        all.extend(ids(&logged(&queue, 300).await));
        let reader = queue.subscribe("coming-and-going").await.unwrap();
        let end = Instant::now() + Duration::from_millis(400);
        tasks.spawn(work(reader, Arc::clone(&done), move || {
            Instant::now() > end
        }));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let since = Instant::now();
    // What the group has passed is done, at any time.
    while lag(&queue, "coming-and-going").await > 0 {
        assert!(
            since.elapsed() < PATIENCE,
            "{} are done",
            done.lock().unwrap().len()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let missing = all.difference(&done.lock().unwrap()).count();
    assert_eq!(missing, 0, "attempts are passed over");
    over.store(true, Ordering::Release);
    while let Some(worked) = tasks.join_next().await {
        worked.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_polled_before_a_rebalance_comes_again_after_a_rewind() {
    let queue = queue(&spread_on_the_broker_of_all("rewound")).await;
    let all = ids(&logged(&queue, 300).await);
    let mut first = queue.subscribe("rewound").await.unwrap();
    read_all(&mut *first, &all).await;
    let mut second = queue.subscribe("rewound").await.unwrap();
    // It gets something as soon as it gets partitions.
    let mut came_again: HashSet<_> = {
        let items = read_until(&mut *second, |items| !items.is_empty()).await;
        came(&items).into_iter().collect()
    };
    first.rewind().await.unwrap();
    let since = Instant::now();
    while came_again.len() < all.len() {
        assert!(
            since.elapsed() < PATIENCE,
            "{} came again",
            came_again.len()
        );
        for reader in [&mut first, &mut second] {
            let items = reader.poll(1_024, 20).await.unwrap();
            came_again.extend(came(&items));
        }
    }
    // Each commits its own, and both commits hold.
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(lag(&queue, "rewound").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_queue_has_left_its_groups() {
    let config = KafkaConfig {
        session_ms: Some(60_000),
        ..spread_on_the_broker_of_all("closed")
    };
    let (closing, staying) = (queue(&config).await, queue(&config).await);
    let all = ids(&logged(&closing, 30).await);
    let mut reader = closing.subscribe("closed").await.unwrap();
    read_all(&mut *reader, &all).await;
    closing.close(PATIENCE).await;

    for error in [
        reader.poll(1, 10).await.unwrap_err(),
        reader.rewind().await.unwrap_err(),
        closing.subscribe("closed").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
    }
    // What it had is another's.
    reader.commit().await.unwrap();
    let mut heir = staying.subscribe("closed").await.unwrap();
    let since = Instant::now();
    read_all(&mut *heir, &all).await;
    assert!(
        since.elapsed() < Duration::from_secs(15),
        "{:?}",
        since.elapsed()
    );
}

/// It has not to be dead for its session first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reader_had_that_ends_comes_to_another_at_once() {
    let config = KafkaConfig {
        session_ms: Some(120_000),
        ..spread_on_the_broker_of_all("handed-over")
    };
    let queue = queue(&config).await;
    let all = ids(&logged(&queue, 300).await);
    let mut heir = queue.subscribe("handed-over").await.unwrap();
    for _ in 0..5 {
        let mut ending = queue.subscribe("handed-over").await.unwrap();
        read_until(&mut *ending, |items| !items.is_empty()).await;
        heir.rewind().await.unwrap();
        drop(ending);
        let since = Instant::now();
        read_all(&mut *heir, &all).await;
        println!("the other has all after {:?}", since.elapsed());
    }
    heir.commit().await.unwrap();
    assert_eq!(lag(&queue, "handed-over").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_much_may_be_polled_and_not_committed() {
    let queue = queue(&spread_on_the_broker_of_all("uncommitted")).await;
    const MAX: usize = 65_536;
    logged(&queue, MAX + 1).await;
    let mut reader = queue.subscribe("uncommitted").await.unwrap();
    let mut polled = 0;
    let since = Instant::now();
    while polled < MAX {
        assert!(since.elapsed() < PATIENCE, "{polled} came");
        polled += reader
            .poll((MAX - polled).min(1_024), 100)
            .await
            .unwrap()
            .len();
    }
    let since = Instant::now();
    let error = loop {
        match reader.poll(1, 100).await {
            Ok(none) => assert_eq!(none, []),
            Err(error) => break error,
        }
        assert!(since.elapsed() < PATIENCE, "it goes on");
    };
    assert_eq!(error.kind(), ErrorKind::Busy);
    reader.commit().await.unwrap();
    read_until(&mut *reader, |items| items.len() == 1).await;
}
