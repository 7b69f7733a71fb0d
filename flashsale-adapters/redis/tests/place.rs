//! A product has one place: which sale has it, who takes it over, and how a large stock is opened.
#![allow(clippy::unwrap_used)]

mod shop;

use std::sync::Arc;

use flashsale_core::domain::{
    ApplyOutcome, Buyer, Decision, OpenOutcome, Phase, Quantity, ReserveOutcome, SaleChange,
    SaleRef, SettleOutcome, StockEvent, StockSnapshot, Timestamp, Window,
};
use flashsale_core::ports::{StockStore, StockStoreExt};
use flashsale_core::testing::ManualClock;
use flashsale_core::{Effect, ErrorKind};
use flashsale_redis::RedisStockStore;
use flashsale_stack::Redis;
use shop::*;

fn second() -> SaleRef {
    sale_of(2, 42)
}

/// A store whose clock is moved by hand.
fn by_hand(redis: &Redis) -> (Arc<RedisStockStore>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    clock.set(Timestamp::from_millis(1_000));
    let own = clock.clone();
    (with(redis.url(), |config| config.clock = Some(own)), clock)
}

async fn open_second(store: &RedisStockStore) -> OpenOutcome {
    store.open(&second(), &snapshot(7)).await.unwrap()
}

#[tokio::test]
async fn a_sale_keeps_the_place_until_it_is_over_and_decided() {
    let redis = Redis::start();
    let (store, clock) = by_hand(&redis);
    open(&store, 3).await;
    let (one, two) = (reserve(&store, 1).await, reserve(&store, 2).await);
    assert_eq!(open_second(&store).await, OpenOutcome::Occupied(sale().id));

    clock.set(ALWAYS.end.plus_ms(-1));
    store
        .settle_one(&sale(), &settlement(&two, CANCELLED))
        .await
        .unwrap();
    assert_eq!(open_second(&store).await, OpenOutcome::Occupied(sale().id));
    clock.set(ALWAYS.end);
    assert_eq!(open_second(&store).await, OpenOutcome::Occupied(sale().id));
    assert_eq!(store.levels(&second()).await.unwrap(), None);

    let bought = settlement(&one, Decision::Success(order(1)));
    store.settle_one(&sale(), &bought).await.unwrap();
    assert_eq!(open_second(&store).await, OpenOutcome::Opened);
    assert_eq!(open_second(&store).await, OpenOutcome::AlreadyOpen);
}

#[tokio::test]
async fn a_closed_sale_gives_the_place_away_and_an_upcoming_one_does_not() {
    let redis = Redis::start();
    let (store, _clock) = by_hand(&redis);
    let upcoming = StockSnapshot {
        window: Window {
            start: Timestamp::from_millis(5_000),
            end: Timestamp::from_millis(6_000),
        },
        ..snapshot(3)
    };
    store.open(&sale(), &upcoming).await.unwrap();
    assert_eq!(open_second(&store).await, OpenOutcome::Occupied(sale().id));
    let close = StockEvent {
        version: 2,
        change: SaleChange::Close,
    };
    store.apply(&sale(), &close).await.unwrap();
    assert_eq!(open_second(&store).await, OpenOutcome::Opened);
}

#[tokio::test]
async fn the_clock_of_the_server_ends_a_sale() {
    let redis = Redis::start();
    let store = store(redis.url());
    let over = StockSnapshot {
        window: Window {
            start: Timestamp::from_millis(0),
            end: Timestamp::from_millis(1_700_000_000_000),
        },
        ..snapshot(3)
    };
    store.open(&sale(), &over).await.unwrap();
    assert_eq!(buy(&store, 1).await, ReserveOutcome::Ended);
    assert_eq!(open_second(&store).await, OpenOutcome::Opened);
    let outcome = store.reserve_one(&second(), &request(1)).await.unwrap();
    assert!(matches!(outcome, ReserveOutcome::Reserved(attempt)
        if attempt.reserved_at > Timestamp::from_millis(1_700_000_000_000)));
}

