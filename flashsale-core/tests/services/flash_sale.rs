use std::sync::Arc;

use flashsale_core::ErrorKind;
use flashsale_core::domain::{
    Decision, FailReason, OrderId, OrderStatus, ProductId, SaleChange, SaleId, SaleResult,
    SaleStatus,
};
use flashsale_core::ports::{CreateSaleOutcome, Metric};
use flashsale_core::services::{AttemptOutcome, Catalogue, Durability, PurchaseStatus};
use flashsale_core::testing::SequentialIds;

use crate::shop::{FAIL_AFTER, FAIL_BEFORE, START, Shop, WINDOW, lamps, user};

#[tokio::test]
async fn an_attempt_is_accepted_and_logged() {
    let (shop, sale) = Shop::selling(3).await;
    let accepted = shop.accepted("ann", sale.id).await;
    assert_eq!(accepted.attempt, SequentialIds::id(1));
    assert_eq!(
        (accepted.sale, accepted.product),
        (sale.id, sale.product.id)
    );
    assert_eq!(accepted.status, OrderStatus::Pending);
    assert_eq!(accepted.durability, Durability::Logged);
    assert_eq!(shop.memory_queue.published(), 1);
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!(
        (levels.available, levels.reserved, levels.unpublished),
        (2, 1, 0)
    );
    assert_eq!(shop.recorder.get(Metric::Accepted), 1);
}

#[tokio::test]
async fn a_retry_gets_the_same_attempt() {
    let (shop, sale) = Shop::selling(3).await;
    let first = shop.accepted("ann", sale.id).await;
    let second = shop.accepted("ann", sale.id).await;
    assert_eq!(second, first);
    assert_eq!(shop.memory_queue.published(), 1);
    assert_eq!(shop.recorder.get(Metric::Repeated), 1);
    shop.work().await;
    let third = shop.accepted("ann", sale.id).await;
    assert_eq!(third.attempt, first.attempt);
    assert_eq!(third.status, OrderStatus::Success);
}

#[tokio::test]
async fn a_queue_that_fails_costs_no_buyer_an_attempt() {
    for rates in [FAIL_BEFORE, FAIL_AFTER] {
        let (mut shop, sale) = Shop::selling(3).await;
        let good = shop.queue.clone();
        shop.queue = shop.faulty_queue(rates);
        let first = shop.accepted("ann", sale.id).await;
        assert_eq!(first.durability, Durability::Reserved);
        assert_eq!(shop.accepted("ann", sale.id).await, first);
        let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
        assert_eq!((levels.reserved, levels.unpublished), (1, 1));
        shop.queue = good;
        shop.clock.advance_ms(2_000);
        let repaired = shop.repair().step(&sale.key()).await.unwrap();
        assert_eq!(repaired.republished, 1);
        let later = shop.accepted("ann", sale.id).await;
        assert_eq!(
            (later.attempt, later.durability),
            (first.attempt, Durability::Logged)
        );
    }
}

#[tokio::test]
async fn a_stock_store_that_fails_is_an_error_and_a_retry_is_safe() {
    let (mut shop, sale) = Shop::selling(3).await;
    let good = shop.stock.clone();
    shop.stock = shop.faulty_stock(FAIL_AFTER);
    let failed = shop.service().attempt(&user("ann"), sale.id).await;
    assert_eq!(failed.unwrap_err().operation(), "reserve");
    assert_eq!(shop.recorder.get(Metric::Unavailable), 1);
    shop.stock = good;
    let accepted = shop.accepted("ann", sale.id).await;
    assert_eq!(accepted.attempt, SequentialIds::id(1));
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!(levels.reserved, 1);
}

#[tokio::test]
async fn nobody_is_accepted_when_it_is_sold_out_but_holders_are_told() {
    let (shop, sale) = Shop::selling(1).await;
    let ann = shop.accepted("ann", sale.id).await;
    assert_eq!(shop.attempt("bob", sale.id).await, AttemptOutcome::SoldOut);
    assert_eq!(shop.accepted("ann", sale.id).await, ann);
    assert_eq!(shop.recorder.get(Metric::SoldOut), 1);
    shop.change(sale.id, SaleChange::Restock(1)).await;
    shop.accepted("bob", sale.id).await;
}

#[tokio::test]
async fn a_sale_sells_inside_its_window_only() {
    let (shop, sale) = Shop::selling(5).await;
    shop.clock.set(START.plus_ms(-1));
    let early = shop.attempt("ann", sale.id).await;
    assert_eq!(early, AttemptOutcome::NotStarted { starts_at: START });
    shop.clock.set(START);
    shop.accepted("ann", sale.id).await;
    shop.clock.set(WINDOW.end);
    assert_eq!(shop.attempt("bob", sale.id).await, AttemptOutcome::Ended);
    assert_eq!(shop.recorder.get(Metric::NotSelling), 2);
}

