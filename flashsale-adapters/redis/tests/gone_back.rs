//! A Redis that has lost what it had confirmed sells nothing until it is opened under a new epoch.
#![allow(clippy::unwrap_used)]

mod shop;

use std::sync::Arc;
use std::time::Duration;

use flashsale_core::domain::{
    AllocationState, ApplyOutcome, Buyer, Decision, Epoch, NewSale, OpenOutcome, Phase,
    ReserveOutcome, Sale, SaleChange, SaleRef, SettleOutcome, StockEvent, StockSnapshot, Timestamp,
};
use flashsale_core::ports::{AttemptQueue, StockStore, StockStoreExt};
use flashsale_core::services::{
    Auditor, Catalogue, Recovery, RecoveryProgress, SaleService, StockReadiness, Verdict, Worker,
    WorkerPorts,
};
use flashsale_core::testing::{
    ManualClock, MemoryAttemptQueue, MemoryAttemptRepo, MemoryDatabase, MemoryDeadLetterRepo,
    MemoryOrderRepo, MemoryRecorder, MemorySaleRepo,
};
use flashsale_redis::RedisStockStore;
use flashsale_stack::Redis;
use shop::*;

fn next(sale: SaleRef) -> SaleRef {
    SaleRef {
        epoch: Epoch::new(sale.epoch.get() + 1),
        ..sale
    }
}

