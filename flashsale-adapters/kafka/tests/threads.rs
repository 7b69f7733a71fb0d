//! The threads of a queue. One test, because it counts those of the process.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use flashsale_core::ports::AttemptQueue;
use tokio::task::JoinSet;

use support::{PATIENCE, ids, logged, on_the_broker_of_all, queue, read_all};

/// How many threads of this process have a name that begins like this.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|found| found.trim().starts_with(name)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_thread_asks_for_offsets_and_all_end_with_the_queue() {
    let queue = queue(&on_the_broker_of_all("threads")).await;
    let attempts = logged(&queue, 5).await;
    let end = queue.end().await.unwrap();
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(queue.lag("threads", &end).await.unwrap(), 5);
    }
    println!("50 questions one by one took {:?}", began.elapsed());
    let mut together = JoinSet::new();
    for _ in 0..200 {
        let (queue, end) = (queue.clone(), end.clone());
        together.spawn(async move { queue.lag("threads", &end).await });
    }
    let answers = together.join_all().await;
    assert!(answers.into_iter().all(|left| left.unwrap() == 5));
    println!("200 more at the same time took {:?}", began.elapsed());
    assert_eq!(threads("kafka offsets"), 1);

    let mut reader = queue.subscribe("threads").await.unwrap();
    read_all(&mut *reader, &ids(&attempts)).await;
    drop((reader, queue));
    let since = Instant::now();
    // Those of librdkafka are named rdk.
    while threads("kafka") + threads("rdk") > 0 {
        assert!(since.elapsed() < PATIENCE, "a thread lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