#[tokio::test]
async fn what_the_shop_does_to_a_sale_is_told() {
    let (shop, sale) = Shop::selling(5).await;
    shop.change(sale.id, SaleChange::Pause).await;
    assert_eq!(shop.attempt("ann", sale.id).await, AttemptOutcome::Paused);
    shop.change(sale.id, SaleChange::Resume).await;
    shop.accepted("ann", sale.id).await;
    shop.change(sale.id, SaleChange::Close).await;
    assert_eq!(shop.attempt("bob", sale.id).await, AttemptOutcome::Ended);
}

#[tokio::test]
async fn an_unknown_a_scheduled_and_a_lost_sale_are_told_apart() {
    let (shop, sale) = Shop::selling(5).await;
    let unknown = shop.attempt("ann", SaleId::new(99).unwrap()).await;
    assert_eq!(unknown, AttemptOutcome::UnknownSale);
    let mut scheduled = lamps(5);
    scheduled.product_name = "table".to_owned();
    let CreateSaleOutcome::Created(scheduled) = shop.sales.create(&scheduled).await.unwrap() else {
        panic!("it must be created");
    };
    shop.catalogue.refresh().await.unwrap();
    let outcome = shop.attempt("ann", scheduled.id).await;
    assert_eq!(outcome, AttemptOutcome::Recovering);
    shop.memory_stock.forget();
    let lost = shop.attempt("ann", sale.id).await;
    assert_eq!(lost, AttemptOutcome::Recovering);
}

#[tokio::test]
async fn a_sale_that_was_never_opened_has_ended_when_it_is_over() {
    let shop = Shop::empty();
    let CreateSaleOutcome::Created(sale) = shop.sales.create(&lamps(5)).await.unwrap() else {
        panic!("it must be created");
    };
    shop.catalogue.refresh().await.unwrap();
    shop.clock.set(sale.window.end);
    let outcome = shop.attempt("ann", sale.id).await;
    assert_eq!(outcome, AttemptOutcome::Ended);
}

#[tokio::test]
async fn who_holds_units_is_told_so_after_the_end_also_where_the_opening_was_not_heard_of() {
    let shop = Shop::empty();
    let CreateSaleOutcome::Created(sale) = shop.sales.create(&lamps(5)).await.unwrap() else {
        panic!("it must be created");
    };
    shop.catalogue.refresh().await.unwrap();
    let elsewhere = shop.engine();
    elsewhere.prepare().await.unwrap();
    let ann = user("ann");
    let accepted = elsewhere.flash_sale.attempt(&ann, sale.id).await.unwrap();
    shop.clock.set(sale.window.end);
    assert_eq!(shop.attempt("ann", sale.id).await, accepted);
}

async fn purchase_status(shop: &Shop, name: &str, product: ProductId) -> PurchaseStatus {
    let purchase = shop.service().purchase_status(&user(name), product).await;
    purchase.unwrap()
}

const fn stands(status: OrderStatus, attempted: bool) -> PurchaseStatus {
    PurchaseStatus { status, attempted }
}

#[tokio::test]
async fn a_buyer_stands_as_pending_until_the_decision() {
    let (shop, sale) = Shop::selling(5).await;
    let product = sale.product.id;
    assert_eq!(
        purchase_status(&shop, "ann", product).await,
        stands(OrderStatus::Pending, false)
    );
    shop.accepted("ann", sale.id).await;
    assert_eq!(
        purchase_status(&shop, "ann", product).await,
        stands(OrderStatus::Pending, true)
    );
    shop.work().await;
    assert_eq!(
        purchase_status(&shop, "ann", product).await,
        stands(OrderStatus::Success, true)
    );
}

#[tokio::test]
async fn a_released_buyer_stands_as_failed_until_the_next_attempt() {
    let (shop, sale) = Shop::selling(5).await;
    let accepted = shop.accepted("ann", sale.id).await;
    let (key, cancelled) = (sale.key(), FailReason::Cancelled);
    let attempts = shop.stock.overdue(&key, 0, 1).await.unwrap();
    let released = shop.orders.release(&key, &attempts, cancelled).await;
    assert_eq!(released.unwrap(), [Decision::Failed(cancelled)]);
    shop.work().await;
    let failed = stands(OrderStatus::Failed, true);
    assert_eq!(purchase_status(&shop, "ann", sale.product.id).await, failed);
    let again = shop.accepted("ann", sale.id).await;
    assert_ne!(again.attempt, accepted.attempt);
    let pending = stands(OrderStatus::Pending, true);
    assert_eq!(
        purchase_status(&shop, "ann", sale.product.id).await,
        pending
    );
}

