//! A sale without units is answered from memory, for 100 ms at most, and never to a holder.
#![allow(clippy::unwrap_used)]

mod shop;

use std::time::Duration;

use flashsale_core::domain::{
    Decision, Quantity, ReserveOutcome, ReserveRequest, SaleChange, SettleOutcome, StockEvent,
};
use flashsale_core::ports::{StockStore, StockStoreExt};
use flashsale_core::testing::Seeded;
use flashsale_redis::RedisStockStore;
use flashsale_stack::Redis;
use shop::*;

/// Calls of Redis by one process: scripts and reads of the holders.
fn asked(redis: &Redis) -> u64 {
    calls(redis, "evalsha") + calls(redis, "hscan")
}

/// Lets strangers try until none of them reaches Redis any more, but a task that asks for all.
async fn crowd(store: &RedisStockStore, redis: &Redis) {
    until("the crowd must be refused from memory", || async {
        let before = asked(redis);
        for number in 0..200 {
            assert_eq!(
                buy(store, 1_000_000 + number).await,
                ReserveOutcome::SoldOut
            );
        }
        asked(redis) - before <= 2
    })
    .await;
}

#[tokio::test]
async fn a_refused_crowd_hardly_asks_redis() {
    let redis = Redis::start();
    let store = store(redis.url());
    open(&store, 3).await;
    for number in 1..=3 {
        reserve(&store, number).await;
    }
    crowd(&store, &redis).await;
    let (before, begun) = (asked(&redis), std::time::Instant::now());
    for number in 0..100_000 {
        assert_eq!(
            buy(&store, 2_000_000 + number).await,
            ReserveOutcome::SoldOut
        );
    }
    // A task asks for all every 50 ms; if the process slept, everybody in flight may have asked.
    let spans = begun.elapsed().as_millis() as u64 / 50 + 1;
    let count = asked(&redis) - before;
    assert!(
        count <= 4 * spans,
        "{count} calls in {spans} spans of 50 ms"
    );
}

#[tokio::test]
async fn holders_that_ask_all_the_time_do_not_let_the_crowd_through() {
    let redis = Redis::start();
    let store = store(redis.url());
    open(&store, 1).await;
    reserve(&store, 1).await;
    crowd(&store, &redis).await;
    let (before, begun) = (asked(&redis), std::time::Instant::now());
    for number in 0..2_000 {
        assert!(matches!(
            buy(&store, 1).await,
            ReserveOutcome::AlreadyAllocated(_)
        ));
        assert_eq!(buy(&store, 100 + number).await, ReserveOutcome::SoldOut);
    }
    let spans = begun.elapsed().as_millis() as u64 / 50 + 1;
    let strangers = asked(&redis) - before - 2_000;
    assert!(
        strangers <= 4 * spans,
        "{strangers} calls in {spans} spans of 50 ms"
    );
}

#[tokio::test]
async fn without_it_every_attempt_asks_redis() {
    let redis = Redis::start();
    let store = with(redis.url(), |config| config.sold_out_ms = 0);
    open(&store, 1).await;
    reserve(&store, 1).await;
    let before = asked(&redis);
    for number in 0..500 {
        assert_eq!(buy(&store, 10 + number).await, ReserveOutcome::SoldOut);
    }
    assert_eq!(asked(&redis) - before, 500);
}

#[tokio::test]
async fn holders_are_told_what_they_hold_whichever_process_they_came_by() {
    let redis = Redis::start();
    let (one, other) = (store(redis.url()), store(redis.url()));
    open(&one, 2_000).await;
    let requests: Vec<_> = (0..2_000).map(request).collect();
    for chunk in requests.chunks(500) {
        let outcomes = other.reserve(&sale(), chunk).await.unwrap();
        let all = outcomes
            .iter()
            .all(|outcome| matches!(outcome, ReserveOutcome::Reserved(_)));
        assert!(all);
    }
    // `one` knows of the holders what Redis says.
    crowd(&one, &redis).await;
    let mut random = Seeded::new(7);
    for _ in 0..300 {
        let holder = random.below(2_000);
        assert!(matches!(
            buy(&one, holder).await,
            ReserveOutcome::AlreadyAllocated(_)
        ));
        assert_eq!(buy(&one, 9_000 + holder).await, ReserveOutcome::SoldOut);
    }
}