/// Tries to buy until there is an answer.
async fn first_answer(store: &RedisStockStore, number: u64) -> ReserveOutcome {
    let request = request(number);
    for _ in 0..1_000 {
        if let Ok(outcome) = store.reserve_one(&sale(), &request).await {
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("Redis does not come back");
}

/// What the store that had seen more must do with a stock that has gone back, and how it ends.
async fn it_is_recovered(store: &RedisStockStore) {
    for number in 100..103 {
        let outcome = buy(store, number).await;
        assert_eq!(outcome, ReserveOutcome::Recovering);
    }
    let before = levels(store).await;
    assert_eq!(before.phase, Phase::Recovering);

    let reopened = next(sale());
    let opened = store.open(&reopened, &snapshot(3)).await.unwrap();
    assert_eq!(opened, OpenOutcome::Opened);
    let sold = store.reserve_one(&reopened, &request(200)).await.unwrap();
    assert!(matches!(&sold, ReserveOutcome::Reserved(attempt) if attempt.seq > before.seq));
    let after = store.levels(&reopened).await.unwrap().unwrap();
    assert_eq!((after.phase, after.available), (Phase::Open, 2));
    // The number of the older epoch counts for nothing in the newer one.
    let stale = buy(store, 201).await;
    assert_eq!(stale, ReserveOutcome::Recovering);
    let after = store.levels(&reopened).await.unwrap().unwrap();
    assert_eq!((after.phase, after.available), (Phase::Open, 2));
}

#[tokio::test]
async fn older_files_sell_nothing() {
    let mut redis = Redis::start();
    let store = store(redis.url());
    open(&store, 10).await;
    reserve(&store, 1).await;
    let copy = redis.copy();
    for number in 2..6 {
        reserve(&store, number).await;
    }
    redis.go_back_to(&copy);

    let outcome = first_answer(&store, 7).await;
    assert_eq!(outcome, ReserveOutcome::Recovering);
    // Nobody else may sell either, whatever he has seen.
    let other = punctual(redis.url());
    assert_eq!(buy(&other, 8).await, ReserveOutcome::Recovering);
    assert_eq!(levels(&other).await.phase, Phase::Recovering);
    assert_eq!(units(&store).await, (9, 1, 0));
    // Whom it still knows is told so: his attempt is decided by the recovery.
    assert!(matches!(
        buy(&store, 1).await,
        ReserveOutcome::AlreadyAllocated(_)
    ));
    it_is_recovered(&store).await;
}

#[tokio::test]
async fn a_stale_replica_sells_nothing_when_it_is_promoted() {
    let mut primary = Redis::start();
    let replica = Redis::replica_of(&primary);
    let proxy = Proxy::to(primary.port()).await;
    let store = store(proxy.url());
    open(&store, 10).await;
    reserve(&store, 1).await;
    until("the replica must have it", || async {
        replica.cli(&["hlen", "flashsale:users:{42}"]).trim() == "1"
    })
    .await;
    replica.cli(&["replicaof", "no", "one"]);
    reserve(&store, 2).await;
    primary.kill();
    proxy.lead_to(replica.port());

    let outcome = first_answer(&store, 3).await;
    assert_eq!(outcome, ReserveOutcome::Recovering);
    let state = replica.cli(&["hget", "flashsale:sale:{42}", "st"]);
    assert_eq!(state.trim(), "F");
    it_is_recovered(&store).await;
}

#[tokio::test]
async fn whoever_looks_at_the_levels_stops_the_sale() {
    let mut redis = Redis::start();
    let store = store(redis.url());
    open(&store, 10).await;
    let copy = redis.copy();
    reserve(&store, 1).await;
    redis.go_back_to(&copy);
    let other = punctual(redis.url());
    assert_eq!(levels(&other).await.phase, Phase::Open);
    until("the levels must be read", || async {
        store.levels(&sale()).await.is_ok()
    })
    .await;
    assert_eq!(levels(&store).await.phase, Phase::Recovering);
    assert_eq!(levels(&other).await.phase, Phase::Recovering);
    assert_eq!(buy(&other, 2).await, ReserveOutcome::Recovering);
    it_is_recovered(&store).await;
}

#[tokio::test]
async fn whoever_acts_for_a_sale_stops_it() {
    let mut redis = Redis::start();
    let store = store(redis.url());
    open(&store, 10).await;
    let early = reserve(&store, 1).await;
    let copy = redis.copy();
    let late = reserve(&store, 2).await;
    for act in 0..4 {
        redis.go_back_to(&copy);
        let other = store_that_answers(&redis).await;
        assert_eq!(levels(&other).await.phase, Phase::Open);
        until("it must be connected again", || async {
            store.allocations(&sale(), &[user(1)]).await.is_ok()
        })
        .await;
        match act {
            0 => {
                let batch = std::slice::from_ref(&early);
                store.acknowledge(&sale(), batch).await.unwrap();
            }
            1 => {
                let bought = settlement(&late, Decision::Success(order(1)));
                let settled = store.settle_one(&sale(), &bought).await.unwrap();
                assert_eq!(settled, SettleOutcome::Healed);
            }
            2 => {
                let change = SaleChange::Restock(5);
                let event = StockEvent { version: 2, change };
                let applied = store.apply(&sale(), &event).await.unwrap();
                assert_eq!(applied, ApplyOutcome::Applied);
            }
            _ => {
                store.fence(&sale()).await.unwrap();
            }
        }
        assert_eq!(levels(&other).await.phase, Phase::Recovering, "act {act}");
        assert_eq!(buy(&other, 9).await, ReserveOutcome::Recovering);
    }
    it_is_recovered(&store).await;
}

async fn store_that_answers(redis: &Redis) -> Arc<RedisStockStore> {
    let store = store(redis.url());
    store.levels(&sale()).await.unwrap();
    store
}

#[tokio::test]
async fn a_wiped_redis_has_no_sale_and_numbers_begin_anew() {
    let redis = Redis::start();
    let store = store(redis.url());
    open(&store, 10).await;
    for number in 1..5 {
        reserve(&store, number).await;
    }
    redis.cli(&["flushall"]);
    assert_eq!(buy(&store, 5).await, ReserveOutcome::NotLoaded);
    assert_eq!(store.levels(&sale()).await.unwrap(), None);
    let reopened = next(sale());
    store.open(&reopened, &snapshot(6)).await.unwrap();
    let levels = store.levels(&reopened).await.unwrap().unwrap();
    assert_eq!((levels.seq, levels.phase), (0, Phase::Open));
    let sold = store.reserve_one(&reopened, &request(5)).await.unwrap();
    assert!(matches!(sold, ReserveOutcome::Reserved(attempt) if attempt.seq == 1));
}

#[tokio::test]
async fn a_sale_short_of_units_stops_and_a_new_epoch_cures_it() {
    let redis = Redis::start();
    let store = store(redis.url());
    open(&store, 2).await;
    let lost = reserve(&store, 1).await;
    redis.cli(&["flushall"]);
    open(&store, 1).await;
    let taken = {
        // A process that has seen nothing of what was lost.
        let other = punctual(redis.url());
        reserve(&other, 2).await
    };
    let bought = settlement(&lost, Decision::Success(order(1)));
    for _ in 0..2 {
        let outcome = store.settle_one(&sale(), &bought).await.unwrap();
        assert_eq!(outcome, SettleOutcome::Drift);
        assert_eq!(levels(&store).await.phase, Phase::Recovering);
        assert_eq!(units(&store).await, (0, 1, 0));
    }
    // What comes back does not make it sell, but it serves the order.
    let released = settlement(&taken, CANCELLED);
    let outcome = store.settle_one(&sale(), &released).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Released);
    assert_eq!(buy(&store, 3).await, ReserveOutcome::Recovering);
    let outcome = store.settle_one(&sale(), &bought).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Healed);
    let outcome = store.settle_one(&sale(), &bought).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Unchanged);
    assert_eq!(levels(&store).await.phase, Phase::Recovering);

    let reopened = next(sale());
    let buyer = Buyer {
        user: lost.user.clone(),
        attempt: lost.id,
        quantity: lost.quantity,
        order: order(1),
        reserved_at: lost.reserved_at,
    };
    let books = StockSnapshot {
        buyers: vec![buyer],
        ..snapshot(1)
    };
    store.open(&reopened, &books).await.unwrap();
    let levels = store.levels(&reopened).await.unwrap().unwrap();
    assert_eq!(
        (levels.phase, levels.available, levels.sold),
        (Phase::Open, 1, 1)
    );
    let again = settlement(&lost, Decision::Success(order(1)));
    let outcome = store.settle_one(&reopened, &again).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Unchanged);
    let sold = store.reserve_one(&reopened, &request(3)).await.unwrap();
    assert!(matches!(sold, ReserveOutcome::Reserved(_)));
}

