//! The life of a world: trouble, healing, rest, and then everything has to add up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use flashsale_core::domain::{Epoch, OrderStatus, Phase, Sale, SaleStatus, Timestamp};
use flashsale_core::ports::{AttemptRepo, BATCH_MAX};
use flashsale_core::services::{AttemptOutcome, Verdict};

use super::books::{Broken, Held, broken};
use super::bugs::Bug;
use super::executor::{Executor, Step, WORLD, at_once};
use super::trace::Counts;
use super::weather::{Sales, Service, Weather};
use super::world::World;
use super::{stock_side, trouble, users};

/// What came of a seed.
pub(crate) struct Outcome {
    pub(crate) broken: Option<Broken>,
    /// A hash of all that happened.
    pub(crate) hash: u64,
    /// How many steps the executor made, and how many events the services saw.
    pub(crate) steps: u64,
    pub(crate) events: Counts,
    pub(crate) last_events: Vec<String>,
    pub(crate) weather: Weather,
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) bug: Option<Bug>,
    /// The bug whose weather it is.
    pub(crate) weather_of: Option<Bug>,
    /// Whether the stock store may lose data.
    pub(crate) may_lose: bool,
    /// Whether there may be two of it for a while.
    pub(crate) may_split: bool,
    pub(crate) keep_events: usize,
}

/// Where the world's clock starts.
const START: Timestamp = Timestamp::from_millis(1_000_000);
/// A world that is not done after so many steps never will be.
const STEPS_MAX: u64 = 400_000;

/// Runs the world of a seed to its end.
pub(crate) fn run(seed: u64, setting: Setting) -> Outcome {
    let weather = Weather::of(seed, setting.may_lose, setting.may_split);
    let weather = Bug::weather(setting.weather_of, weather);
    let mut executor = Executor::new(seed, START);
    let world = World::new(
        weather.clone(),
        setting.bug,
        executor.handle(),
        setting.keep_events,
    );
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| drive(&mut executor, &world)));
    if let Err(panic) = ran {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.must_hold(broken("nothing panics", words.unwrap_or_default()));
    }
    let (hash, steps) = world.handle.hash_and_steps();
    let (events, last_events) = world.trace();
    drop(executor);
    world.dissolve();
    Outcome {
        broken: world.broken(),
        hash,
        steps,
        events,
        last_events,
        weather,
    }
}

fn drive(executor: &mut Executor, world: &Arc<World>) {
    world.create_sales();
    world
        .handle
        .spawn(WORLD, Box::pin(direct(Arc::clone(world))));
    while !world.is_done() && world.broken().is_none() {
        match executor.step() {
            Step::Done => {}
            Step::Crash(process) => world.crash(process),
            Step::Freeze(process) => world.freeze(process),
            Step::Idle => world.must_hold(broken("the world goes on", "nothing is left to do")),
        }
        if world.handle.hash_and_steps().1 > STEPS_MAX {
            let how = format!("not done after {STEPS_MAX} steps");
            world.must_hold(broken("the world comes to an end", how));
        }
    }
}

/// Has everything happen in its turn.
async fn direct(world: Arc<World>) {
    let handle = world.handle.clone();
    for process in world.processes() {
        let world = Arc::clone(&world);
        let start_ms = handle.below(world.weather.starts_within_ms);
        handle.after(start_ms, move || world.start(process));
    }
    handle.set_danger(world.weather.danger);
    spawn_trouble(&world);
    let living = Arc::new(());
    for number in 1..=world.weather.users {
        let life = Arc::clone(&living);
        let user = users::live(Arc::clone(&world), number);
        handle.spawn(
            WORLD,
            Box::pin(async move {
                user.await;
                drop(life);
            }),
        );
    }
    handle.sleep(world.weather.trouble_ms).await;

    world.heal();
    for service in Service::ALL {
        if world.is_out(service) {
            world.set_out(service, false);
        }
    }
    world.processes().for_each(|process| world.thaw(process));
    // Crashed processes start again, late requests arrive, and late users finish.
    handle.sleep(6_000).await;
    while Arc::strong_count(&living) > 1 {
        handle.sleep(500).await;
    }
    trouble::resume_all(&world).await;

    let held = close_the_books(&world).await;
    world.must_hold(held);
    world.finish();
}

fn spawn_trouble(world: &Arc<World>) {
    let spawn = |work| world.handle.spawn(WORLD, work);
    let weather = &world.weather;
    for service in Service::ALL {
        if weather.calls_of(service).outages {
            spawn(Box::pin(trouble::outages(Arc::clone(world), service)));
        }
    }
    if weather.pauses || weather.restocks || weather.closes || weather.withdraws {
        spawn(Box::pin(trouble::operate(Arc::clone(world))));
    }
    if weather.losses.any() {
        spawn(Box::pin(stock_side::copy(Arc::clone(world))));
        spawn(Box::pin(stock_side::lose(Arc::clone(world))));
    }
    if weather.calls_off {
        spawn(Box::pin(trouble::call_off(Arc::clone(world))));
    }
    if weather.restarts {
        spawn(Box::pin(trouble::restarts(Arc::clone(world))));
    }
    if weather.skew_ms > 0 && weather.sales == (Sales::One { ends: false }) {
        spawn(Box::pin(trouble::clock_jumps(Arc::clone(world))));
    }
}

