use flashsale_core::domain::{AllocationState, OrderStatus};
use flashsale_core::ports::{DeadLetterContent, Metric, StockStoreExt};
use flashsale_core::services::{
    AcceptAfter, AttemptOutcome, DeadLetters, Relay, RepairLimits, Repaired, ReplayOutcome,
};

use crate::shop::{FAIL_AFTER, FAIL_BEFORE, Shop, user};

#[tokio::test]
async fn a_young_attempt_is_left_alone() {
    let (mut shop, sale) = Shop::selling(3).await;
    let good = shop.queue.clone();
    shop.queue = shop.faulty_queue(FAIL_BEFORE);
    shop.accepted("ann", sale.id).await;
    shop.queue = good;
    shop.clock.advance_ms(1_999);
    let repaired = shop.repair().step(&sale.key()).await.unwrap();
    assert_eq!(repaired, Repaired::default());
    assert_eq!(shop.memory_queue.published(), 0);
}

#[tokio::test]
async fn what_the_queue_never_got_is_published_again() {
    let (mut shop, sale) = Shop::selling(3).await;
    let good = shop.queue.clone();
    shop.queue = shop.faulty_queue(FAIL_BEFORE);
    shop.accepted("ann", sale.id).await;
    shop.queue = good;
    shop.clock.advance_ms(2_000);
    let repaired = shop.repair().step(&sale.key()).await.unwrap();
    assert_eq!((repaired.republished, repaired.completed), (1, 0));
    assert_eq!(shop.recorder.get(Metric::Republished), 1);
    let allocation = shop
        .stock
        .allocation(&sale.key(), &user("ann"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(allocation.state, AllocationState::Reserved { logged: true });
    let again = shop.repair().step(&sale.key()).await.unwrap();
    assert_eq!(again, Repaired::default());
    shop.work().await;
    let accepted = shop.accepted("ann", sale.id).await;
    assert_eq!(accepted.status, OrderStatus::Success);
}

#[tokio::test]
async fn what_the_queue_did_not_deliver_is_decided() {
    let (shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    shop.clock.advance_ms(9_999);
    let early = shop.repair().step(&sale.key()).await.unwrap();
    assert_eq!(early.completed, 0);
    shop.clock.advance_ms(1);
    let repaired = shop.repair().step(&sale.key()).await.unwrap();
    assert_eq!((repaired.republished, repaired.completed), (0, 1));
    let accepted = shop.accepted("ann", sale.id).await;
    assert_eq!(accepted.status, OrderStatus::Success);
    shop.work().await;
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.failed), (1, 0));
}

#[tokio::test]
async fn a_repair_whose_settlement_was_lost_is_done_again() {
    let (mut shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    shop.clock.advance_ms(10_000);
    let good = shop.orders.clone();
    shop.orders = shop.faulty_orders(FAIL_AFTER);
    shop.repair().step(&sale.key()).await.unwrap_err();
    shop.orders = good;
    let repaired = shop.repair().step(&sale.key()).await.unwrap();
    assert_eq!(repaired.completed, 1);
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.failed), (1, 0));
}

#[tokio::test]
async fn one_step_takes_on_no_more_than_its_batch() {
    let (shop, sale) = Shop::selling(5).await;
    for name in ["ann", "bob", "cem"] {
        shop.accepted(name, sale.id).await;
    }
    shop.clock.advance_ms(10_000);
    let mut repair = shop.repair();
    repair.limits = RepairLimits {
        batch: 2,
        ..RepairLimits::default()
    };
    let steps = [
        repair.step(&sale.key()).await,
        repair.step(&sale.key()).await,
    ];
    let completed = steps.map(|step| step.unwrap().completed);
    assert_eq!(completed, [2, 1]);
}

#[tokio::test]
async fn an_attempt_that_the_queue_does_not_take_is_released_where_that_is_wanted() {
    let (mut shop, sale) = Shop::selling(1).await;
    let good = shop.queue.clone();
    shop.queue = shop.faulty_queue(FAIL_BEFORE);
    let service = shop.service().releasing(shop.orders.clone());
    let answer = service.attempt(&user("ann"), sale.id).await.unwrap();
    assert_eq!(answer, AttemptOutcome::Recovering);
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!((levels.available, levels.reserved), (1, 0));
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.failed), (0, 1));
    shop.queue = good;
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.failed), (1, 1));
}

#[tokio::test]
async fn an_attempt_that_is_published_later_is_not_released() {
    let (shop, sale) = Shop::selling(1).await;
    let relay = Relay::new(shop.queue.clone(), shop.stock.clone());
    let service = shop.service().releasing(shop.orders.clone());
    let service = service.accepting(AcceptAfter::Reserved, relay);
    let answer = service.attempt(&user("ann"), sale.id).await.unwrap();
    assert!(matches!(answer, AttemptOutcome::Accepted(_)), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_be_released_at_once_is_released_later() {
    let (mut shop, sale) = Shop::selling(1).await;
    let (queue, orders) = (shop.queue.clone(), shop.orders.clone());
    shop.queue = shop.faulty_queue(FAIL_BEFORE);
    let service = shop.service().releasing(shop.faulty_orders(FAIL_BEFORE));
    let answer = service.attempt(&user("ann"), sale.id).await.unwrap();
    assert_eq!(answer, AttemptOutcome::Recovering);
    (shop.queue, shop.orders) = (queue, orders);
    let mut repair = shop.repair();
    repair.limits.release_after_ms = Some(RepairLimits::RELEASE_AFTER_MS);
    shop.clock.advance_ms(50_000);
    let young = repair.step(&sale.key()).await.unwrap();
    assert_eq!(young, Repaired::default());
    shop.clock.advance_ms(70_000);
    let repaired = repair.step(&sale.key()).await.unwrap();
    assert_eq!(repaired.released, 1);
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!((levels.available, levels.reserved), (1, 0));
}

#[tokio::test]
async fn what_the_queue_has_is_completed_also_where_the_rest_is_released() {
    let (shop, sale) = Shop::selling(1).await;
    shop.accepted("ann", sale.id).await;
    let mut repair = shop.repair();
    repair.limits.release_after_ms = Some(RepairLimits::RELEASE_AFTER_MS);
    shop.clock.advance_ms(10_000);
    let repaired = repair.step(&sale.key()).await.unwrap();
    assert_eq!((repaired.completed, repaired.released), (1, 0));
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.failed), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_as_a_dead_letter() {
    let (shop, sale) = Shop::selling(1).await;
    shop.memory_queue.publish_undecodable(b"\x00 rubbish");
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    let letters = DeadLetters {
        repo: shop.dead_letters.clone(),
        decoder: None,
        repair: shop.repair(),
    };
    let kept = letters.list(None, 10).await.unwrap();
    let [letter] = &kept[..] else {
        panic!("{kept:?}");
    };
    assert_eq!(
        letter.item.content,
        DeadLetterContent::Undecodable(b"\x00 rubbish".to_vec())
    );
    assert_eq!(letters.list(Some(letter.id), 10).await.unwrap(), []);
    let replayed = letters.replay(letter.id).await.unwrap();
    assert!(matches!(replayed, ReplayOutcome::Undecodable(_)));
    let unknown = letters.replay(letter.id + 1).await.unwrap();
    assert_eq!(unknown, ReplayOutcome::Unknown);
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!(totals.orders, 1);
}
