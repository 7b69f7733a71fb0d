//! Those who want to buy.

use std::sync::Arc;

use flashsale_core::domain::{ProductId, SaleId, UserId};
use flashsale_core::ports::RecordedOutcome;
use flashsale_core::services::AttemptOutcome;

use super::executor::{Process, WORLD};
use super::trace::About;
use super::world::World;

/// One user, who tries, retries and asks how it stands, in an order of the seed's choice.
pub(crate) async fn live(world: Arc<World>, number: u64) {
    let user = World::user(number);
    let sales = world.all_sales();
    let pause_ms = world.weather.trouble_ms / world.weather.tries;
    for _ in 0..world.weather.tries {
        world.handle.sleep(world.handle.below(pause_ms)).await;
        let sale = &sales[world.handle.below(sales.len() as u64) as usize];
        let api = world.handle.between(1, world.weather.apis as u64) as usize;
        if world.handle.chance(600) {
            attempt(&world, api, &user, sale.id).await;
        } else {
            ask(&world, api, &user, sale.product.id).await;
        }
    }
}

fn about(sale: SaleId, user: &UserId) -> About {
    let number = user.as_str().trim_start_matches("user-").parse();
    About {
        sale: sale.get() as u64,
        attempt: number.unwrap_or_default(),
        items: 1,
    }
}

/// Tries to buy; the answer, if there was one.
pub(crate) async fn attempt(
    world: &Arc<World>,
    api: Process,
    user: &UserId,
    sale: SaleId,
) -> Option<AttemptOutcome> {
    let before = world.books().told(sale, user);
    let buyer = user.clone();
    let answer = world
        .request(api, async move |services| {
            services.flash_sale.attempt(&buyer, sale).await
        })
        .await;
    let how = match &answer {
        None => "no answer",
        Some(Err(_)) => "a fault",
        Some(Ok(AttemptOutcome::Accepted(_))) => "accepted",
        Some(Ok(AttemptOutcome::SoldOut)) => "sold out",
        Some(Ok(AttemptOutcome::NotStarted { .. })) => "not started",
        Some(Ok(AttemptOutcome::Ended)) => "ended",
        Some(Ok(AttemptOutcome::Paused)) => "paused",
        Some(Ok(AttemptOutcome::Recovering)) => "recovering",
        Some(Ok(AttemptOutcome::UnknownSale)) => "unknown sale",
    };
    world.note(WORLD, "user tries", how, about(sale, user));
    let answer = answer?.ok()?;
    match &answer {
        AttemptOutcome::SoldOut => world.books().refused(sale, user, RecordedOutcome::SoldOut),
        AttemptOutcome::Ended => world.books().refused(sale, user, RecordedOutcome::Ended),
        _ => {}
    }
    if let AttemptOutcome::Accepted(acceptance) = &answer
        && world.books().is_told_of_failure(acceptance.attempt)
    {
        // The process had a bug and said something else.
        return None;
    }
    let held = world.books().answered(sale, user, &before, &answer);
    world.must_hold(held);
    Some(answer)
}

/// Asks how it stands with a product.
pub(crate) async fn ask(world: &Arc<World>, api: Process, user: &UserId, product: ProductId) {
    let sales: Vec<_> = world
        .all_sales()
        .iter()
        .map(|sale| (sale.id, world.books().told(sale.id, user)))
        .collect();
    let buyer = user.clone();
    let clock = world.handle.clock();
    let answer = world
        .request(api, async move |services| {
            let now = flashsale_core::ports::Clock::now(&*clock);
            // The sale that the answer is about.
            let shown = services.catalogue.started(product, now)?.id;
            let purchase = services.flash_sale.purchase_status(&buyer, product).await;
            Some((shown, purchase))
        })
        .await;
    let Some(Some((shown, Ok(purchase)))) = answer else {
        return;
    };
    let how = match (purchase.status, purchase.attempted) {
        (flashsale_core::domain::OrderStatus::Success, _) => "success",
        (flashsale_core::domain::OrderStatus::Failed, _) => "failed",
        (flashsale_core::domain::OrderStatus::Pending, true) => "pending",
        (flashsale_core::domain::OrderStatus::Pending, false) => "nothing",
    };
    world.note(WORLD, "user asks", how, about(shown, user));
    let Some((_, before)) = sales.iter().find(|(sale, _)| *sale == shown) else {
        return;
    };
    let held = world.books().stands(shown, user, before, purchase);
    world.must_hold(held);
}