async fn close_the_books(world: &Arc<World>) -> Held {
    come_to_rest(world).await?;
    balance(world)?;
    read_results(world).await?;
    second_chances(world).await?;
    come_to_rest(world).await?;
    balance(world)?;
    read_results(world).await?;
    audit(world).await?;
    read_the_trail(world).await
}

/// Waits until nothing is under way any more.
async fn come_to_rest(world: &Arc<World>) -> Held {
    /// The completer acts after 10 s; twice that and some rounds of repair are plenty.
    const ROUNDS: u64 = 120;
    let may_lose = world.weather.losses.any();
    for _ in 0..ROUNDS {
        // A loss that nobody has noticed is noticed when all is at rest.
        if is_at_rest(world) && (!may_lose || balance(world).is_ok()) {
            return Ok(());
        }
        world.handle.sleep(500).await;
    }
    let levels: Vec<_> = world
        .all_sales()
        .iter()
        .map(|sale| (sale.phase, sale.version, world.stock.levels(&sale.key())))
        .collect();
    let how = format!(
        "after {ROUNDS} rounds: queue drained {}, all run {}, {levels:?}",
        world.queue.is_drained(),
        world.all_run(),
    );
    broken("everything comes to rest", how)
}

fn is_at_rest(world: &World) -> bool {
    let settled = |sale: &Sale| match world.stock.levels(&sale.key()) {
        Some(levels) => {
            let current = levels.version == sale.version && levels.epoch == sale.epoch;
            let current = current && !sale.is_recovering();
            levels.undecided == 0 && (current || may_stay_lost(world, sale))
        }
        None => need_not_be_loaded(world, sale),
    };
    world.all_run() && world.queue.is_drained() && world.all_sales().iter().all(settled)
}

/// Whether the sale is over and followed by another of its product.
fn is_followed(world: &World, sale: &Sale) -> bool {
    let mut others = world.all_sales().into_iter();
    others.any(|other| {
        other.product.id == sale.product.id
            && other.phase != Phase::Scheduled
            && other.window.start >= sale.window.end
    })
}

/// Whether nobody has bought and nobody will.
fn need_not_be_loaded(world: &World, sale: &Sale) -> bool {
    let over = match sale.phase {
        Phase::Scheduled => sale.window.end < world.now(),
        phase => phase == Phase::Closed,
    };
    let nobody_asks = over && world.books().sold(sale.id) == 0;
    nobody_asks || is_followed(world, sale)
}

/// Whether the stock of the sale may have been lost, or missed a change, and is left like that: its
/// place in the store is that of the next sale.
fn may_stay_lost(world: &World, sale: &Sale) -> bool {
    let levels = world.stock.levels(&sale.key());
    let missed = levels.is_some_and(|levels| levels.version != sale.version);
    is_followed(world, sale) && (missed || world.weather.losses.any())
}

/// At rest every unit is where it belongs, and nobody waits for a decision.
fn balance(world: &World) -> Held {
    world.books().at_rest()?;
    for sale in world.all_sales() {
        let totals = at_once(world.orders.totals(sale.id)).expect("memory does not fail");
        let Some(totals) = totals else {
            return broken("the books balance", format!("sale {} has none", sale.id));
        };
        if sale.epoch > Epoch::FIRST && !world.weather.losses.any() {
            let how = format!("sale {} is at {:?}", sale.id, sale.epoch);
            return broken("no stock is rebuilt that was not lost", how);
        }
        let sold = world.books().sold(sale.id);
        if totals.sold != sold || totals.stock != totals.remaining + sold {
            let how = format!("{sold} units were sold, but {totals:?}");
            return broken("the books balance", how);
        }
        let Some(levels) = world.stock.levels(&sale.key()) else {
            if need_not_be_loaded(world, &sale) {
                continue;
            }
            let how = format!("the stock of sale {} is not loaded", sale.id);
            return broken("the books balance", how);
        };
        if may_stay_lost(world, &sale) {
            continue;
        }
        let exact = levels.available == totals.remaining
            && levels.reserved == 0
            && levels.undecided == 0
            && levels.unpublished == 0
            && levels.sold == totals.sold;
        if !exact {
            let how = format!("sale {}: {levels:?} but {totals:?}", sale.id);
            return broken("the books balance", how);
        }
    }
    Ok(())
}