/// An engine whose stock is in this Redis and everything else in memory.
struct Shop {
    store: Arc<RedisStockStore>,
    queue: MemoryAttemptQueue,
    sales: SaleService,
    worker: Worker,
    recovery: Recovery,
    auditor: Auditor,
}

impl Shop {
    fn on(redis: &Redis) -> Self {
        let clock = Arc::new(ManualClock::default());
        // The windows are judged by the server.
        clock.set(Timestamp::from_millis(1_000));
        let database = MemoryDatabase::default();
        let repo = Arc::new(MemorySaleRepo::new(database.clone()));
        let orders = Arc::new(MemoryOrderRepo::new(database.clone(), clock.clone()));
        let catalogue = Arc::new(Catalogue::new(repo.clone()));
        let (store, queue) = (store(redis.url()), MemoryAttemptQueue::new());
        let recorder = Arc::new(MemoryRecorder::default());
        let sales = SaleService {
            repo: repo.clone(),
            orders: orders.clone(),
            stock: store.clone(),
            catalogue: catalogue.clone(),
            clock: clock.clone(),
        };
        let worker = Worker::new(WorkerPorts {
            catalogue,
            orders: orders.clone(),
            stock: store.clone(),
            dead_letters: Arc::new(MemoryDeadLetterRepo::new(clock)),
            recorder: recorder.clone(),
        });
        Self {
            recovery: Recovery::new(sales.clone(), Arc::new(queue.clone()), recorder, "workers"),
            auditor: Auditor {
                sales: repo,
                orders,
                stock: store.clone(),
                queue: Arc::new(queue.clone()),
                attempts: Arc::new(MemoryAttemptRepo::new(database.clone())),
                group: "workers".to_owned(),
            },
            store,
            queue,
            sales,
            worker,
        }
    }

