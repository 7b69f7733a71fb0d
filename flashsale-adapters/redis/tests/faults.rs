//! What goes wrong between a process and its Redis: every call returns within its budget, nothing
//! is half done, no unit is lost, and the store works again by itself.
#![allow(clippy::unwrap_used)]

mod shop;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flashsale_core::domain::{AttemptId, ReserveOutcome, ReserveRequest, SettleOutcome};
use flashsale_core::ports::{StockStore, StockStoreExt};
use flashsale_core::{Effect, ErrorKind, PortError};
use flashsale_redis::RedisStockStore;
use flashsale_stack::Redis;
use shop::*;
use tokio::task::JoinSet;

/// The budget of a reservation and what a busy machine adds to it.
const BUDGET: Duration = Duration::from_millis(400);
const SLACK: Duration = Duration::from_millis(600);

fn is_away(error: &PortError) -> bool {
    error.kind() == ErrorKind::Unavailable
}

/// Tries to buy, and checks that the answer comes in time.
async fn in_time(
    store: &RedisStockStore,
    request: &ReserveRequest,
) -> Result<ReserveOutcome, PortError> {
    let begun = Instant::now();
    let answer = store.reserve_one(&sale(), request).await;
    let took = begun.elapsed();
    assert!(took < BUDGET + SLACK, "{answer:?} took {took:?}");
    answer
}

/// Buyers that go on trying while something happens to their Redis.
struct Buyers {
    store: Arc<RedisStockStore>,
    stop: tokio::sync::watch::Sender<bool>,
    tasks: JoinSet<Vec<(ReserveRequest, Result<ReserveOutcome, PortError>)>>,
}

