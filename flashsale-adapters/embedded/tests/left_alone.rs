//! A future that is kept but not polled any more.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use flashsale_core::domain::{
    NewSale, Quantity, ReserveOutcome, ReserveRequest, Sale, Timestamp, UserId, Window,
};
use flashsale_core::ports::{IdSource, NoRecorder, StockStoreExt};
use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, SystemClock, UuidV7};

async fn sale(engine: &EmbeddedEngine) -> Sale {
    let new = NewSale {
        product_name: "lamp".into(),
        product_description: String::new(),
        window: Window {
            start: Timestamp::from_millis(0),
            end: Timestamp::from_millis(i64::MAX),
        },
        stock: 10,
    };
    let services = engine.services(Arc::new(NoRecorder)).await.unwrap();
    services.sales.create(&new).await.unwrap().unwrap().sale
}

fn request(user: &str) -> ReserveRequest {
    ReserveRequest {
        attempt: UuidV7.attempt_id(),
        user: UserId::new(user).unwrap(),
        quantity: Quantity::ONE,
    }
}

/// As `select!` over a borrowed future does, or a body of `for_each` over buffered ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_kept_but_not_polled_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig::new(folder.path().join("shop.db"));
    let engine = EmbeddedEngine::open(config, Arc::new(SystemClock)).unwrap();
    let key = sale(&engine).await.key();
    let (ann, bob) = (request("ann"), request("bob"));
    let stock = engine.stock();

    let mut left_alone = std::pin::pin!(stock.reserve_one(&key, &ann));
    tokio::select! {
        biased;
        _ = &mut left_alone => panic!("nothing is committed in the first poll"),
        () = std::future::ready(()) => {}
    }
    let other = {
        let stock = engine.stock();
        tokio::spawn(async move { stock.reserve_one(&key, &bob).await })
    };
    // Only so that the test ends.
    let other = tokio::time::timeout(Duration::from_secs(10), other).await;
    let outcome = other.expect("another task is served").unwrap().unwrap();
    assert!(matches!(outcome, ReserveOutcome::Sold(..)));
    let outcome = left_alone.await.unwrap();
    assert!(matches!(outcome, ReserveOutcome::Sold(..)));
}
