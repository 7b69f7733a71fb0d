//! A stock store that loses a sale, and how the sale comes back.

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Allocation, ApplyOutcome, Attempt, FailReason, Levels, OpenOutcome, OrderStatus, Phase,
    ProductId, ReserveOutcome, ReserveRequest, Sale, SaleChange, SaleRef, SaleResult,
    SettleOutcome, Settlement, StockEvent, StockSnapshot, UserId,
};
use flashsale_core::ports::{Metric, StockStore};
use flashsale_core::services::{
    AttemptOutcome, Durability, Recovery, RecoveryProgress, StockReadiness, Verdict,
};
use flashsale_core::testing::MemoryStockStore;

use crate::shop::{Shop, user};

/// A store that has lost everything.
fn wipe(shop: &mut Shop) {
    shop.stock = Arc::new(MemoryStockStore::new(shop.clock.clone()));
}

async fn now(shop: &Shop, sale: &Sale) -> Sale {
    shop.sales.find(sale.id).await.unwrap().unwrap()
}

/// Steps until the sale sells again; at most ten.
async fn recover(recovery: &Recovery, shop: &Shop, sale: &Sale) {
    for _ in 0..10 {
        shop.work().await;
        let sale = now(shop, sale).await;
        if recovery.step(&sale).await.unwrap() == RecoveryProgress::Done {
            return;
        }
    }
    panic!("the sale does not come back");
}

fn taken(outcome: &ReserveOutcome) -> Attempt {
    match outcome {
        ReserveOutcome::Reserved(attempt) => attempt.clone(),
        other => panic!("must be reserved, is {other:?}"),
    }
}

async fn books_balance(shop: &Shop, sale: &Sale) {
    let account = shop.auditor().reconcile(sale.id).await.unwrap().unwrap();
    assert_eq!(account.verdict(), Verdict::Exact, "{account:?}");
    let levels = account.levels.unwrap();
    assert_eq!(
        (levels.available, levels.reserved),
        (account.totals.remaining, 0)
    );
}

#[tokio::test]
async fn a_wiped_sale_is_rebuilt_from_its_orders_and_what_the_queue_has() {
    let (mut shop, sale) = Shop::selling(5).await;
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    shop.accepted("bob", sale.id).await;
    wipe(&mut shop);
    let recovering = shop.attempt("eve", sale.id).await;
    assert_eq!(recovering, AttemptOutcome::Recovering);
    let service = shop.sale_service();
    assert_eq!(service.prepare(&sale).await.unwrap(), StockReadiness::Lost);

    let recovery = shop.recovery();
    let step = recovery.step(&sale).await.unwrap();
    assert_eq!(step, RecoveryProgress::Fenced);
    let lost = now(&shop, &sale).await;
    assert_eq!(lost.phase, Phase::Recovering);
    let step = recovery.step(&lost).await.unwrap();
    assert_eq!(step, RecoveryProgress::Draining { left: 1 });
    shop.catalogue.refresh().await.unwrap();
    let refused = shop.attempt("eve", sale.id).await;
    assert_eq!(refused, AttemptOutcome::Recovering);

    shop.work().await;
    let step = recovery.step(&lost).await.unwrap();
    assert_eq!(step, RecoveryProgress::Done);
    assert_eq!(shop.recorder.get(Metric::Recovered), 1);
    assert_eq!(now(&shop, &sale).await.phase, Phase::Open);
    books_balance(&shop, &sale).await;
    for name in ["ann", "bob"] {
        let again = shop.attempt(name, sale.id).await;
        let AttemptOutcome::Accepted(accepted) = again else {
            panic!("{name}: {again:?}");
        };
        assert_eq!(accepted.status, OrderStatus::Success);
    }
    shop.accepted("eve", sale.id).await;
    shop.work().await;
    books_balance(&shop, &sale).await;
    assert_eq!(recovery.step(&sale).await.unwrap(), RecoveryProgress::Done);
    assert_eq!(now(&shop, &sale).await.epoch, lost.epoch);
}

#[tokio::test]
async fn what_the_store_still_holds_becomes_orders() {
    let (shop, sale) = Shop::selling(5).await;
    let request = shop.request("ann");
    shop.stock.reserve(&sale.key(), &[request]).await.unwrap();
    recover(&shop.recovery(), &shop, &sale).await;
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.remaining), (1, 4));
    books_balance(&shop, &sale).await;
}

#[tokio::test]
async fn an_attempt_that_comes_after_the_seal_is_refused_and_its_user_may_try_again() {
    let (mut shop, sale) = Shop::selling(1).await;
    let request = shop.request("ann");
    let reserved = shop.stock.reserve(&sale.key(), &[request]).await.unwrap();
    let attempt = taken(&reserved[0]);
    wipe(&mut shop);
    recover(&shop.recovery(), &shop, &sale).await;
    shop.queue.publish(&[attempt]).await.unwrap();
    shop.work().await;
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.failed), (0, 1));
    let purchase = shop
        .service()
        .purchase_status(&user("ann"), sale.product.id)
        .await;
    assert_eq!(purchase.unwrap().status, OrderStatus::Failed);
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    books_balance(&shop, &sale).await;
}

#[tokio::test]
async fn a_store_behind_the_orders_has_lost_something() {
    let (mut shop, sale) = Shop::selling(5).await;
    let before = Arc::new(MemoryStockStore::new(shop.clock.clone()));
    let key = sale.key();
    let snapshot = StockSnapshot {
        window: sale.window,
        phase: Phase::Open,
        version: 1,
        remaining: 5,
        buyers: Vec::new(),
    };
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    shop.stock = before;
    shop.stock.open(&key, &snapshot).await.unwrap();
    let sale = now(&shop, &sale).await;
    let readiness = shop.sale_service().prepare(&sale).await.unwrap();
    assert_eq!(readiness, StockReadiness::Lost);
    recover(&shop.recovery(), &shop, &sale).await;
    books_balance(&shop, &sale).await;
}