#[tokio::test]
async fn the_clock_of_the_server_tells_how_old_an_attempt_is() {
    let redis = Redis::start();
    let store = store(redis.url());
    open(&store, 1).await;
    let attempt = reserve(&store, 1).await;
    let hour = 3_600_000;
    assert_eq!(store.overdue(&sale(), hour, 10).await.unwrap(), vec![]);
    assert_eq!(store.overdue(&sale(), 0, 10).await.unwrap(), [attempt]);
}

#[tokio::test]
async fn what_comes_late_for_the_earlier_sale_changes_nothing() {
    let redis = Redis::start();
    let (store, clock) = by_hand(&redis);
    open(&store, 3).await;
    let one = reserve(&store, 1).await;
    let bought = settlement(&one, Decision::Success(order(1)));
    store.settle_one(&sale(), &bought).await.unwrap();
    clock.set(ALWAYS.end);
    assert_eq!(open_second(&store).await, OpenOutcome::Opened);
    let before = store.levels(&second()).await.unwrap().unwrap();
    let keys = redis.cli(&["dbsize"]);

    let late = store.reserve_one(&sale(), &request(5)).await.unwrap();
    assert_eq!(late, ReserveOutcome::NotLoaded);
    assert_eq!(store.levels(&sale()).await.unwrap(), None);
    assert_eq!(store.allocation(&sale(), &user(1)).await.unwrap(), None);
    store
        .acknowledge(&sale(), std::slice::from_ref(&one))
        .await
        .unwrap();
    for decision in [Decision::Success(order(1)), CANCELLED] {
        let late = settlement(&one, decision);
        let outcome = store.settle_one(&sale(), &late).await.unwrap();
        assert_eq!(outcome, SettleOutcome::Unchanged);
    }
    let pause = StockEvent {
        version: 2,
        change: SaleChange::Pause,
    };
    let outcome = store.apply(&sale(), &pause).await.unwrap();
    assert_eq!(outcome, ApplyOutcome::NotLoaded);
    assert_eq!(store.fence(&sale()).await.unwrap(), None);
    assert_eq!(store.overdue(&sale(), 0, 10).await.unwrap(), vec![]);
    assert_eq!(store.unpublished(&sale(), 0, 10).await.unwrap(), vec![]);

    assert_eq!(store.levels(&second()).await.unwrap(), Some(before));
    assert_eq!(store.allocation(&second(), &user(1)).await.unwrap(), None);
    assert_eq!(redis.cli(&["dbsize"]), keys);
}

