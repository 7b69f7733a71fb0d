//! Brokers that are away, killed or frozen.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use flashsale_core::domain::AttemptId;
use flashsale_core::ports::HealthCheck;
use flashsale_core::ports::{AttemptQueue, AttemptReader, Published};
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
use flashsale_stack::Kafka;
use tokio::task::JoinSet;

use support::{
    PATIENCE, attempts, came, ids, logged_at_last, on, queue, read_all, read_until, ready,
};

/// The wait of the queue, and what a busy machine adds.
const ANSWER_MAX: Duration = Duration::from_millis(250 + 1_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_late_keeps_nobody_waiting() {
    let mut kafka = Kafka::reserve();
    let queue = KafkaAttemptQueue::new(on(&kafka, "late")).unwrap();
    let mut reader = queue.subscribe("workers").await.unwrap();
    let since = Instant::now();
    for attempt in attempts(1_000) {
        let asked = Instant::now();
        let published = queue.publish(&[attempt]).await.unwrap();
        assert_eq!(published, [Published::Unconfirmed]);
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
    }
    // One finds out, and now and then another; together they would have waited for 250 s.
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    let error = queue.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(reader.poll(10, 50).await.unwrap(), []);
    reader.commit().await.unwrap();

    kafka.start_now();
    ready(&queue).await;
    let attempt = logged_at_last(&queue).await;
    read_all(&mut *reader, &ids([&attempt])).await;
    reader.commit().await.unwrap();
}

/// What was published while something happened to the broker.
#[derive(Default)]
struct Stream {
    logged: HashSet<AttemptId>,
    unconfirmed: usize,
    slowest: Duration,
    /// From the end of what happened to the first attempt that was logged after it.
    recovery: Option<Duration>,
}

/// Publishes 1,000 attempts a second from half a second before something happens to the broker
/// until a second after the first is logged again.
async fn stream(
    queue: &KafkaAttemptQueue,
    mut kafka: Kafka,
    happens: impl FnOnce(&mut Kafka) + Send + 'static,
) -> (Stream, Kafka) {
    let happening = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(500));
        happens(&mut kafka);
        (kafka, Instant::now())
    });
    let mut stream = Stream::default();
    let mut publishing = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let (since, mut recovered) = (Instant::now(), None::<Instant>);
    let mut ended = None;
    while recovered.is_none_or(|at| at.elapsed() < Duration::from_secs(1)) {
        assert!(since.elapsed() < PATIENCE, "nothing is logged any more");
        tick.tick().await;
        if ended.is_none() && happening.is_finished() {
            ended = Some(Instant::now());
        }
        let queue = queue.clone();
        publishing.spawn(async move {
            let batch = attempts(5);
            let asked = Instant::now();
            let published = queue.publish(&batch).await.unwrap();
            (batch, published, asked)
        });
        while let Some(done) = publishing.try_join_next() {
            let (batch, published, asked) = done.unwrap();
            stream.slowest = stream.slowest.max(asked.elapsed());
            for (attempt, published) in batch.iter().zip(published) {
                match published {
                    Published::Logged => {
                        stream.logged.insert(attempt.id);
                        if ended.is_some_and(|ended| asked > ended) {
                            recovered.get_or_insert_with(Instant::now);
                        }
                    }
                    Published::Unconfirmed => stream.unconfirmed += 1,
                }
            }
        }
    }
    while let Some(done) = publishing.join_next().await {
        let (batch, published, _) = done.unwrap();
        let confirmed = batch.iter().zip(published);
        let confirmed = confirmed.filter(|(_, published)| *published == Published::Logged);
        stream
            .logged
            .extend(confirmed.map(|(attempt, _)| attempt.id));
    }
    let (kafka, ended) = happening.await.unwrap();
    stream.recovery = recovered.map(|at| at - ended);
    (stream, kafka)
}