impl Buyers {
    fn start(store: &Arc<RedisStockStore>, count: u64) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut tasks = JoinSet::new();
        for buyer in 0..count {
            let (store, stopped) = (store.clone(), stopped.clone());
            tasks.spawn(async move {
                let mut answers = Vec::new();
                for round in 0.. {
                    if *stopped.borrow() {
                        break;
                    }
                    let request = request(round * count + buyer);
                    let answer = in_time(&store, &request).await;
                    if answer.is_err() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    answers.push((request, answer));
                }
                answers
            });
        }
        Self {
            store: store.clone(),
            stop,
            tasks,
        }
    }

    /// Ends the buying, repeats what failed with the same ids, and accounts for every unit.
    async fn settle_up(mut self, stock: u64) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut self.tasks);
        let answers: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        let mut told: HashMap<_, AttemptId> = HashMap::new();
        let mut failed = 0;
        for (request, answer) in answers {
            let outcome = match answer {
                Ok(outcome) => outcome,
                Err(error) => {
                    assert!(is_away(&error), "{error:?}");
                    failed += 1;
                    self.again(&request).await
                }
            };
            match outcome {
                ReserveOutcome::Reserved(attempt) => {
                    assert_eq!(attempt.id, request.attempt);
                    assert_eq!(told.insert(attempt.user, attempt.id), None);
                }
                ReserveOutcome::AlreadyAllocated(allocation) => {
                    assert_eq!(
                        allocation.attempt, request.attempt,
                        "a request is repeated with its id"
                    );
                    assert_eq!(told.insert(request.user, allocation.attempt), None);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(failed > 0, "nobody noticed anything");
        let levels = levels(&self.store).await;
        let count = told.len() as u64;
        assert_eq!(levels.available + levels.reserved + levels.sold, stock);
        assert_eq!(
            (levels.reserved, levels.undecided, levels.unpublished),
            (count, count, count)
        );
        let users: Vec<_> = told.keys().cloned().collect();
        for users in users.chunks(1_000) {
            let allocations = self.store.allocations(&sale(), users).await.unwrap();
            for (user, allocation) in users.iter().zip(allocations) {
                assert_eq!(
                    Some(told[user]),
                    allocation.map(|allocation| allocation.attempt)
                );
            }
        }
    }
}

impl Buyers {
    /// Repeats a request with its id until it is answered.
    async fn again(&self, request: &ReserveRequest) -> ReserveOutcome {
        for _ in 0..20 {
            if let Ok(outcome) = in_time(&self.store, request).await {
                return outcome;
            }
        }
        panic!("there is no answer to {request:?}");
    }
}

const MANY: u64 = 10_000_000;

/// Timeouts until somebody can buy again, and says how long that took. He gives the unit back.
async fn until_it_sells(store: &RedisStockStore) -> Duration {
    let request = request(u64::MAX);
    let took = until("it must sell again", || async {
        in_time(store, &request).await.is_ok()
    })
    .await;
    let allocation = store
        .allocation(&sale(), &request.user)
        .await
        .unwrap()
        .unwrap();
    let attempt = allocation.to_attempt(sale().id, sale().product, request.user);
    let cancelled = settlement(&attempt, CANCELLED);
    let settled = store.settle_one(&sale(), &cancelled).await.unwrap();
    assert_eq!(settled, SettleOutcome::Released);
    took
}

/// Timeouts until calls fail at once, because the connection is known to be away.
async fn until_it_is_missed(store: &RedisStockStore) {
    until("the connection must be missed", || async {
        let begun = Instant::now();
        let error = store.levels(&sale()).await.err();
        error.is_some_and(|error| is_away(&error) && error.effect() == Effect::None)
            && begun.elapsed() < Duration::from_millis(50)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_costs_no_unit() {
    let mut redis = Redis::synced();
    let store = punctual(redis.url());
    open(&store, MANY).await;
    let buyers = Buyers::start(&store, 64);
    for round in 0..3 {
        until("it must sell", || async {
            levels(&store).await.reserved > round * 1_000
        })
        .await;
        redis.kill();
        until_it_is_missed(&store).await;
        // Longer than anybody waits for an answer that is lost.
        tokio::time::sleep(BUDGET).await;
        redis.restart();
        let took = until_it_sells(&store).await;
        assert!(
            took < Duration::from_millis(1_500),
            "it sold again after {took:?}"
        );
    }
    buyers.settle_up(MANY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_frozen_costs_no_unit() {
    let redis = Redis::start();
    let store = punctual(redis.url());
    open(&store, MANY).await;
    let buyers = Buyers::start(&store, 64);
    for round in 0..2 {
        until("it must sell", || async {
            levels(&store).await.reserved > round * 1_000
        })
        .await;
        redis.freeze();
        until_it_is_missed(&store).await;
        redis.thaw();
        let took = until_it_sells(&store).await;
        assert!(
            took < Duration::from_millis(1_500),
            "it sold again after {took:?}"
        );
    }
    buyers.settle_up(MANY).await;
}

#[tokio::test]
async fn every_call_returns_while_redis_is_frozen() {
    let redis = Redis::start();
    let store = punctual(redis.url());
    open(&store, 10).await;
    let attempt = reserve(&store, 1).await;
    redis.freeze();
    let begun = Instant::now();
    let batch = std::slice::from_ref(&attempt);
    let settlement = settlement(&attempt, CANCELLED);
    let sale = sale();
    let snapshot = snapshot(1);
    let users = [user(1)];
    let request = request(2);
    let (a, b, c, d, e, f, g, h) = tokio::join!(
        store.reserve_one(&sale, &request),
        store.acknowledge(&sale, batch),
        store.allocations(&sale, &users),
        store.results(sale.product, &users),
        store.settle_one(&sale, &settlement),
        store.open(&sale, &snapshot),
        store.overdue(&sale, 0, 10),
        store.levels(&sale),
    );
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2) + SLACK, "{took:?}");
    let errors = [
        a.err(),
        b.err(),
        c.err(),
        d.err(),
        e.err(),
        f.err(),
        g.err(),
        h.err(),
    ];
    for error in errors {
        let error = error.expect("nothing can be known");
        assert!(is_away(&error), "{error:?}");
    }
    redis.thaw();
    until_it_sells(&store).await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_id() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port()).await;
    let store = store(proxy.url());
    open(&store, 100).await;
    for number in 0..20 {
        proxy.set(Mode::LoseAnswer);
        let request = request(number);
        let outcome = store.reserve_one(&sale(), &request).await.unwrap();
        // It was reserved by this call, so that its caller has to publish it.
        assert!(
            matches!(&outcome, ReserveOutcome::Reserved(attempt) if attempt.id == request.attempt),
            "{outcome:?}"
        );
        let again = store.reserve_one(&sale(), &request).await.unwrap();
        assert!(
            matches!(again, ReserveOutcome::AlreadyAllocated(allocation) if allocation.attempt == request.attempt)
        );
    }
    assert_eq!(units(&store).await, (80, 20, 0));
}

#[tokio::test]
async fn a_connection_that_swallows_everything_is_given_up() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port()).await;
    let store = with(proxy.url(), |config| config.response_ms = 200);
    open(&store, 100).await;
    for number in 0..3 {
        proxy.set(Mode::Swallow);
        // The first attempt gets no answer; the second is made on a connection of its own.
        let outcome = store.reserve_one(&sale(), &request(number)).await.unwrap();
        assert!(
            matches!(outcome, ReserveOutcome::Reserved(_)),
            "{outcome:?}"
        );
        proxy.set(Mode::Pass);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_redis_forgets_are_loaded_again() {
    let redis = Arc::new(Redis::start());
    let store = store(redis.url());
    open(&store, MANY).await;
    redis.cli(&["script", "flush"]);
    let attempt = reserve(&store, 1).await;
    redis.cli(&["script", "flush"]);
    store
        .settle_one(&sale(), &settlement(&attempt, CANCELLED))
        .await
        .unwrap();

    let mut buyers = JoinSet::new();
    for buyer in 0..16_u64 {
        let store = store.clone();
        buyers.spawn(async move {
            for round in 0..200 {
                reserve(&store, 1_000 + round * 16 + buyer).await;
            }
        });
    }
    while !buyers.is_empty() {
        redis.cli(&["script", "flush"]);
        tokio::select! {
            Some(done) = buyers.join_next() => done.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    assert_eq!(units(&store).await, (MANY - 3_200, 3_200, 0));
}

#[tokio::test]
async fn a_full_redis_takes_nothing_and_still_gives_back() {
    let redis = Redis::with(&["--maxmemory", "4mb"]);
    let store = store(redis.url());
    open(&store, MANY).await;
    let mut attempts = Vec::new();
    let error = loop {
        let requests: Vec<_> = (0..256)
            .map(|i| request(attempts.len() as u64 + i))
            .collect();
        match store.reserve(&sale(), &requests).await {
            Ok(outcomes) => attempts.extend(outcomes.into_iter().map(|outcome| match outcome {
                ReserveOutcome::Reserved(attempt) => attempt,
                other => panic!("{other:?}"),
            })),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.kind(), error.effect()),
        (ErrorKind::Full, Effect::None)
    );
    let taken = attempts.len() as u64;
    let full = levels(&store).await;
    assert_eq!((full.available, full.reserved), (MANY - taken, taken));
    assert_eq!((full.undecided, full.unpublished), (taken, taken));
    let refused = store.allocation(&sale(), &user(taken)).await.unwrap();
    assert_eq!(refused, None, "nothing is half done");

    store.acknowledge(&sale(), &attempts[..100]).await.unwrap();
    let released: Vec<_> = attempts[..200]
        .iter()
        .map(|a| settlement(a, CANCELLED))
        .collect();
    let outcomes = store.settle(&sale(), &released).await.unwrap();
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == SettleOutcome::Released)
    );
    let after = levels(&store).await;
    assert_eq!(
        (after.available, after.reserved),
        (MANY - taken + 200, taken - 200)
    );
    assert_eq!(after.unpublished, taken - 200);

    redis.cli(&["config", "set", "maxmemory", "0"]);
    reserve(&store, taken + 1_000).await;
}

#[tokio::test]
async fn a_replica_takes_nothing_until_it_is_promoted() {
    let mut primary = Redis::start();
    let on_primary = store(primary.url());
    open(&on_primary, 10).await;
    reserve(&on_primary, 1).await;
    let replica = Redis::replica_of(&primary);
    let (store, reader) = (punctual(replica.url()), store(replica.url()));
    for _ in 0..5 {
        let error = in_time(&store, &request(2)).await.unwrap_err();
        assert!(
            is_away(&error) && error.effect() == Effect::None,
            "{error:?}"
        );
    }
    assert_eq!(units(&reader).await, (9, 1, 0), "it can be read");
    primary.kill();
    replica.cli(&["replicaof", "no", "one"]);
    let took = until_it_sells(&store).await;
    assert!(
        took < Duration::from_millis(1_500),
        "it sold after {took:?}"
    );
    assert!(matches!(
        buy(&store, 1).await,
        ReserveOutcome::AlreadyAllocated(_)
    ));
}

#[tokio::test]
async fn a_primary_that_is_demoted_is_left_alone_until_it_is_one_again() {
    let (primary, other) = (Redis::start(), Redis::start());
    let store = punctual(primary.url());
    open(&store, 10).await;
    // Without data of its own, the other one would wipe it; it need not even come up.
    primary.cli(&["config", "set", "masterauth", "never"]);
    let port = other.port().to_string();
    other.cli(&["config", "set", "requirepass", "unknown"]);
    primary.cli(&["replicaof", "127.0.0.1", &port]);
    let error = in_time(&store, &request(1)).await.unwrap_err();
    assert!(
        is_away(&error) && error.effect() == Effect::None,
        "{error:?}"
    );
    primary.cli(&["replicaof", "no", "one"]);
    until_it_sells(&store).await;
    assert_eq!(units(&store).await, (10, 0, 0));
}

#[tokio::test]
async fn a_name_that_leads_to_another_primary_is_followed() {
    let primary = Redis::start();
    let on_primary = store(primary.url());
    open(&on_primary, 10).await;
    let replica = Redis::replica_of(&primary);
    let proxy = Proxy::to(primary.port()).await;
    let store = punctual(proxy.url());
    reserve(&store, 1).await;
    until("the replica must have it", || async {
        replica.cli(&["hlen", "flashsale:users:{42}"]).trim() == "1"
    })
    .await;
    // The old primary lives on as a replica, and so does the connection to it.
    replica.cli(&["replicaof", "no", "one"]);
    let port = replica.port().to_string();
    primary.cli(&["replicaof", "127.0.0.1", &port]);
    proxy.lead_to(replica.port());
    let took = until_it_sells(&store).await;
    assert!(
        took < Duration::from_millis(1_500),
        "it sold after {took:?}"
    );
    assert!(matches!(
        buy(&store, 1).await,
        ReserveOutcome::AlreadyAllocated(_)
    ));
}

#[tokio::test]
async fn a_store_is_there_before_its_redis() {
    let mut redis = Redis::reserve();
    let store = punctual(redis.url());
    for _ in 0..3 {
        let begun = Instant::now();
        let error = in_time(&store, &request(1)).await.unwrap_err();
        assert!(
            is_away(&error) && error.effect() == Effect::None,
            "{error:?}"
        );
        let error = store.levels(&sale()).await.unwrap_err();
        assert!(is_away(&error), "{error:?}");
        assert!(begun.elapsed() < Duration::from_millis(100), "nobody waits");
    }
    redis.start_now();
    until("it must be in use", || async {
        store.levels(&sale()).await.is_ok()
    })
    .await;
    open(&store, 1).await;
    reserve(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_callers_are_refused_at_once() {
    let redis = Redis::start();
    let store = with(redis.url(), |config| {
        (config.waiting_max, config.budget_ms, config.response_ms) = (1_024, 400, 200);
    });
    open(&store, MANY).await;
    redis.freeze();
    let mut callers = JoinSet::new();
    for number in 0..3_000 {
        let store = store.clone();
        callers.spawn(async move {
            let begun = Instant::now();
            let answer = in_time(&store, &request(number)).await;
            (answer.unwrap_err(), begun.elapsed())
        });
    }
    let answers = callers.join_all().await;
    let busy = answers
        .iter()
        .filter(|(error, _)| error.kind() == ErrorKind::Busy);
    let busy: Vec<_> = busy.collect();
    // At most one batch of 256 is in flight.
    assert!(
        busy.len() >= 3_000 - 1_024 - 256,
        "{} were refused",
        busy.len()
    );
    assert!(busy.iter().all(|(error, took)| {
        error.effect() == Effect::None && *took < Duration::from_millis(150)
    }));
    redis.thaw();
    until_it_sells(&store).await;
    let levels = levels(&store).await;
    assert_eq!(levels.available + levels.reserved, MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_are_dropped_harm_nobody() {
    let redis = Redis::start();
    let store = store(redis.url());
    open(&store, MANY).await;
    let mut callers = JoinSet::new();
    for number in 0..2_000_u64 {
        let store = store.clone();
        callers.spawn(async move {
            let request = request(number);
            if number % 3 == 0 {
                let patience = Duration::from_micros(number);
                let _ = tokio::time::timeout(patience, store.reserve_one(&sale(), &request)).await;
            } else {
                let outcome = store.reserve_one(&sale(), &request).await.unwrap();
                assert!(matches!(outcome, ReserveOutcome::Reserved(_)));
            }
        });
    }
    callers.join_all().await;
    let levels = levels(&store).await;
    assert_eq!(levels.available + levels.reserved, MANY);
    assert!(levels.reserved >= 1_333, "{levels:?}");
    assert_eq!(levels.undecided, levels.reserved);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_oversell() {
    const STOCK: u64 = 300;
    let redis = Redis::start();
    let stores = [store(redis.url()), store(redis.url())];
    open(&stores[0], STOCK).await;
    let mut callers = JoinSet::new();
    for number in 0..2_000_u64 {
        // Every user comes by both.
        for store in stores.clone() {
            callers.spawn(async move { (number, buy(&store, number).await) });
        }
    }
    let answers = callers.join_all().await;
    let won = answers
        .iter()
        .filter(|(_, o)| matches!(o, ReserveOutcome::Reserved(_)));
    assert_eq!(won.count() as u64, STOCK);
    for (number, outcome) in &answers {
        let others = answers.iter().filter(|(other, _)| other == number);
        let reserved = others
            .filter(|(_, o)| matches!(o, ReserveOutcome::Reserved(_)))
            .count();
        match outcome {
            ReserveOutcome::Reserved(_) | ReserveOutcome::AlreadyAllocated(_) => {
                assert_eq!(reserved, 1)
            }
            ReserveOutcome::SoldOut => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(units(&stores[1]).await, (0, STOCK, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_users_leave_nothing_behind() {
    let redis = Redis::start();
    let store = with(redis.url(), |config| config.sold_out_ms = 0);
    open(&store, 1).await;
    reserve(&store, 1).await;
    let keys = redis.cli(&["dbsize"]);
    let memory = || {
        let info = redis.cli(&["info", "memory"]);
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory_dataset:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = memory();
    for batch in 0..100 {
        let requests: Vec<_> = (0..1_000)
            .map(|i| request(10 + batch * 1_000 + i))
            .collect();
        let outcomes = store.reserve(&sale(), &requests).await.unwrap();
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == ReserveOutcome::SoldOut)
        );
    }
    assert_eq!(redis.cli(&["dbsize"]), keys);
    let grown = memory().saturating_sub(before);
    assert!(grown < 200_000, "100,000 refusals took {grown} bytes");
}
