//! What happens after a buyer was answered: the relay to the queue and the audit trail.

use std::sync::Arc;

use flashsale_core::domain::{SaleChange, SaleId};
use flashsale_core::ports::{AttemptRepo, Metric, RecordedOutcome};
use flashsale_core::services::{AcceptAfter, AttemptOutcome, AuditTrail, Durability, Relay};
use flashsale_core::testing::MemoryAttemptRepo;

use crate::shop::{FAIL_BEFORE, Shop, lamps, user};

#[tokio::test]
async fn with_a_relay_an_attempt_is_accepted_before_the_queue_has_it() {
    let (shop, sale) = Shop::selling(3).await;
    let relay = Relay::new(shop.queue.clone(), shop.stock.clone());
    let service = shop
        .service()
        .accepting(AcceptAfter::Reserved, relay.clone());
    for name in ["ann", "bob"] {
        let outcome = service.attempt(&user(name), sale.id).await.unwrap();
        let AttemptOutcome::Accepted(acceptance) = outcome else {
            panic!("{name} must be accepted, is {outcome:?}");
        };
        assert_eq!(acceptance.durability, Durability::Reserved);
    }
    assert_eq!(shop.memory_queue.published(), 0);
    relay.ready().await;
    assert_eq!(relay.step().await.unwrap(), 2);
    assert_eq!(relay.step().await.unwrap(), 0);
    assert_eq!(shop.memory_queue.published(), 2);
    for (call, unpublished) in [(1, 2), (2, 0)] {
        relay.acknowledge().await.unwrap();
        let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
        assert_eq!(
            (levels.reserved, levels.unpublished),
            (2, unpublished),
            "{call}"
        );
    }
}

#[tokio::test]
async fn with_a_relay_the_stock_store_learns_later_what_the_queue_has() {
    let (shop, sale) = Shop::selling(3).await;
    let relay = Relay::new(shop.queue.clone(), shop.stock.clone());
    let service = shop.service().accepting(AcceptAfter::Logged, relay.clone());
    let outcome = service.attempt(&user("ann"), sale.id).await.unwrap();
    assert!(matches!(outcome, AttemptOutcome::Accepted(accepted)
        if accepted.durability == Durability::Logged));
    assert_eq!(shop.memory_queue.published(), 1);
    relay.acknowledge().await.unwrap();
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!(levels.unpublished, 1);
    relay.acknowledge().await.unwrap();
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!(levels.unpublished, 0);
}

#[tokio::test]
async fn what_is_not_decided_is_acknowledged_although_others_are() {
    let (shop, sale) = Shop::selling(3).await;
    let relay = Relay::new(shop.queue.clone(), shop.stock.clone());
    let service = shop.service().accepting(AcceptAfter::Logged, relay.clone());
    service.attempt(&user("ann"), sale.id).await.unwrap();
    shop.work().await;
    shop.clock.advance_ms(1);
    service.attempt(&user("bob"), sale.id).await.unwrap();
    for _ in 0..2 {
        relay.acknowledge().await.unwrap();
    }
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    let unpublished = levels.unpublished;
    assert_eq!((levels.sold, levels.reserved, unpublished), (1, 1, 0));
}

#[tokio::test]
async fn a_relay_waits_for_attempts_of_sales_in_turn() {
    let (shop, first) = Shop::selling(3).await;
    let mut other = lamps(3);
    other.product_name = "chair".to_owned();
    let second = shop.sale_service().create(&other).await.unwrap().unwrap();
    let relay = Relay::new(shop.queue.clone(), shop.stock.clone());
    let service = shop
        .service()
        .accepting(AcceptAfter::Reserved, relay.clone());
    let relaying = tokio::spawn({
        let relay = relay.clone();
        async move {
            let mut relayed = 0;
            while relayed < 3 {
                relay.ready().await;
                relayed += relay.step().await.unwrap();
            }
        }
    });
    tokio::task::yield_now().await;
    for (name, sale) in [
        ("ann", first.id),
        ("bob", second.sale.id),
        ("eve", first.id),
    ] {
        service.attempt(&user(name), sale).await.unwrap();
    }
    relaying.await.unwrap();
    assert_eq!(shop.memory_queue.published(), 3);
}

#[tokio::test]
async fn what_a_relay_cannot_publish_is_left_to_repair() {
    let (shop, sale) = Shop::selling(3).await;
    let relay = Relay::new(shop.faulty_queue(FAIL_BEFORE), shop.stock.clone());
    let service = shop
        .service()
        .accepting(AcceptAfter::Reserved, relay.clone());
    service.attempt(&user("ann"), sale.id).await.unwrap();
    relay.step().await.unwrap_err();
    shop.clock.advance_ms(2_000);
    let repaired = shop.repair().step(&sale.key()).await.unwrap();
    assert_eq!(repaired.republished, 1);
}

async fn trail(shop: &Shop, sale: SaleId, name: &str) -> Vec<RecordedOutcome> {
    let repo = MemoryAttemptRepo::new(shop.database.clone());
    let history = repo.history(sale, &user(name), 10).await.unwrap();
    history.into_iter().map(|record| record.outcome).collect()
}

#[tokio::test]
async fn refusals_reach_the_audit_trail() {
    let (shop, sale) = Shop::selling(1).await;
    let repo = Arc::new(MemoryAttemptRepo::new(shop.database.clone()));
    let audit = Arc::new(AuditTrail::new(repo, shop.recorder.clone()));
    let service = shop.service().with_audit_trail(audit.clone());
    service.attempt(&user("ann"), sale.id).await.unwrap();
    service.attempt(&user("bob"), sale.id).await.unwrap();
    shop.change(sale.id, SaleChange::Close).await;
    service.attempt(&user("bob"), sale.id).await.unwrap();
    assert_eq!(trail(&shop, sale.id, "bob").await, []);
    assert_eq!(audit.step().await.unwrap(), 0);
    shop.work().await;
    let mut refused = trail(&shop, sale.id, "bob").await;
    refused.sort_by_key(|outcome| outcome.name());
    assert_eq!(refused, [RecordedOutcome::Ended, RecordedOutcome::SoldOut]);
    let accepted = trail(&shop, sale.id, "ann").await;
    assert!(matches!(accepted[..], [RecordedOutcome::Accepted(_)]));
}

#[tokio::test]
async fn refusals_beyond_the_bound_are_counted_and_left_out() {
    let (shop, sale) = Shop::selling(1).await;
    let repo = Arc::new(MemoryAttemptRepo::new(shop.database.clone()));
    let audit = Arc::new(AuditTrail::new(repo, shop.recorder.clone()));
    let service = shop.service().with_audit_trail(audit.clone());
    service.attempt(&user("ann"), sale.id).await.unwrap();
    for _ in 0..AuditTrail::WAITING_MAX + 2 {
        service.attempt(&user("bob"), sale.id).await.unwrap();
    }
    assert_eq!(shop.recorder.get(Metric::AuditDropped), 2);
    while audit.step().await.unwrap() > 0 {}
    assert_eq!(audit.step().await.unwrap(), 0);
}