fn many_buyers(count: u64) -> StockSnapshot {
    let buyer = |number| Buyer {
        user: user(number),
        attempt: fresh_id(),
        quantity: Quantity::new(2).unwrap(),
        order: order(number as i64 + 1),
        reserved_at: Timestamp::from_millis(7),
    };
    StockSnapshot {
        buyers: (0..count).map(buyer).collect(),
        ..snapshot(5)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_openers_at_once_one_opens() {
    let redis = Redis::start();
    let snapshot = Arc::new(many_buyers(1_500));
    for epoch in 1..=3 {
        let mut openers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, snapshot) = (store(redis.url()), Arc::clone(&snapshot));
            let mut sale = sale();
            sale.epoch = flashsale_core::domain::Epoch::new(epoch);
            openers.spawn(async move { store.open(&sale, &snapshot).await.unwrap() });
        }
        let outcomes = openers.join_all().await;
        let count = |wanted| outcomes.iter().filter(|o| **o == wanted).count();
        assert_eq!(count(OpenOutcome::Opened), 1, "{outcomes:?}");
        assert_eq!(count(OpenOutcome::AlreadyOpen), 7, "{outcomes:?}");
        let store = store(redis.url());
        assert_eq!(units(&store).await, (5, 0, 3_000));
        let users = [user(0), user(1_499), user(1_500)];
        let allocations = store.allocations(&sale(), &users).await.unwrap();
        let held: Vec<_> = allocations.iter().map(Option::is_some).collect();
        assert_eq!(held, [true, true, false]);
        assert_eq!(redis.cli(&["hlen", "flashsale:users:{42}"]).trim(), "1500");
        assert_eq!(redis.cli(&["ttl", "flashsale:users:{42}"]).trim(), "-1");
        assert_eq!(redis.cli(&["keys", "flashsale:loading*"]).trim(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_while_buyers_are_loaded_opens_nothing() {
    let redis = Redis::start();
    let opener = store(redis.url());
    let opening = {
        let (opener, snapshot) = (opener.clone(), many_buyers(100_000));
        tokio::spawn(async move { opener.open(&sale(), &snapshot).await })
    };
    while redis.cli(&["keys", "flashsale:loading*"]).trim().is_empty() {
        assert!(!opening.is_finished(), "it was loaded before it was seen");
    }
    let loading = redis.cli(&["keys", "flashsale:loading*"]);
    let ttl: i64 = redis.cli(&["ttl", loading.trim()]).trim().parse().unwrap();
    assert!(
        (1..=60).contains(&ttl),
        "buyers put aside go away by themselves: {ttl}"
    );
    redis.cli(&["flushall"]);
    let error = opening.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.effect()),
        (ErrorKind::Unavailable, Effect::None)
    );
    assert_eq!(opener.levels(&sale()).await.unwrap(), None);
    assert_eq!(redis.cli(&["dbsize"]).trim(), "0");
}

#[tokio::test]
async fn the_old_stock_is_in_use_until_the_new_one_is_complete() {
    let redis = Redis::start();
    let store = store(redis.url());
    open(&store, 3).await;
    let one = reserve(&store, 1).await;
    let mut newer = sale();
    newer.epoch = newer.epoch.next();
    // Nothing of a snapshot that is refused is left behind, and nothing of the old one is lost.
    let outcome = store.open(&sale(), &many_buyers(600)).await.unwrap();
    assert_eq!(outcome, OpenOutcome::AlreadyOpen);
    assert_eq!(units(&store).await, (2, 1, 0));
    let outcome = store.open(&newer, &many_buyers(600)).await.unwrap();
    assert_eq!(outcome, OpenOutcome::Opened);
    assert_eq!(units(&store).await, (5, 0, 1_200));
    let levels = levels(&store).await;
    assert_eq!((levels.phase, levels.unpublished), (Phase::Open, 0));
    assert!(levels.seq >= one.seq, "numbers go on under a new epoch");
}

#[tokio::test]
async fn a_sale_takes_the_place_shortly_before_its_start_only() {
    let redis = Redis::start();
    let (store, clock) = by_hand(&redis);
    let start = Timestamp::from_millis(1_000_000);
    let later = StockSnapshot {
        window: Window {
            start,
            end: start.plus_ms(60_000),
        },
        ..snapshot(3)
    };
    clock.set(start.plus_ms(-120_001));
    let early = store.open(&sale(), &later).await.unwrap();
    assert_eq!(early, OpenOutcome::TooEarly);
    assert_eq!(redis.cli(&["dbsize"]).trim(), "0");

    // The one that is created later and sells earlier goes first.
    let earlier = StockSnapshot {
        window: Window {
            start: start.plus_ms(-100_000),
            end: start.plus_ms(-50_000),
        },
        ..snapshot(7)
    };
    assert_eq!(
        store.open(&second(), &earlier).await.unwrap(),
        OpenOutcome::Opened
    );
    clock.set(start.plus_ms(-60_000));
    let queueing = store.open(&sale(), &later).await.unwrap();
    assert_eq!(queueing, OpenOutcome::Occupied(second().id));
    clock.set(start.plus_ms(-50_000));
    assert_eq!(
        store.open(&sale(), &later).await.unwrap(),
        OpenOutcome::Opened
    );
    assert_eq!(
        store.open(&sale(), &later).await.unwrap(),
        OpenOutcome::AlreadyOpen
    );
}
