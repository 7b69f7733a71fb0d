use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::domain::{
    AllocationState, Attempt, AttemptId, Decision, FailReason, Order, OrderId, OrderStatus, SaleId,
    SaleRef, Totals, UserId,
};
use flashsale_core::ports::{
    AttemptQueue, DeadLetterContent, Metric, OrderRepo, StockStore, StockStoreExt,
};
use flashsale_core::services::{DeadLetters, ReplayOutcome, Verdict, Worker};
use flashsale_core::testing::{FaultRates, Faults, Faulty};
use flashsale_core::{ErrorKind, PortError};

use crate::shop::{FAIL_AFTER, FAIL_BEFORE, Shop, user};

#[tokio::test]
async fn attempts_become_orders_and_the_stock_store_is_told() {
    let (shop, sale) = Shop::selling(3).await;
    for name in ["ann", "bob"] {
        shop.accepted(name, sale.id).await;
    }
    let mut reader = shop.queue.subscribe("workers").await.unwrap();
    let step = shop.worker().step(&mut *reader, 0).await.unwrap();
    assert_eq!(step.decided, 2);
    assert!(step.unsettled.is_none() && step.dead_letters.is_empty());
    assert_eq!(shop.memory_queue.committed("workers"), 2);
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.sold, totals.remaining, totals.failed), (2, 1, 0));
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!((levels.available, levels.reserved, levels.sold), (1, 0, 2));
    assert_eq!(shop.recorder.get(Metric::Ordered), 2);
    let idle = shop.worker().step(&mut *reader, 0).await.unwrap();
    assert_eq!(idle.decided, 0);
}

#[tokio::test]
async fn what_comes_again_is_decided_once() {
    let (shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    for group in ["workers", "latecomers"] {
        let mut reader = shop.queue.subscribe(group).await.unwrap();
        let step = shop.worker().step(&mut *reader, 0).await.unwrap();
        assert_eq!(step.decided, 1);
    }
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.failed), (1, 0));
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!((levels.available, levels.sold), (2, 1));
}

#[tokio::test]
async fn nothing_is_done_in_the_queue_if_the_orders_cannot_be_kept() {
    for rates in [FAIL_BEFORE, FAIL_AFTER] {
        let (mut shop, sale) = Shop::selling(3).await;
        shop.accepted("ann", sale.id).await;
        let good = shop.orders.clone();
        shop.orders = shop.faulty_orders(rates);
        let mut reader = shop.queue.subscribe("workers").await.unwrap();
        let failed = shop.worker().step(&mut *reader, 0).await.unwrap_err();
        assert_eq!(failed.operation(), "commit");
        assert_eq!(shop.memory_queue.committed("workers"), 0);
        drop(reader);
        shop.orders = good;
        shop.work().await;
        assert_eq!(shop.memory_queue.committed("workers"), 1);
        let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
        assert_eq!((totals.orders, totals.failed), (1, 0));
    }
}