#[tokio::test]
async fn units_that_another_process_returns_are_seen_soon() {
    let redis = Redis::start();
    let (one, other) = (store(redis.url()), store(redis.url()));
    open(&one, 1).await;
    let attempt = reserve(&other, 1).await;
    crowd(&one, &redis).await;
    let mut soonest = Duration::MAX;
    for round in 0..5 {
        let held = if round == 0 {
            attempt.clone()
        } else {
            let allocation = other
                .allocation(&sale(), &user(round))
                .await
                .unwrap()
                .unwrap();
            allocation.to_attempt(sale().id, sale().product, user(round))
        };
        let cancelled = settlement(&held, CANCELLED);
        let outcome = other.settle_one(&sale(), &cancelled).await.unwrap();
        assert_eq!(outcome, SettleOutcome::Released);
        let next = request(round + 1);
        let seen = until("the unit must be seen", || async {
            let outcome = one.reserve_one(&sale(), &next).await.unwrap();
            matches!(outcome, ReserveOutcome::Reserved(_))
        })
        .await;
        soonest = soonest.min(seen);
        crowd(&one, &redis).await;
    }
    // One call after the 100 ms; a busy machine may be late, but not five times.
    assert!(soonest < Duration::from_millis(150), "it took {soonest:?}");
}

#[tokio::test]
async fn units_that_this_process_returns_are_seen_at_once() {
    let redis = Redis::start();
    let store = store(redis.url());
    open(&store, 1).await;
    let mut attempt = reserve(&store, 1).await;
    for number in 2..12 {
        crowd(&store, &redis).await;
        let cancelled = settlement(&attempt, CANCELLED);
        store.settle_one(&sale(), &cancelled).await.unwrap();
        attempt = reserve(&store, number).await;
    }
    crowd(&store, &redis).await;
    let restock = StockEvent {
        version: 2,
        change: SaleChange::Restock(1),
    };
    store.apply(&sale(), &restock).await.unwrap();
    reserve(&store, 50).await;
    crowd(&store, &redis).await;
    let mut newer = sale();
    newer.epoch = newer.epoch.next();
    store.fence(&newer).await.unwrap();
    assert_eq!(buy(&store, 60).await, ReserveOutcome::Recovering);
}

#[tokio::test]
async fn a_buyer_who_was_healed_by_another_process_is_told_so() {
    let redis = Redis::start();
    let (one, other) = (store(redis.url()), store(redis.url()));
    open(&one, 2).await;
    let two_units = ReserveRequest {
        quantity: Quantity::new(2).unwrap(),
        ..request(1)
    };
    let outcome = other.reserve_one(&sale(), &two_units).await.unwrap();
    let ReserveOutcome::Reserved(held) = outcome else {
        panic!("{outcome:?}");
    };
    crowd(&one, &redis).await;
    let seq = levels(&other).await.seq;
    // An order of one unit for the holder of two frees a unit, and an order whose allocation was lost
    // takes it: nobody reserves or releases, and there is another holder.
    let mut adopted = settlement(&held, Decision::Success(order(1)));
    (adopted.attempt, adopted.quantity) = (fresh_id(), Quantity::ONE);
    let mut healed = settlement(&held, Decision::Success(order(2)));
    (healed.user, healed.attempt, healed.quantity) = (user(2), fresh_id(), Quantity::ONE);
    let outcomes = other.settle(&sale(), &[adopted, healed]).await.unwrap();
    assert_eq!(outcomes, [SettleOutcome::Adopted, SettleOutcome::Healed]);
    assert_eq!(levels(&other).await.seq, seq);
    until("the buyer must be told", || async {
        assert_eq!(buy(&one, 77).await, ReserveOutcome::SoldOut);
        matches!(buy(&one, 2).await, ReserveOutcome::AlreadyAllocated(_))
    })
    .await;
    crowd(&one, &redis).await;
    assert!(matches!(
        buy(&one, 2).await,
        ReserveOutcome::AlreadyAllocated(_)
    ));
}