#[tokio::test]
async fn failed_results_are_there_again() {
    let (mut shop, sale) = Shop::selling(1).await;
    let request = shop.request("ann");
    let reserved = shop.stock.reserve(&sale.key(), &[request]).await.unwrap();
    let attempt = taken(&reserved[0]);
    let reason = FailReason::Cancelled;
    let orders = shop.orders.clone();
    orders
        .release(&sale.key(), &[attempt], reason)
        .await
        .unwrap();
    wipe(&mut shop);
    recover(&shop.recovery(), &shop, &sale).await;
    let purchase = shop
        .service()
        .purchase_status(&user("ann"), sale.product.id)
        .await;
    assert_eq!(purchase.unwrap().status, OrderStatus::Failed);
}

#[tokio::test]
async fn a_sale_paused_while_it_is_rebuilt_stays_paused() {
    let (mut shop, sale) = Shop::selling(5).await;
    wipe(&mut shop);
    let recovery = shop.recovery();
    recovery.step(&sale).await.unwrap();
    shop.change(sale.id, SaleChange::Pause).await;
    recover(&recovery, &shop, &sale).await;
    assert_eq!(shop.attempt("ann", sale.id).await, AttemptOutcome::Paused);
    shop.change(sale.id, SaleChange::Resume).await;
    shop.accepted("ann", sale.id).await;
}

#[tokio::test]
async fn two_processes_may_rebuild_the_same_sale() {
    let (mut shop, sale) = Shop::selling(5).await;
    shop.accepted("ann", sale.id).await;
    wipe(&mut shop);
    let (one, two) = (shop.recovery(), shop.recovery());
    one.step(&sale).await.unwrap();
    two.step(&sale).await.unwrap();
    let lost = now(&shop, &sale).await;
    recover(&one, &shop, &sale).await;
    shop.accepted("bob", sale.id).await;
    assert_eq!(two.step(&lost).await.unwrap(), RecoveryProgress::Done);
    shop.work().await;
    books_balance(&shop, &sale).await;
    assert_eq!(shop.recorder.get(Metric::Recovered), 1);
}

#[tokio::test]
async fn a_change_that_only_the_store_has_is_told_apart() {
    let (shop, sale) = Shop::selling(5).await;
    let event = sale.clone().change(SaleChange::Withdraw(2)).unwrap();
    shop.stock.apply(&sale.key(), &event).await.unwrap();
    let readiness = shop.sale_service().prepare(&sale).await.unwrap();
    assert_eq!(readiness, StockReadiness::Ahead);
    recover(&shop.recovery(), &shop, &sale).await;
    books_balance(&shop, &sale).await;
    let durable = shop.attempt("ann", sale.id).await;
    assert!(matches!(durable, AttemptOutcome::Accepted(accepted)
        if accepted.durability == Durability::Logged));
}

/// A store that is rebuilt while somebody asks how they stand: after their allocation was read, and before
/// the state of the sale is.
#[derive(Debug)]
struct JustRebuilt {
    inner: Arc<dyn StockStore>,
    recovery: Recovery,
    lost: Sale,
}

macro_rules! pass_on {
    ($($name:ident($($arg:ident: $type:ty),*) -> $output:ty;)*) => {
        #[async_trait]
        impl StockStore for JustRebuilt {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$output, PortError> {
                self.inner.$name($($arg),*).await
            })*

            async fn results(
                &self,
                product: ProductId,
                users: &[UserId],
            ) -> Result<Vec<Option<SaleResult>>, PortError> {
                let step = self.recovery.step(&self.lost).await?;
                assert_eq!(step, RecoveryProgress::Done);
                self.inner.results(product, users).await
            }
        }
    };
}

pass_on! {
    open(sale: &SaleRef, snapshot: &StockSnapshot) -> OpenOutcome;
    reserve(sale: &SaleRef, requests: &[ReserveRequest]) -> Vec<ReserveOutcome>;
    acknowledge(sale: &SaleRef, attempts: &[Attempt]) -> ();
    settle(sale: &SaleRef, settlements: &[Settlement]) -> Vec<SettleOutcome>;
    allocations(sale: &SaleRef, users: &[UserId]) -> Vec<Option<Allocation>>;
    unpublished(sale: &SaleRef, min_age_ms: u64, max: usize) -> Vec<Attempt>;
    overdue(sale: &SaleRef, min_age_ms: u64, max: usize) -> Vec<Attempt>;
    apply(sale: &SaleRef, event: &StockEvent) -> ApplyOutcome;
    fence(sale: &SaleRef) -> Option<Levels>;
    levels(sale: &SaleRef) -> Option<Levels>;
    put_results(results: &[SaleResult]) -> ();
}

#[tokio::test]
async fn a_buyer_who_asks_while_the_stock_is_rebuilt_is_not_told_of_no_attempt() {
    let (mut shop, sale) = Shop::selling(5).await;
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    wipe(&mut shop);
    let recovery = shop.recovery();
    assert_eq!(
        recovery.step(&sale).await.unwrap(),
        RecoveryProgress::Fenced
    );
    shop.catalogue.refresh().await.unwrap();
    let lost = now(&shop, &sale).await;
    shop.stock = Arc::new(JustRebuilt {
        inner: shop.stock.clone(),
        recovery,
        lost,
    });
    let purchase = shop
        .service()
        .purchase_status(&user("ann"), sale.product.id)
        .await;
    // An error is right too: ask again.
    if let Ok(purchase) = purchase {
        assert_eq!(purchase.status, OrderStatus::Success, "{purchase:?}");
    }
}