#[tokio::test]
async fn orders_stand_if_the_stock_store_cannot_be_told_and_repair_tells_it() {
    let (mut shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    let good = shop.stock.clone();
    shop.stock = shop.faulty_stock(FAIL_BEFORE);
    let mut reader = shop.queue.subscribe("workers").await.unwrap();
    let step = shop.worker().step(&mut *reader, 0).await.unwrap();
    assert_eq!(step.decided, 1);
    assert_eq!(step.unsettled.unwrap().operation(), "put_results");
    assert_eq!(shop.memory_queue.committed("workers"), 1);
    shop.stock = good;
    let allocation = shop
        .stock
        .allocation(&sale.key(), &user("ann"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(allocation.state, AllocationState::Reserved { logged: true });
    shop.clock.advance_ms(10_000);
    let repaired = shop.repair().step(&sale.key()).await.unwrap();
    assert_eq!(repaired.completed, 1);
    let accepted = shop.accepted("ann", sale.id).await;
    assert_eq!(accepted.status, OrderStatus::Success);
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_once() {
    let (shop, sale) = Shop::selling(3).await;
    shop.memory_queue.publish_undecodable(b"?");
    shop.accepted("ann", sale.id).await;
    let mut reader = shop.queue.subscribe("workers").await.unwrap();
    let step = shop.worker().step(&mut *reader, 0).await.unwrap();
    assert_eq!(step.decided, 1);
    assert_eq!(
        step.dead_letters[0].content,
        DeadLetterContent::Undecodable(b"?".to_vec())
    );
    assert_eq!(shop.recorder.get(Metric::Undecodable), 1);
    drop(reader);
    let mut reader = shop.queue.subscribe("workers").await.unwrap();
    let step = shop.worker().step(&mut *reader, 0).await.unwrap();
    assert!(step.dead_letters.is_empty());
}

#[tokio::test]
async fn a_batch_of_two_sales_is_decided_for_each() {
    let (shop, lamps) = Shop::selling(3).await;
    let mut tables = crate::shop::lamps(1);
    tables.product_name = "table".to_owned();
    let tables = shop
        .sale_service()
        .create(&tables)
        .await
        .unwrap()
        .unwrap()
        .sale;
    for sale in [&lamps, &tables] {
        shop.accepted("ann", sale.id).await;
    }
    shop.work().await;
    for sale in [&lamps, &tables] {
        let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
        assert_eq!(totals.orders, 1);
    }
}

/// Whatever goes wrong on the way, after it every accepted attempt is an order and every unit is
/// accounted for.
#[tokio::test]
async fn faults_everywhere_lose_no_attempt_and_sell_nothing_twice() {
    for seed in 0..40 {
        let (mut shop, sale) = Shop::selling(20).await;
        let faults = Arc::new(Faults::new(seed, FaultRates::EVERYTHING));
        let queue = Faulty::<dyn AttemptQueue>::new(shop.queue.clone(), faults.clone());
        let orders = Faulty::<dyn OrderRepo>::new(shop.orders.clone(), faults.clone());
        let stock = Faulty::<dyn StockStore>::new(shop.stock.clone(), faults.clone());
        (shop.queue, shop.orders, shop.stock) =
            (Arc::new(queue), Arc::new(orders), Arc::new(stock));
        let mut accepted = Vec::new();
        for number in 0..60 {
            let buyer = user(&format!("u{}", number % 30));
            let outcome = shop.service().attempt(&buyer, sale.id).await;
            if let Ok(flashsale_core::services::AttemptOutcome::Accepted(acceptance)) = outcome {
                accepted.push(acceptance.attempt);
            }
            shop.clock.advance_ms(500);
            if number % 5 == 0 {
                if let Ok(mut reader) = shop.queue.subscribe("workers").await {
                    let _ = shop.worker().step(&mut *reader, 0).await;
                }
                let _ = shop.repair().step(&sale.key()).await;
            }
        }
        faults.heal();
        shop.clock.advance_ms(20_000);
        shop.repair().step(&sale.key()).await.unwrap();
        shop.work().await;
        let account = shop.auditor().reconcile(sale.id).await.unwrap().unwrap();
        assert_eq!(
            account.verdict(),
            Verdict::Exact,
            "seed {seed}: {account:?}"
        );
        assert_eq!(account.totals.sold, 20, "seed {seed}");
        for order in shop.orders.find(&accepted).await.unwrap() {
            let decision = order
                .unwrap_or_else(|| panic!("seed {seed}: a lost attempt"))
                .decision;
            let won = matches!(decision, flashsale_core::domain::Decision::Success(_));
            assert!(won, "seed {seed}: {decision:?}");
        }
    }
}

#[test]
fn a_worker_takes_no_more_at_once_than_a_batch_may_carry() {
    const { assert!(Worker::BATCH <= flashsale_core::ports::BATCH_MAX) };
}

#[tokio::test]
async fn an_attempt_of_an_unknown_sale_keeps_nobody_waiting() {
    let (shop, sale) = Shop::selling(3).await;
    let accepted = shop.accepted("ann", sale.id).await;
    let stray = flashsale_core::domain::Attempt {
        id: flashsale_core::testing::SequentialIds::id(99),
        sale: flashsale_core::domain::SaleId::new(77).unwrap(),
        product: sale.product.id,
        user: user("bob"),
        quantity: flashsale_core::domain::Quantity::ONE,
        epoch: sale.epoch,
        seq: 1,
        reserved_at: sale.window.start,
    };
    shop.queue.publish(&[stray]).await.unwrap();
    let mut reader = shop.queue.subscribe("workers").await.unwrap();
    let step = shop.worker().step(&mut *reader, 0).await.unwrap();
    assert_eq!((step.decided, step.dead_letters.len()), (1, 1));
    assert_eq!(shop.memory_queue.committed("workers"), 2);
    let order = shop.orders.find(&[accepted.attempt]).await.unwrap();
    assert!(order[0].is_some());
}

#[tokio::test]
async fn a_worker_tells_the_stock_store_again_what_it_could_not_be_told() {
    let (mut shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    let faults = Arc::new(Faults::new(1, FAIL_BEFORE));
    let stock: Arc<dyn StockStore> = Arc::new(Faulty::new(shop.stock.clone(), faults.clone()));
    let good = std::mem::replace(&mut shop.stock, stock);
    let worker = shop.worker();
    let mut reader = shop.queue.subscribe("workers").await.unwrap();
    for decided in [1, 0] {
        let step = worker.step(&mut *reader, 0).await.unwrap();
        assert_eq!(step.decided, decided);
        assert!(step.unsettled.is_some());
    }
    faults.heal();
    let step = worker.step(&mut *reader, 0).await.unwrap();
    assert!(step.unsettled.is_none());
    let allocation = good
        .allocation(&sale.key(), &user("ann"))
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(allocation.state, AllocationState::Sold(_)),
        "{allocation:?}"
    );
}

/// Orders of which one user's are refused, and with them their batch.
#[derive(Debug)]
struct Picky {
    inner: Arc<dyn OrderRepo>,
    refused: UserId,
}

#[async_trait]
impl OrderRepo for Picky {
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError> {
        if attempts.iter().any(|attempt| attempt.user == self.refused) {
            return Err(PortError::new(ErrorKind::Invalid, "picky", "commit"));
        }
        self.inner.commit(sale, attempts).await
    }

    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        self.inner.release(sale, attempts, reason).await
    }

    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        self.inner.find(attempts).await
    }

    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError> {
        self.inner.list(sale, after, max).await
    }

    async fn totals(&self, sale: SaleId) -> Result<Option<Totals>, PortError> {
        self.inner.totals(sale).await
    }
}

#[tokio::test]
async fn an_attempt_that_cannot_be_decided_takes_no_other_with_it() {
    let (mut shop, sale) = Shop::selling(9).await;
    for name in ["ann", "bob", "cem", "dea", "eve"] {
        shop.accepted(name, sale.id).await;
    }
    shop.orders = Arc::new(Picky {
        inner: shop.orders.clone(),
        refused: user("dea"),
    });
    let mut reader = shop.queue.subscribe("workers").await.unwrap();
    let step = shop.worker().step(&mut *reader, 0).await.unwrap();
    assert_eq!(step.decided, 4);
    let [letter] = &step.dead_letters[..] else {
        panic!("{step:?}");
    };
    let DeadLetterContent::Attempt(attempt) = &letter.content else {
        panic!("{letter:?}");
    };
    assert_eq!(attempt.user, user("dea"));
    assert_eq!(shop.memory_queue.committed("workers"), 5);
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!((levels.reserved, levels.sold), (1, 4));
}

#[tokio::test]
async fn an_attempt_of_a_sale_that_is_made_later_can_be_replayed() {
    let (shop, sale) = Shop::selling(3).await;
    let next = SaleId::new(sale.id.get() + 1).unwrap();
    let stray = Attempt {
        id: flashsale_core::testing::SequentialIds::id(99),
        sale: next,
        product: sale.product.id,
        user: user("bob"),
        quantity: flashsale_core::domain::Quantity::ONE,
        epoch: sale.epoch,
        seq: 1,
        reserved_at: sale.window.start,
    };
    shop.queue.publish(&[stray]).await.unwrap();
    shop.work().await;
    let letters = DeadLetters {
        repo: shop.dead_letters.clone(),
        decoder: None,
        repair: shop.repair(),
    };
    let [letter] = &letters.list(None, 10).await.unwrap()[..] else {
        panic!("one letter is kept");
    };
    let early = letters.replay(letter.id).await.unwrap();
    assert!(
        matches!(early, ReplayOutcome::Undecodable(_)),
        "it was {early:?}"
    );
    let new = flashsale_core::domain::NewSale {
        product_name: "bulb".to_owned(),
        product_description: String::new(),
        window: sale.window,
        stock: 3,
    };
    let made = shop.sale_service().create(&new).await.unwrap().unwrap();
    assert_eq!(made.sale.id, next);
    let replayed = letters.replay(letter.id).await.unwrap();
    let ReplayOutcome::Decided(Decision::Success(_)) = replayed else {
        panic!("{replayed:?}");
    };
    assert_eq!(letters.replay(letter.id).await.unwrap(), replayed);
}