    /// Reserves a unit and has it queued, if that is wanted.
    async fn attempt(&self, sale: &Sale, number: u64, queued: bool) -> ReserveOutcome {
        let outcome = self.store.reserve_one(&sale.key(), &request(number)).await;
        let outcome = outcome.unwrap();
        if let (ReserveOutcome::Reserved(attempt), true) = (&outcome, queued) {
            self.queue
                .publish(std::slice::from_ref(attempt))
                .await
                .unwrap();
        }
        outcome
    }

    async fn work(&self) {
        let mut reader = self.queue.subscribe("workers").await.unwrap();
        self.worker.step(&mut *reader, 0).await.unwrap();
    }

    async fn now(&self, sale: &Sale) -> Sale {
        self.sales.repo.find(sale.id).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_sale_that_has_gone_back_is_rebuilt_from_the_orders_and_the_queue() {
    let mut redis = Redis::start();
    let shop = Shop::on(&redis);
    let new = NewSale {
        product_name: "lamp".to_owned(),
        product_description: String::new(),
        window: ALWAYS,
        stock: 10,
    };
    let sale = shop.sales.create(&new).await.unwrap().unwrap().sale;
    shop.attempt(&sale, 1, true).await;
    shop.work().await;
    let copy = redis.copy();
    let queued = shop.attempt(&sale, 2, true).await;
    assert!(matches!(queued, ReserveOutcome::Reserved(_)));
    // Nobody but Redis has this one.
    let lost = shop.attempt(&sale, 3, false).await;
    assert!(matches!(lost, ReserveOutcome::Reserved(_)));
    redis.go_back_to(&copy);
    until("it must be connected again", || async {
        shop.store
            .allocations(&sale.key(), &[user(1)])
            .await
            .is_ok()
    })
    .await;

    let outcome = shop.attempt(&sale, 4, true).await;
    assert_eq!(outcome, ReserveOutcome::Recovering);
    let prepared = shop.sales.prepare(&sale).await.unwrap();
    assert_eq!(prepared, StockReadiness::Lost);
    let mut steps = Vec::new();
    while steps.last() != Some(&RecoveryProgress::Done) {
        assert!(steps.len() < 10, "{steps:?}");
        let lost = shop.now(&sale).await;
        steps.push(shop.recovery.step(&lost).await.unwrap());
        if matches!(steps.last(), Some(RecoveryProgress::Draining { .. })) {
            shop.work().await;
        }
    }
    let expected = [
        RecoveryProgress::Fenced,
        RecoveryProgress::Draining { left: 1 },
        RecoveryProgress::Done,
    ];
    assert_eq!(steps, expected);

    let sale = shop.now(&sale).await;
    assert_eq!(
        shop.sales.prepare(&sale).await.unwrap(),
        StockReadiness::Ready
    );
    for number in [1, 2] {
        let outcome = shop.attempt(&sale, number, true).await;
        assert!(
            matches!(&outcome, ReserveOutcome::AlreadyAllocated(allocation) if matches!(allocation.state, AllocationState::Sold(_))),
            "{outcome:?}"
        );
    }
    for number in [3, 4] {
        let outcome = shop.attempt(&sale, number, true).await;
        assert!(
            matches!(outcome, ReserveOutcome::Reserved(_)),
            "{outcome:?}"
        );
    }
    shop.work().await;
    let account = shop.auditor.reconcile(sale.id).await.unwrap().unwrap();
    assert_eq!(account.verdict(), Verdict::Exact, "{account:?}");
    assert_eq!((account.totals.orders, account.totals.remaining), (4, 6));
}