/// Everybody without an order can try again, and wins if a unit is left.
async fn second_chances(world: &Arc<World>) -> Held {
    /// Rounds until a stock that is found to be lost sells again.
    const NOTICED_WITHIN: usize = 60;
    let may_lose = world.weather.losses.any();
    for sale in world.all_sales() {
        let totals = at_once(world.orders.totals(sale.id)).expect("memory does not fail");
        let mut left = totals.map_or(0, |totals| totals.remaining);
        let sells = sale.phase == Phase::Open && sale.status(world.now()) == SaleStatus::Active;
        let lost = may_stay_lost(world, &sale);
        let loaded = world.stock.levels(&sale.key()).is_some() && !lost;
        for number in 1..=world.weather.users {
            let user = World::user(number);
            let bought = world.books().outcome(sale.id, &user) == OrderStatus::Success;
            let api = world.handle.between(1, world.weather.apis as u64) as usize;
            let mut answer = users::attempt(world, api, &user, sale.id).await;
            // A loss that no unit shows is noticed by the first call of a process that saw more.
            for _ in 0..if may_lose && !lost { NOTICED_WITHIN } else { 0 } {
                if !matches!(answer, Some(AttemptOutcome::Recovering)) {
                    break;
                }
                world.handle.sleep(500).await;
                answer = users::attempt(world, api, &user, sale.id).await;
            }
            let right = match &answer {
                Some(AttemptOutcome::Accepted(acceptance)) => {
                    let fresh = acceptance.status == OrderStatus::Pending;
                    left = left.saturating_sub(u64::from(fresh));
                    bought != fresh && (bought || sells)
                }
                Some(AttemptOutcome::SoldOut) => !bought && sells && left == 0,
                Some(AttemptOutcome::Ended) => !sells && (!bought || !loaded),
                // Nobody resumes a sale that is over, nor finds its buyers again in a stock that has
                // lost them.
                Some(AttemptOutcome::Paused) => lost || !bought && sale.phase == Phase::Paused,
                Some(AttemptOutcome::Recovering) => lost,
                _ => false,
            };
            if !right {
                let how = format!(
                    "{user} in sale {}, {left} units left, bought {bought}, sells {sells}: {answer:?}",
                    sale.id
                );
                return broken("who has not bought can try again", how);
            }
        }
    }
    Ok(())
}

/// Every buyer can read his result, at every API.
async fn read_results(world: &Arc<World>) -> Held {
    for sale in world.all_sales() {
        for number in 1..=world.weather.users {
            let user = World::user(number);
            let (product, now) = (sale.product.id, world.now());
            let api = world.handle.between(1, world.weather.apis as u64) as usize;
            let reader = user.clone();
            let read = world
                .request(api, async move |services| {
                    let shown = services.catalogue.started(product, now)?.id;
                    let purchase = services.flash_sale.purchase_status(&reader, product).await;
                    Some((shown, purchase.ok()?.status))
                })
                .await;
            let Some(Some((shown, status))) = read else {
                return broken("results can be read", format!("{user} gets no answer"));
            };
            let expected = world.books().outcome(shown, &user);
            // The result of an attempt that failed without units of its own changes no counter, so
            // a store that goes back to just before it shows no trace of the loss: it can be lost
            // for good. Its user can try again.
            let forgotten = world.weather.losses.any()
                && (status, expected) == (OrderStatus::Pending, OrderStatus::Failed);
            if status != expected && !forgotten {
                let how = format!("{user} in sale {shown}: {status:?}, but it is {expected:?}");
                return broken("results can be read", how);
            }
        }
    }
    Ok(())
}

/// The auditor comes to the same end.
async fn audit(world: &Arc<World>) -> Held {
    for sale in world.all_sales() {
        if may_stay_lost(world, &sale) {
            continue;
        }
        let id = sale.id;
        let account = world
            .request(1, async move |services| {
                services.auditor.reconcile(id).await
            })
            .await;
        let Some(Ok(Some(account))) = account else {
            return broken("the auditor finds all exact", "there is no account");
        };
        if account.verdict() != Verdict::Exact {
            let how = format!("sale {id}: {:?}", account.findings);
            return broken("the auditor finds all exact", how);
        }
    }
    Ok(())
}

/// Who was refused is in the audit trail, unless a process has died before it could say so.
async fn read_the_trail(world: &Arc<World>) -> Held {
    let told_all = world.weather.danger.crash == 0 && !world.books().cut_off;
    if !world.weather.records_refusals || !told_all {
        return Ok(());
    }
    // The last refusals are on their way.
    world.handle.sleep(3_000).await;
    let refusals: Vec<_> = world.books().refusals().cloned().collect();
    for (sale, user, outcome) in refusals {
        let history = at_once(world.attempts.history(sale, &user, BATCH_MAX));
        let history = history.expect("memory does not fail");
        if !history
            .iter()
            .any(|record| record.outcome.name() == outcome)
        {
            let how = format!("{user} in sale {sale}: {outcome}, but {history:?}");
            return broken("who was refused is in the audit trail", how);
        }
    }
    Ok(())
}
