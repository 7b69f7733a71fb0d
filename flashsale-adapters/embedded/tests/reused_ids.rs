//! Attempt ids that belong to somebody else: whoever reuses one gets nothing, and nobody else
//! notices.
#![allow(clippy::unwrap_used)]

mod shop;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use flashsale_core::domain::{AttemptId, ReserveOutcome};
use flashsale_core::ports::{IdSource, StockStore, StockStoreExt};
use flashsale_core::{Effect, ErrorKind};
use flashsale_embedded::{Decides, UuidV7};
use shop::{assert_exact, open, request, request_as, sell, user};

fn fresh() -> AttemptId {
    UuidV7.attempt_id()
}

#[tokio::test]
async fn an_id_of_another_user_or_sale_takes_nothing() {
    for decides in [Decides::AtOnce, Decides::Later] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let engine = open(&path, decides);
        let (lamp, book) = (
            sell(&engine, "lamp", 5).await,
            sell(&engine, "book", 5).await,
        );
        let stock = engine.stock();
        let id = fresh();
        stock
            .reserve_one(&lamp.key(), &request_as(id, "ann"))
            .await
            .unwrap();
        for (sale, name) in [(&lamp, "bob"), (&book, "ann"), (&book, "bob")] {
            let error = stock.reserve_one(&sale.key(), &request_as(id, name)).await;
            let error = error.unwrap_err();
            assert_eq!(
                (error.kind(), error.effect()),
                (ErrorKind::Invalid, Effect::None)
            );
            assert!(!error.kind().is_transient());
            if (sale, name) != (&book, "ann") {
                assert_eq!(
                    stock.allocation(&sale.key(), &user(name)).await.unwrap(),
                    None
                );
            }
        }
        let levels = stock.levels(&lamp.key()).await.unwrap().unwrap();
        assert_eq!(levels.available, 4);
        let levels = stock.levels(&book.key()).await.unwrap().unwrap();
        assert_eq!(levels.available, 5);
        assert_exact(&engine, &lamp).await;
        assert_exact(&engine, &book).await;
        drop((engine, stock));
        let engine = open(&path, decides);
        assert_exact(&engine, &lamp).await;
        assert_exact(&engine, &book).await;
    }
}

/// Two callers come with one id before either is on disk.
#[tokio::test]
async fn of_two_who_share_an_id_at_the_same_time_the_first_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = open(&path, Decides::AtOnce);
    let sale = sell(&engine, "lamp", 2).await;
    let (stock, key, id) = (engine.stock(), sale.key(), fresh());
    let (ann, bob, carl) = (
        request_as(id, "ann"),
        request_as(id, "bob"),
        request("carl"),
    );
    let (ann, bob, carl) = tokio::join!(
        stock.reserve_one(&key, &ann),
        stock.reserve_one(&key, &bob),
        stock.reserve_one(&key, &carl),
    );
    assert!(matches!(ann, Ok(ReserveOutcome::Sold(..))), "{ann:?}");
    assert_eq!(bob.unwrap_err().kind(), ErrorKind::Invalid);
    // Bob held a unit for a moment.
    if matches!(carl, Ok(ReserveOutcome::SoldOut)) {
        let again = stock.reserve_one(&key, &request("carl")).await.unwrap();
        assert!(matches!(again, ReserveOutcome::Sold(..)), "{again:?}");
    }
    let dora = stock.reserve_one(&key, &request("dora")).await.unwrap();
    assert_eq!(dora, ReserveOutcome::SoldOut);
    assert_eq!(assert_exact(&engine, &sale).await.totals.orders, 2);
    drop((engine, stock));
    assert_exact(&open(&path, Decides::AtOnce), &sale).await;
}

/// "No effect" would be a lie about the others of the batch.
#[tokio::test]
async fn a_batch_with_a_reused_id_does_not_deny_what_its_others_got() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder.path().join("shop.db"), Decides::AtOnce);
    let sale = sell(&engine, "lamp", 5).await;
    let (stock, key, id) = (engine.stock(), sale.key(), fresh());
    stock
        .reserve_one(&key, &request_as(id, "ann"))
        .await
        .unwrap();
    let batch = [request("bob"), request_as(id, "carl"), request("dora")];
    let error = stock.reserve(&key, &batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let names = batch.map(|request| request.user);
    let allocations = stock.allocations(&key, &names).await.unwrap();
    assert_eq!(allocations[1], None, "carl");
    if allocations.iter().any(Option::is_some) {
        assert_eq!(error.effect(), Effect::Unknown, "{allocations:?}");
    }
    assert_exact(&engine, &sale).await;
}

/// The second round of a batch fails: what the first round took stands.
#[tokio::test]
async fn a_batch_that_fails_late_does_not_deny_what_it_got_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = open(&path, Decides::AtOnce);
    let sale = sell(&engine, "lamp", 5).await;
    let (stock, key) = (engine.stock(), sale.key());
    let mut context = Context::from_waker(Waker::noop());
    let (bob, batch) = (
        request("bob"),
        [request("ann"), request("bob"), request("carl")],
    );
    let mut bob = pin!(stock.reserve_one(&key, &bob));
    assert!(bob.as_mut().poll(&mut context).is_pending());
    // Its first round takes a unit for ann, and waits to see what becomes of bob's.
    let mut batch_call = pin!(stock.reserve(&key, &batch));
    assert!(batch_call.as_mut().poll(&mut context).is_pending());
    let bob = loop {
        if let Poll::Ready(bob) = bob.as_mut().poll(&mut context) {
            break bob;
        }
    };
    assert!(matches!(bob, Ok(ReserveOutcome::Sold(..))), "{bob:?}");

    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let result = loop {
        if let Poll::Ready(result) = batch_call.as_mut().poll(&mut context) {
            break result;
        }
    };
    other.execute_batch("ROLLBACK").unwrap();
    let error = result.unwrap_err();
    let allocation = stock.allocation(&key, &batch[0].user).await.unwrap();
    assert!(allocation.is_some());
    assert_eq!(error.effect(), Effect::Unknown, "{error}");
    assert_exact(&engine, &sale).await;
}
