//! How a process learns what another has changed.

use std::time::{Duration, Instant};

use flashsale_core::domain::SaleChange;
use flashsale_core::ports::{OrderRepo, Revision, SaleRepo};
use flashsale_postgres::{PostgresDatabase, PostgresSaleRepo};
use flashsale_stack::Postgres;

use crate::shop;

/// A repo that listens, and what it has seen. Its waits end after a second even if nothing is told.
async fn listening(database: &PostgresDatabase) -> (PostgresSaleRepo, Revision) {
    let sales = database.sales();
    let first = sales.changed(Revision::default()).await.unwrap();
    assert_ne!(first, Revision::default());
    // The connection of the listener counts as a change.
    let seen = moved(&sales, first).await;
    (sales, seen)
}

/// Waits until the revision is another one.
async fn moved(sales: &PostgresSaleRepo, seen: Revision) -> Revision {
    shop::until("a change", || async {
        let now = sales.changed(seen).await.unwrap();
        (now != seen).then_some(now)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_another_process_is_told_at_once() {
    let (url, ours) = shop::fresh().await;
    let theirs = shop::database(url.as_str());
    let (sales, mut seen) = listening(&ours).await;
    let sale = shop::sale(&theirs, 5).await;
    seen = moved(&sales, seen).await;
    assert_eq!(sales.list().await.unwrap().len(), 1);
    theirs.sales().opened(&sale.key(), 1).await.unwrap();
    seen = moved(&sales, seen).await;
    let mut slowest = Duration::ZERO;
    for change in [SaleChange::Pause, SaleChange::Restock(3), SaleChange::Close] {
        let waiting = tokio::spawn({
            let sales = sales.clone();
            async move { (moved(&sales, seen).await, Instant::now()) }
        });
        theirs.sales().change(sale.id, change, None).await.unwrap();
        let changed = Instant::now();
        let told;
        (seen, told) = waiting.await.unwrap();
        slowest = slowest.max(told.saturating_duration_since(changed));
    }
    println!("told after {slowest:?} at most");
    // Typically a millisecond; polling would take up to a second each time.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_hand_is_told_and_selling_is_not() {
    let (url, ours) = shop::fresh().await;
    let sale = shop::sale(&ours, 5).await.key();
    let (sales, seen) = listening(&ours).await;
    let attempts = shop::attempts(&sale, 3);
    ours.orders().commit(&sale, &attempts).await.unwrap();
    let since = Instant::now();
    assert_eq!(sales.changed(seen).await.unwrap(), seen);
    assert!(
        since.elapsed() > Duration::from_millis(900),
        "nothing is told at once"
    );
    for sql in [
        "UPDATE flash_sales SET phase = 'OPEN'",
        "UPDATE products SET name = 'another'",
    ] {
        let seen = sales.changed(Revision::default()).await.unwrap();
        shop::psql(&url, sql);
        moved(&sales, seen).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_after_a_second_in_any_case() {
    let away = shop::database("postgres://postgres@127.0.0.1:1/postgres");
    let sales = away.sales();
    let seen = sales.changed(Revision::default()).await.unwrap();
    let since = Instant::now();
    assert_eq!(sales.changed(seen).await.unwrap(), seen);
    assert!(since.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_again_after_the_server_was_away() {
    let mut server = Postgres::start();
    let (ours, theirs) = (shop::database(server.url()), shop::database(server.url()));
    ours.migrate().await.unwrap();
    let (sales, mut seen) = listening(&ours).await;
    for killed in [false, true] {
        if killed {
            server.kill();
        }
        server.restart();
        // The listener is back.
        seen = moved(&sales, seen).await;
        let created = Instant::now();
        shop::sale(&theirs, 5).await;
        seen = moved(&sales, seen).await;
        println!("told after {:?}", created.elapsed());
    }
}
