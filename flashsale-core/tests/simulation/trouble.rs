//! What goes wrong by itself, and what the shop does.

use std::sync::Arc;

use flashsale_core::domain::{Decision, FailReason, Sale, SaleChange, SaleResult, Settlement};
use flashsale_core::ports::{OrderRepo, StockStore};
use flashsale_core::services::ChangeSaleOutcome;

use super::executor::WORLD;
use super::line::Line;
use super::ports::{SimOrderRepo, SimStockStore};
use super::trace::About;
use super::weather::Service;
use super::world::World;

/// A service that is away now and then, for some seconds.
pub(crate) async fn outages(world: Arc<World>, service: Service) {
    loop {
        world.handle.sleep(world.handle.between(500, 8_000)).await;
        if world.is_healed() {
            return;
        }
        world.set_out(service, true);
        world.handle.sleep(world.handle.between(100, 4_000)).await;
        world.set_out(service, false);
    }
}

/// The stock store's clock is set now and then.
pub(crate) async fn clock_jumps(world: Arc<World>) {
    while !world.is_healed() {
        let most = world.weather.skew_ms as u64;
        let skew_ms = world.handle.below(2 * most + 1) as i64 - most as i64;
        world.stock_clock.jump(skew_ms);
        world.handle.sleep(world.handle.between(1_000, 8_000)).await;
    }
}

/// Processes are replaced one after the other, as by a new version.
pub(crate) async fn restarts(world: Arc<World>) {
    loop {
        world.handle.sleep(world.handle.between(500, 6_000)).await;
        if world.is_healed() {
            return;
        }
        let last = *world.processes().end() as u64;
        let process = world.handle.between(1, last) as usize;
        world.restart(process).await;
    }
}

/// The shop changes its sales, through any API.
pub(crate) async fn operate(world: Arc<World>) {
    let sales = world.all_sales();
    loop {
        world.handle.sleep(world.handle.between(300, 5_000)).await;
        if world.is_healed() {
            return;
        }
        let sale = &sales[world.handle.below(sales.len() as u64) as usize];
        let weather = &world.weather;
        let change = match world.handle.below(5) {
            0 if weather.pauses => SaleChange::Pause,
            1 if weather.pauses => SaleChange::Resume,
            2 if weather.restocks => SaleChange::Restock(world.handle.between(1, 3)),
            3 if weather.closes && world.handle.chance(200) => SaleChange::Close,
            4 if weather.withdraws => SaleChange::Withdraw(world.handle.between(1, 2)),
            _ => continue,
        };
        change_sale(&world, sale, change).await;
    }
}

/// Whether the change was made, as far as the shop can tell.
pub(crate) async fn change_sale(world: &Arc<World>, sale: &Sale, change: SaleChange) -> bool {
    let api = world.handle.between(1, world.weather.apis as u64) as usize;
    let id = sale.id;
    let changed = world
        .request(api, async move |services| {
            services.sales.change(id, change).await
        })
        .await;
    let about = About {
        sale: id.get() as u64,
        ..About::default()
    };
    let made = matches!(changed, Some(Ok(ChangeSaleOutcome::Changed(_))));
    let how = if made {
        "makes a change"
    } else {
        "tries a change"
    };
    world.note(WORLD, "shop", how, about);
    made
}

/// The shop sells again what it has paused.
pub(crate) async fn resume_all(world: &Arc<World>) {
    for sale in world.all_sales() {
        if sale.pause_requested {
            change_sale(world, &sale, SaleChange::Resume).await;
        }
    }
}

/// The shop calls undecided attempts off now and then, by the book: first the order repository
/// fails them, then the stock store hears of it.
pub(crate) async fn call_off(world: Arc<World>) {
    let line = |service| Line {
        world: Arc::clone(&world),
        process: WORLD,
        service,
    };
    let stock = SimStockStore::new(line(Service::Stock));
    let orders = SimOrderRepo {
        line: line(Service::Orders),
    };
    let sales = world.all_sales();
    loop {
        world.handle.sleep(world.handle.between(100, 2_500)).await;
        if world.is_healed() {
            return;
        }
        let chosen = &sales[world.handle.below(sales.len() as u64) as usize];
        let Some(sale) = world.sale(chosen.id) else {
            continue;
        };
        let key = sale.key();
        let Ok(attempts) = stock.overdue(&key, 0, 3).await else {
            continue;
        };
        if attempts.is_empty() {
            continue;
        }
        // A repository that does not answer has perhaps failed them: the worker will learn it.
        let expired = world
            .bug
            .is_some_and(|bug| bug == super::bugs::Bug::ExpiresInTheStockStoreOnly);
        let reason = FailReason::Expired;
        let decisions = if expired {
            vec![Decision::Failed(reason); attempts.len()]
        } else {
            match orders.release(&key, &attempts, reason).await {
                Ok(decisions) => decisions,
                Err(_) => continue,
            }
        };
        let decided = || attempts.iter().zip(&decisions);
        let results: Vec<_> = decided()
            .map(|(attempt, decision)| SaleResult {
                user: attempt.user.clone(),
                product: attempt.product,
                sale: attempt.sale,
                attempt: attempt.id,
                decision: *decision,
                reserved_at: attempt.reserved_at,
            })
            .collect();
        let settlements: Vec<_> = decided()
            .map(|(attempt, decision)| Settlement {
                user: attempt.user.clone(),
                attempt: attempt.id,
                quantity: attempt.quantity,
                reserved_at: attempt.reserved_at,
                decision: *decision,
            })
            .collect();
        if stock.put_results(&results).await.is_ok() {
            // If it does not get through, repair does it.
            let _ = stock.settle(&key, &settlements).await;
        }
    }
}