#[tokio::test]
async fn the_result_of_an_earlier_sale_is_not_the_standing_in_this_one() {
    let (shop, sale) = Shop::selling(5).await;
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    let mut next = lamps(5);
    next.window.start = WINDOW.end;
    next.window.end = WINDOW.end.plus_ms(60_000);
    let next = shop
        .sale_service()
        .create(&next)
        .await
        .unwrap()
        .unwrap()
        .sale;
    let product = sale.product.id;
    assert_eq!(next.product.id, product);
    assert_eq!(
        purchase_status(&shop, "ann", product).await,
        stands(OrderStatus::Success, true)
    );
    shop.clock.set(WINDOW.end);
    assert_eq!(
        purchase_status(&shop, "ann", product).await,
        stands(OrderStatus::Pending, false)
    );
    shop.accepted("ann", next.id).await;
    assert_eq!(
        purchase_status(&shop, "ann", product).await,
        stands(OrderStatus::Pending, true)
    );
}

#[tokio::test]
async fn a_result_tells_the_purchase_after_the_stock_store_lost_the_allocation() {
    let (shop, sale) = Shop::selling(5).await;
    let result = SaleResult {
        user: user("ann"),
        product: sale.product.id,
        sale: sale.id,
        attempt: SequentialIds::id(7),
        decision: Decision::Success(OrderId::new(1).unwrap()),
        reserved_at: START,
    };
    shop.stock.put_results(&[result]).await.unwrap();
    let success = stands(OrderStatus::Success, true);
    assert_eq!(
        purchase_status(&shop, "ann", sale.product.id).await,
        success
    );
    let unknown = purchase_status(&shop, "ann", ProductId::new(99).unwrap()).await;
    assert_eq!(unknown, stands(OrderStatus::Pending, false));
}

#[tokio::test]
async fn the_featured_sale_is_told_with_its_status() {
    assert!(Shop::empty().service().featured().is_none());
    let (shop, sale) = Shop::selling(5).await;
    for (now, expected) in [
        (START.plus_ms(-1), SaleStatus::Upcoming),
        (START, SaleStatus::Active),
        (WINDOW.end, SaleStatus::Ended),
    ] {
        shop.clock.set(now);
        let (featured, status, at) = shop.service().featured().unwrap();
        assert_eq!((featured.id, status, at), (sale.id, expected, now));
    }
}

#[tokio::test]
async fn a_ping_asks_the_stock_store() {
    let (mut shop, _) = Shop::selling(5).await;
    shop.service().ping().await.unwrap();
    shop.stock = shop.faulty_stock(FAIL_BEFORE);
    shop.service().ping().await.unwrap_err();
}

#[tokio::test]
async fn a_sale_that_is_over_has_ended_also_when_the_store_has_let_it_go() {
    let (shop, sale) = Shop::selling(3).await;
    shop.memory_stock.forget();
    let unloaded = shop.attempt("ann", sale.id).await;
    assert_eq!(unloaded, AttemptOutcome::Recovering);
    shop.clock.set(WINDOW.end);
    let over = shop.attempt("ann", sale.id).await;
    assert_eq!(over, AttemptOutcome::Ended);
}

#[tokio::test]
async fn no_sale_is_unknown_before_the_repository_was_read() {
    let (mut shop, sale) = Shop::selling(3).await;
    shop.catalogue = std::sync::Arc::new(Catalogue::new(shop.sales.clone()));
    let outcome = shop.attempt("ann", sale.id).await;
    assert_eq!(outcome, AttemptOutcome::Recovering);
    shop.catalogue.refresh().await.unwrap();
    let unknown = shop.attempt("ann", SaleId::new(99).unwrap()).await;
    assert_eq!(unknown, AttemptOutcome::UnknownSale);
}

#[tokio::test]
async fn nobody_is_told_how_they_stand_before_the_sales_are_known() {
    let (mut shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    shop.catalogue = Arc::new(Catalogue::new(shop.sales.clone()));
    let service = shop.service();
    let unknown = service.purchase_status(&user("ann"), sale.product.id).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::Unavailable);
    shop.catalogue.refresh().await.unwrap();
    let pending = stands(OrderStatus::Pending, true);
    assert_eq!(
        purchase_status(&shop, "ann", sale.product.id).await,
        pending
    );
}