/// Everything that was logged comes out, nothing twice, and everybody had an answer in time.
async fn nothing_is_lost(
    config: KafkaConfig,
    kafka: Kafka,
    happens: impl FnOnce(&mut Kafka) + Send + 'static,
) {
    let queue = queue(&config).await;
    logged_at_last(&queue).await;
    let mut reader = queue.subscribe("workers").await.unwrap();
    read_until(&mut *reader, |items| !items.is_empty()).await;
    reader.commit().await.unwrap();

    let (stream, kafka) = stream(&queue, kafka, happens).await;
    let Stream {
        logged,
        unconfirmed,
        slowest,
        recovery,
    } = stream;
    println!(
        "{} logged, {unconfirmed} not; slowest {slowest:?}; back after {recovery:?}",
        logged.len()
    );
    assert!(slowest < ANSWER_MAX, "{slowest:?}");
    assert!(recovery.unwrap() < Duration::from_secs(5), "{recovery:?}");

    assert!(queue.flush(PATIENCE).await);
    let last = logged_at_last(&queue).await;
    let mut missing = &logged | &ids([&last]);
    let items = read_until(&mut *reader, |items| {
        for id in came(items) {
            missing.remove(&id);
        }
        missing.is_empty()
    });
    let all = came(&items.await);
    let once: HashSet<_> = all.iter().collect();
    assert_eq!(all.len(), once.len(), "some came twice");
    reader.commit().await.unwrap();
    drop(kafka);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_logged_is_lost_when_the_broker_is_killed() {
    let kafka = Kafka::start();
    let config = on(&kafka, "killed");
    nothing_is_lost(config, kafka, |kafka| {
        kafka.kill();
        kafka.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_logged_is_lost_when_the_broker_freezes() {
    let kafka = Kafka::start();
    let config = on(&kafka, "frozen");
    nothing_is_lost(config, kafka, |kafka| {
        kafka.freeze();
        std::thread::sleep(Duration::from_secs(2));
        kafka.thaw();
    })
    .await;
}

/// The number of a message that is given up must not go to the next one, which the broker would
/// take for a repetition, drop, and confirm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_given_up_takes_no_other_with_it() {
    let kafka = Kafka::start();
    let mut config = on(&kafka, "given-up");
    config.properties = vec![("message.timeout.ms".to_owned(), "500".to_owned())];
    nothing_is_lost(config, kafka, |kafka| {
        for _ in 0..2 {
            kafka.freeze();
            std::thread::sleep(Duration::from_millis(1_500));
            kafka.thaw();
            std::thread::sleep(Duration::from_millis(300));
        }
    })
    .await;
}

/// Publishes until each of these readers has read something: each has partitions.
async fn all_read(queue: &KafkaAttemptQueue, readers: &mut [Box<dyn AttemptReader>]) {
    let since = Instant::now();
    for reader in readers {
        loop {
            assert!(since.elapsed() < PATIENCE, "one reads nothing");
            logged_at_last(queue).await;
            let items = reader.poll(1_024, 20).await.unwrap();
            reader.commit().await.unwrap();
            if !items.is_empty() {
                break;
            }
        }
    }
}

/// Publishes attempts to all partitions, more or less, and reads them.
async fn all_partitions_are_read(
    queue: &KafkaAttemptQueue,
    readers: &mut [Box<dyn AttemptReader>],
) {
    let mut missing = HashSet::new();
    for _ in 0..20 {
        missing.insert(logged_at_last(queue).await.id);
    }
    let since = Instant::now();
    while !missing.is_empty() {
        assert!(since.elapsed() < PATIENCE, "{} do not come", missing.len());
        for reader in &mut *readers {
            for id in came(&reader.poll(1_024, 10).await.unwrap()) {
                missing.remove(&id);
            }
            reader.commit().await.unwrap();
        }
    }
}

/// The readers have given themselves up meanwhile, and the broker still knows those that they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_read_on_when_the_broker_was_away_for_longer_than_a_session() {
    const AWAY: Duration = Duration::from_millis(3_500);
    let mut kafka = Kafka::start();
    let queue = queue(&on(&kafka, "long-away")).await;
    let mut readers = [
        queue.subscribe("workers").await.unwrap(),
        queue.subscribe("workers").await.unwrap(),
    ];
    // The second time it dies twice, before everybody is back.
    for deaths in [1, 2] {
        all_read(&queue, &mut readers).await;
        for _ in 0..deaths {
            tokio::task::block_in_place(|| {
                kafka.kill();
                std::thread::sleep(AWAY);
                kafka.start_now();
            });
        }
        let since = Instant::now();
        all_partitions_are_read(&queue, &mut readers).await;
        println!("{deaths} deaths: all is read after {:?}", since.elapsed());
    }
    all_read(&queue, &mut readers).await;
}
