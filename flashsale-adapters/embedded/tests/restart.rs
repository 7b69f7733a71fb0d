//! What a shop relies on when the process goes away and comes back.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use flashsale_core::domain::{
    Allocation, AllocationState, AttemptId, NewSale, Quantity, ReserveOutcome, ReserveRequest,
    Sale, SaleChange, Timestamp, UserId, Window,
};
use flashsale_core::ports::{IdSource, NoRecorder, OrderRepo, StockStore, StockStoreExt};
use flashsale_core::services::{ChangeSaleOutcome, EngineServices, Verdict};
use flashsale_embedded::{Decides, EmbeddedConfig, EmbeddedEngine, SystemClock, UuidV7};
use tempfile::TempDir;

fn open(folder: &TempDir, decides: Decides) -> EmbeddedEngine {
    let mut config = EmbeddedConfig::new(folder.path().join("shop.db"));
    config.decides = decides;
    EmbeddedEngine::open(config, Arc::new(SystemClock)).unwrap()
}

async fn services(engine: &EmbeddedEngine) -> EngineServices {
    engine.services(Arc::new(NoRecorder)).await.unwrap()
}

async fn sale(engine: &EmbeddedEngine, stock: u64) -> Sale {
    let new = NewSale {
        product_name: "lamp".into(),
        product_description: String::new(),
        window: Window {
            start: Timestamp::from_millis(0),
            end: Timestamp::from_millis(i64::MAX),
        },
        stock,
    };
    services(engine)
        .await
        .sales
        .create(&new)
        .await
        .unwrap()
        .unwrap()
        .sale
}

fn request(user: &str) -> ReserveRequest {
    ReserveRequest {
        attempt: UuidV7.attempt_id(),
        user: UserId::new(user).unwrap(),
        quantity: Quantity::ONE,
    }
}

async fn verdict(engine: &EmbeddedEngine, sale: &Sale) -> Verdict {
    let auditor = services(engine).await.auditor;
    let account = auditor.reconcile(sale.id).await.unwrap().unwrap();
    println!("{account:?}");
    account.verdict()
}

#[tokio::test]
async fn orders_stock_and_allocations_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder, Decides::AtOnce);
    let sale = sale(&engine, 3).await;
    let ann = engine
        .stock()
        .reserve_one(&sale.key(), &request("ann"))
        .await
        .unwrap();
    let ReserveOutcome::Sold(attempt, order) = ann else {
        panic!("{ann:?}")
    };
    services(&engine)
        .await
        .sales
        .change(sale.id, SaleChange::Restock(2))
        .await
        .unwrap();
    drop(engine);

    let engine = open(&folder, Decides::AtOnce);
    let levels = engine.stock().levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!((levels.available, levels.reserved, levels.sold), (4, 0, 1));
    let again = engine
        .stock()
        .reserve_one(&sale.key(), &request("ann"))
        .await
        .unwrap();
    assert!(
        matches!(&again, ReserveOutcome::AlreadyAllocated(Allocation { attempt: id, state: AllocationState::Sold(o), .. })
            if *id == attempt.id && *o == order),
        "{again:?}"
    );
    let found = engine.orders().find(&[attempt.id]).await.unwrap();
    assert_eq!(found[0].as_ref().map(|order| order.id), Some(order));
    assert_eq!(verdict(&engine, &sale).await, Verdict::Exact);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_gets_every_unit_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder, Decides::AtOnce);
    let sale = sale(&engine, 100).await;
    let stock = engine.stock();
    let mut buyers = Vec::new();
    for n in 0..2_000 {
        let (stock, key) = (Arc::clone(&stock), sale.key());
        let request = request(&format!("user-{}", n % 1_500));
        buyers.push(tokio::spawn(async move {
            stock.reserve_one(&key, &request).await.unwrap()
        }));
    }
    let mut sold = Vec::<AttemptId>::new();
    for buyer in buyers {
        if let ReserveOutcome::Sold(attempt, _) = buyer.await.unwrap() {
            sold.push(attempt.id);
        }
    }
    assert_eq!(sold.len(), 100);
    assert_eq!(verdict(&engine, &sale).await, Verdict::Exact);
    let orders = engine.orders().list(sale.id, None, 1_000).await.unwrap();
    assert_eq!(orders.len(), 100);
    drop((engine, stock));
    assert_eq!(
        verdict(&open(&folder, Decides::AtOnce), &sale).await,
        Verdict::Exact
    );
}

#[tokio::test]
async fn a_dropped_caller_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder, Decides::AtOnce);
    let sale = sale(&engine, 10).await;
    let stock = engine.stock();
    let (key, request_a, request_b) = (sale.key(), request("ann"), request("bob"));
    {
        // The first poll makes ann the leader; dropping her call passes the lead on.
        let mut ann = Box::pin(stock.reserve_one(&key, &request_a));
        let waker = std::task::Waker::noop();
        assert!(
            ann.as_mut()
                .poll(&mut std::task::Context::from_waker(waker))
                .is_pending()
        );
    }
    let bob = stock.reserve_one(&key, &request_b).await.unwrap();
    assert!(matches!(bob, ReserveOutcome::Sold(..)));
    let again = stock.reserve_one(&key, &request("ann")).await.unwrap();
    assert!(
        matches!(again, ReserveOutcome::AlreadyAllocated(allocation) if allocation.attempt == request_a.attempt)
    );
}

#[tokio::test]
async fn a_closed_sale_stays_closed() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder, Decides::AtOnce);
    let sale = sale(&engine, 1).await;
    let closed = services(&engine)
        .await
        .sales
        .change(sale.id, SaleChange::Close)
        .await
        .unwrap();
    assert!(matches!(closed, ChangeSaleOutcome::Changed(_)));
    drop(engine);
    let engine = open(&folder, Decides::AtOnce);
    let late = engine
        .stock()
        .reserve_one(&sale.key(), &request("ann"))
        .await
        .unwrap();
    assert_eq!(late, ReserveOutcome::Ended);
}
