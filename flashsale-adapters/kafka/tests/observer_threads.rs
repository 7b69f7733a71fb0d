//! How many threads ask how far groups are. One test, because it counts those of the process.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Instant;

use flashsale_core::ports::AttemptQueue;
use tokio::task::JoinSet;

use support::{PATIENCE, logged, on_the_broker_of_all, queue};

/// How many threads of this process have this name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_share_one_observer_for_each_group_which_ends_with_the_queue() {
    let queue = queue(&on_the_broker_of_all("shared-observer")).await;
    logged(&queue, 5).await;
    assert_eq!(threads("kafka observer"), 0);
    let mark = queue.end().await.unwrap();
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(queue.lag("workers", &mark).await.unwrap(), 5);
    }
    println!("50 questions one by one took {:?}", began.elapsed());
    let mut together = JoinSet::new();
    for _ in 0..200 {
        let (queue, mark) = (queue.clone(), mark.clone());
        together.spawn(async move { queue.lag("workers", &mark).await });
    }
    let answers = together.join_all().await;
    assert!(answers.into_iter().all(|left| left.unwrap() == 5));
    println!("200 more at the same time took {:?}", began.elapsed());
    // One for the mark, which is about no group.
    assert_eq!(threads("kafka observer"), 2);

    drop(queue);
    let since = Instant::now();
    while threads("kafka observer") > 0 {
        assert!(since.elapsed() < PATIENCE, "an observer lives on");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
