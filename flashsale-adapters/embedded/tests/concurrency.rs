//! Crowds, callers who leave at any moment, shops that change their minds, crashes and clocks that
//! jump: afterwards every unit is accounted for.
#![allow(clippy::unwrap_used)]

mod shop;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use flashsale_core::domain::{
    Attempt, AttemptId, FailReason, Levels, NewSale, ReserveOutcome, Sale, SaleChange, Timestamp,
    UserId, Window,
};
use flashsale_core::ports::{AttemptQueue, OrderRepo, StockStore, StockStoreExt};
use flashsale_core::services::{Repair, RepairLimits};
use flashsale_core::testing::{ManualClock, Seeded};
use flashsale_embedded::{Decides, EmbeddedEngine};
use shop::{assert_exact, new_sale, open, open_at, request, sell, services, user};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Longer than any of this takes: whoever waits so long waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);

fn runtimes() -> Vec<(&'static str, Runtime)> {
    let many = |threads| {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap()
    };
    vec![
        (
            "one thread",
            Builder::new_current_thread().enable_all().build().unwrap(),
        ),
        ("two workers", many(2)),
        ("eight workers", many(8)),
    ]
}

fn run(runtime: &Runtime, what: &str, future: impl Future<Output = ()>) {
    let result = runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await });
    assert!(result.is_ok(), "{what} hangs");
}

/// Polls `future` at most `polls` times and then drops it.
async fn give_up_after<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(context).map(Some);
        if polled.is_pending() && left == 0 {
            return Poll::Ready(None);
        }
        polled
    })
    .await
}

/// What the callers were told, and what they asked for.
#[derive(Default)]
struct Told {
    kept: BTreeMap<UserId, BTreeSet<AttemptId>>,
    refused: u64,
    left: u64,
}

impl Told {
    fn note(&mut self, outcomes: Option<Vec<(UserId, ReserveOutcome)>>) {
        let Some(outcomes) = outcomes else {
            self.left += 1;
            return;
        };
        for (user, outcome) in outcomes {
            let attempt = match outcome {
                ReserveOutcome::Reserved(attempt) | ReserveOutcome::Sold(attempt, _) => attempt.id,
                ReserveOutcome::AlreadyAllocated(allocation) => allocation.attempt,
                ReserveOutcome::SoldOut | ReserveOutcome::Paused | ReserveOutcome::Ended => {
                    self.refused += 1;
                    continue;
                }
                other => panic!("{other:?}"),
            };
            self.kept.entry(user).or_default().insert(attempt);
        }
    }

    fn add(&mut self, other: Self) {
        for (user, attempts) in other.kept {
            self.kept.entry(user).or_default().extend(attempts);
        }
        self.refused += other.refused;
        self.left += other.left;
    }
}

/// Asks `calls` times as users of a small crowd: alone or in batches, sometimes leaving early.
async fn ask(engine: EmbeddedEngine, sale: Sale, seed: u64, calls: u64, crowd: u64) -> Told {
    let mut seeded = Seeded::new(seed);
    let (stock, key) = (engine.stock(), sale.key());
    let mut told = Told::default();
    for _ in 0..calls {
        let items = if seeded.percent(20) {
            1 + seeded.below(8)
        } else {
            1
        };
        let one = seeded.percent(10);
        let requests: Vec<_> = (0..items)
            .map(|_| if one { 0 } else { seeded.below(crowd) })
            .map(|number| request(&format!("user-{number}")))
            .collect();
        let patience = if seeded.percent(30) {
            seeded.below(6)
        } else {
            u64::MAX
        };
        let outcomes = give_up_after(patience, stock.reserve(&key, &requests)).await;
        let outcomes = outcomes.map(Result::unwrap);
        told.note(outcomes.map(|outcomes| {
            let users = requests.into_iter().map(|request| request.user);
            users.zip(outcomes).collect()
        }));
        if seeded.percent(10) {
            let users = [user(&format!("user-{}", seeded.below(crowd)))];
            let allocations = give_up_after(patience, stock.allocations(&key, &users)).await;
            if let Some(Ok(allocations)) = allocations
                && let Some(allocation) = &allocations[0]
            {
                let held = ReserveOutcome::AlreadyAllocated(allocation.clone());
                told.note(Some(vec![(users[0].clone(), held)]));
            }
        }
    }
    told
}

/// Pauses, resumes and restocks, and closes the sale at the end; returns the units added.
async fn change_often(engine: EmbeddedEngine, sale: Sale, seed: u64, changes: u64) -> u64 {
    let sales = services(&engine).await.sales;
    let mut seeded = Seeded::new(seed);
    let mut added = 0;
    for _ in 0..changes {
        let change = match seeded.below(3) {
            0 => SaleChange::Pause,
            1 => SaleChange::Resume,
            _ => SaleChange::Restock(1 + seeded.below(5)),
        };
        if let flashsale_core::services::ChangeSaleOutcome::Changed(_) =
            sales.change(sale.id, change).await.unwrap()
            && let SaleChange::Restock(units) = change
        {
            added += units;
        }
        tokio::task::yield_now().await;
    }
    added
}

/// Everybody who was told of an attempt has exactly that one, in the stock and as an order.
async fn assert_told_the_truth(engine: &EmbeddedEngine, sale: &Sale, told: &Told) {
    let account = assert_exact(engine, sale).await;
    let stock = engine.stock();
    for (user, attempts) in &told.kept {
        assert_eq!(attempts.len(), 1, "{user} was told of several attempts");
        let allocation = stock.allocation(&sale.key(), user).await.unwrap().unwrap();
        assert!(
            attempts.contains(&allocation.attempt),
            "{user} holds another one"
        );
    }
    let levels = account.levels.unwrap();
    assert!(levels.sold + levels.reserved >= told.kept.len() as u64);
    assert_eq!(account.totals.doubled_users, 0);
}

async fn orders_of(engine: &EmbeddedEngine, sale: &Sale) -> BTreeMap<UserId, AttemptId> {
    let orders = engine.orders().list(sale.id, None, 1 << 20).await.unwrap();
    let won = orders
        .iter()
        .filter(|order| matches!(order.decision, flashsale_core::domain::Decision::Success(_)));
    let mut by_user = BTreeMap::new();
    for order in won {
        let first = by_user.insert(order.user.clone(), order.attempt);
        assert_eq!(first, None, "{} has two orders", order.user);
    }
    by_user
}

async fn settled_levels(engine: &EmbeddedEngine, sale: &Sale) -> Levels {
    engine.stock().levels(&sale.key()).await.unwrap().unwrap()
}

#[test]
fn a_crowd_that_comes_and_goes_is_told_the_truth() {
    for (round, (name, runtime)) in runtimes().into_iter().enumerate() {
        let seed = 1_000 * (round as u64 + 1);
        println!("{name}, seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        run(&runtime, name, async {
            let engine = open(&path, Decides::AtOnce);
            let sale = sell(&engine, "lamp", 300).await;
            let mut callers = JoinSet::new();
            for caller in 0..24 {
                let (engine, sale) = (engine.clone(), sale.clone());
                callers.spawn(ask(engine, sale, seed + caller, 100, 800));
            }
            let changing = tokio::spawn(change_often(engine.clone(), sale.clone(), seed, 40));
            let mut told = Told::default();
            for one in callers.join_all().await {
                told.add(one);
            }
            let added = changing.await.unwrap();
            println!(
                "{} kept, {} refused, {} left early",
                told.kept.len(),
                told.refused,
                told.left
            );
            assert_told_the_truth(&engine, &sale, &told).await;
            let levels = settled_levels(&engine, &sale).await;
            assert_eq!(levels.available + levels.sold, 300 + added);
            let orders = orders_of(&engine, &sale).await;
            assert_eq!(orders.len() as u64, levels.sold);
            drop(engine);

            let engine = open(&path, Decides::AtOnce);
            assert_told_the_truth(&engine, &sale, &told).await;
            assert_eq!(orders_of(&engine, &sale).await, orders);
            let again = settled_levels(&engine, &sale).await;
            assert_eq!(
                (again.available, again.sold),
                (levels.available, levels.sold)
            );
        });
    }
}

/// A caller who leaves after exactly n polls, for every n that a call can take, with others before,
/// beside and after it.
#[test]
fn a_caller_may_leave_at_every_poll() {
    for (name, runtime) in runtimes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        run(&runtime, name, async {
            let engine = open(&path, Decides::AtOnce);
            let sale = sell(&engine, "lamp", 100_000).await;
            let (stock, key) = (engine.stock(), sale.key());
            for polls in 0..8 {
                for others in 0..4 {
                    let mut beside = JoinSet::new();
                    for other in 0..others {
                        let (stock, request) = (
                            stock.clone(),
                            request(&format!("o-{polls}-{others}-{other}")),
                        );
                        beside
                            .spawn(async move { stock.reserve_one(&key, &request).await.unwrap() });
                    }
                    let (ann, bob) = (
                        request(&format!("a-{polls}-{others}")),
                        request(&format!("b-{polls}-{others}")),
                    );
                    let (_, bob) = tokio::join!(
                        give_up_after(polls, stock.reserve_one(&key, &ann)),
                        stock.reserve_one(&key, &bob),
                    );
                    assert!(matches!(bob, Ok(ReserveOutcome::Sold(..))), "{bob:?}");
                    give_up_after(polls, stock.allocation(&key, &ann.user)).await;
                    beside.join_all().await;
                    // Whatever became of her call: the same one again settles it.
                    let again = stock.reserve_one(&key, &ann).await.unwrap();
                    match again {
                        ReserveOutcome::Sold(attempt, _) => assert_eq!(attempt.id, ann.attempt),
                        ReserveOutcome::AlreadyAllocated(allocation) => {
                            assert_eq!(allocation.attempt, ann.attempt)
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert_exact(&engine, &sale).await;
        });
    }
}

/// Attempts that another stock store took are decided here, beside those decided at once.
#[test]
fn orders_from_elsewhere_and_orders_at_once_share_the_stock() {
    for (round, (name, runtime)) in runtimes().into_iter().enumerate() {
        let seed = 77 + round as u64;
        println!("{name}, seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        run(&runtime, name, async {
            let engine = open(&path, Decides::AtOnce);
            let sale = sell(&engine, "lamp", 400).await;
            let mut callers = JoinSet::new();
            for caller in 0..8 {
                callers.spawn(ask(
                    engine.clone(),
                    sale.clone(),
                    seed * 100 + caller,
                    60,
                    250,
                ));
            }
            let foreign = |number: u64| Attempt {
                id: request("x").attempt,
                sale: sale.id,
                product: sale.product.id,
                user: user(&format!("foreign-{number}")),
                quantity: flashsale_core::domain::Quantity::ONE,
                epoch: sale.epoch,
                seq: 0,
                reserved_at: Timestamp::from_millis(5),
            };
            let mut deciders = JoinSet::new();
            for part in 0..4 {
                let attempts: Vec<_> = (0..30).map(|n| foreign(part * 20 + n)).collect();
                let (orders, key) = (engine.orders(), sale.key());
                deciders.spawn(async move {
                    let mut decided = Vec::new();
                    for batch in attempts.chunks(7) {
                        decided.extend(orders.commit(&key, batch).await.unwrap());
                        let cancelled = orders.release(&key, &batch[..1], FailReason::Cancelled);
                        assert_eq!(
                            cancelled.await.unwrap()[0],
                            decided[decided.len() - batch.len()]
                        );
                        tokio::task::yield_now().await;
                    }
                    decided.len()
                });
            }
            deciders.join_all().await;
            let mut told = Told::default();
            for one in callers.join_all().await {
                told.add(one);
            }
            let orders = orders_of(&engine, &sale).await;
            for (user, attempts) in &told.kept {
                assert!(
                    attempts.len() == 1 && attempts.contains(&orders[user]),
                    "{user}"
                );
            }
            assert_eq!(
                orders
                    .keys()
                    .filter(|user| user.as_str().starts_with("foreign"))
                    .count(),
                90
            );
            let totals = engine.orders().totals(sale.id).await.unwrap().unwrap();
            assert_eq!(totals.sold, orders.len() as u64);
            assert_eq!(
                (totals.stock, totals.doubled_users),
                (totals.remaining + totals.sold, 0)
            );
            drop(engine);
            let engine = open(&path, Decides::AtOnce);
            assert_eq!(orders_of(&engine, &sale).await, orders);
        });
    }
}

fn impatient(repair: Repair) -> Repair {
    Repair {
        limits: RepairLimits {
            republish_after_ms: 0,
            complete_after_ms: 0,
            ..RepairLimits::default()
        },
        ..repair
    }
}

/// Sells while a worker decides, and stops at some moment: the engine is dropped with whatever is
/// half done. The next life finishes it.
#[test]
fn whatever_a_crash_leaves_is_finished_afterwards() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    for seed in 1..=8 {
        println!("seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let sale = runtime.block_on(sell(&open(&path, Decides::Later), "lamp", 200));
        let mut told: BTreeMap<UserId, AttemptId> = BTreeMap::new();
        for life in 0..3 {
            let engine = open(&path, Decides::Later);
            let crash = sell_until_a_crash(&engine, &sale, seed * 10 + life, &mut told);
            run(&runtime, "selling", crash);
        }

        let engine = open(&path, Decides::Later);
        run(&runtime, "repair", async {
            let repair = impatient(services(&engine).await.repair);
            loop {
                let repaired = repair.step(&sale.key()).await.unwrap();
                println!("{repaired:?}");
                if repaired.completed == 0 {
                    break;
                }
            }
            let levels = settled_levels(&engine, &sale).await;
            assert_eq!((levels.reserved, levels.undecided), (0, 0));
            assert_exact(&engine, &sale).await;
            let orders = orders_of(&engine, &sale).await;
            for (user, attempt) in &told {
                assert_eq!(orders.get(user), Some(attempt), "{user} was told so");
            }
            assert_eq!(levels.sold, orders.len() as u64);
        });
        drop(engine);
        run(&runtime, "a last look", async {
            assert_exact(&open(&path, Decides::Later), &sale).await;
        });
    }
}

async fn sell_until_a_crash(
    engine: &EmbeddedEngine,
    sale: &Sale,
    seed: u64,
    told: &mut BTreeMap<UserId, AttemptId>,
) {
    let services = services(engine).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut reader = engine.queue().subscribe("workers").await.unwrap();
    let (worker, stopped) = (services.worker.clone(), stop.clone());
    let working = tokio::spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            worker.step(&mut *reader, 5).await.unwrap();
        }
    });
    let mut seeded = Seeded::new(seed);
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let (service, id) = (services.flash_sale.clone(), sale.id);
        let mut seeded = Seeded::new(seed * 100 + caller);
        callers.spawn(async move {
            let mut kept = Vec::new();
            for _ in 0..30 {
                let user = user(&format!("user-{}", seeded.below(300)));
                let patience = if seeded.percent(40) {
                    seeded.below(8)
                } else {
                    u64::MAX
                };
                let outcome = give_up_after(patience, service.attempt(&user, id)).await;
                if let Some(Ok(flashsale_core::services::AttemptOutcome::Accepted(accepted))) =
                    outcome
                {
                    kept.push((user, accepted.attempt));
                }
            }
            kept
        });
    }
    // The worker dies in the middle of something.
    for _ in 0..seeded.below(200) {
        tokio::task::yield_now().await;
    }
    working.abort();
    stop.store(true, Ordering::Relaxed);
    let _ = working.await;
    for kept in callers.join_all().await {
        for (user, attempt) in kept {
            let first = *told.entry(user.clone()).or_insert(attempt);
            assert_eq!(first, attempt, "{user} was told of two attempts");
        }
    }
}

#[tokio::test]
async fn a_clock_that_jumps_opens_and_closes_the_window_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let at = Timestamp::from_millis;
    let clock = Arc::new(ManualClock::at(at(999)));
    let engine = open_at(&path, Decides::AtOnce, clock.clone());
    let new = NewSale {
        window: Window {
            start: at(1_000),
            end: at(2_000),
        },
        ..new_sale("lamp", 10)
    };
    let services = services(&engine).await;
    let sale = services.sales.create(&new).await.unwrap().unwrap().sale;
    let (stock, key) = (engine.stock(), sale.key());
    let mut number = 0;
    let mut buy = async |now: i64| {
        clock.set(at(now));
        number += 1;
        let request = request(&format!("user-{number}"));
        stock.reserve_one(&key, &request).await.unwrap()
    };
    assert!(matches!(buy(999).await, ReserveOutcome::NotStarted { .. }));
    assert_eq!(buy(2_000).await, ReserveOutcome::Ended);
    // Nothing was sold yet: the sale has not begun for anybody.
    assert!(matches!(
        buy(i64::MIN).await,
        ReserveOutcome::NotStarted { .. }
    ));
    assert!(matches!(buy(1_500).await, ReserveOutcome::Sold(..)));
    // A clock that falls back does not close a sale that has begun.
    for now in [999, 0, i64::MIN, 1_400] {
        let ReserveOutcome::Sold(attempt, _) = buy(now).await else {
            panic!("at {now}")
        };
        assert_eq!(attempt.reserved_at, at(1_500), "at {now}");
    }
    assert_eq!(buy(i64::MAX).await, ReserveOutcome::Ended);
    assert!(matches!(buy(1_999).await, ReserveOutcome::Sold(..)));
    assert_exact(&engine, &sale).await;
    drop((engine, stock, services));

    // The next life starts with a clock far behind.
    clock.set(at(0));
    let engine = open_at(&path, Decides::AtOnce, clock.clone());
    let late = engine
        .stock()
        .reserve_one(&key, &request("late"))
        .await
        .unwrap();
    assert!(
        matches!(&late, ReserveOutcome::Sold(attempt, _) | ReserveOutcome::Reserved(attempt)
        if attempt.reserved_at == at(1_500) || attempt.reserved_at == at(1_999))
            || matches!(late, ReserveOutcome::NotStarted { .. }),
        "{late:?}"
    );
    println!("{late:?}");
    assert_exact(&engine, &sale).await;
    // And one far ahead still has the sale.
    drop(engine);
    clock.set(at(i64::MAX));
    let engine = open_at(&path, Decides::AtOnce, clock);
    let user_4 = engine
        .stock()
        .allocation(&key, &user("user-4"))
        .await
        .unwrap();
    assert!(user_4.is_some());
    assert_exact(&engine, &sale).await;
}

/// Played by a process that is killed: says who was told of which attempt.
#[test]
#[ignore = "started by another test"]
fn child_sells() {
    let Some(path) = shop::child_path() else {
        return;
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let decides = match path.extension() {
        Some(end) if end == "later" => Decides::Later,
        _ => Decides::AtOnce,
    };
    let engine = open(&path, decides);
    runtime.block_on(async {
        let services = services(&engine).await;
        let mut reader = engine.queue().subscribe("workers").await.unwrap();
        let worker = services.worker.clone();
        tokio::spawn(async move { while worker.step(&mut *reader, 5).await.is_ok() {} });
        let sale = services.sales.list().await.unwrap()[0].sale.id;
        let first = std::process::id();
        let mut callers = JoinSet::new();
        for caller in 0..16 {
            let service = services.flash_sale.clone();
            callers.spawn(async move {
                for number in 0..10_000 {
                    let user = user(&format!("{first}-{caller}-{number}"));
                    let outcome = service.attempt(&user, sale).await.unwrap();
                    if let flashsale_core::services::AttemptOutcome::Accepted(accepted) = outcome {
                        println!("told {user} {}", accepted.attempt);
                    }
                }
            });
        }
        callers.join_all().await;
    });
}

#[tokio::test]
async fn a_kill_takes_nothing_from_whoever_was_told() {
    use std::io::{BufRead, BufReader};
    for name in ["shop.at_once", "shop.later"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let decides = if name == "shop.later" {
            Decides::Later
        } else {
            Decides::AtOnce
        };
        let sale = sell(&open(&path, decides), "lamp", 100_000).await;
        let mut told = BTreeMap::new();
        for lines in [1, 150, 700] {
            let mut child = shop::start_child("child_sells", &path);
            let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut note = |line: String| {
                let mut words = line.split(' ');
                if line.ends_with(|end: char| end.is_ascii_hexdigit())
                    && let (Some("told"), Some(name), Some(attempt)) =
                        (words.next(), words.next(), words.next())
                    && let Ok(attempt) = attempt.parse::<AttemptId>()
                {
                    told.insert(user(name), attempt);
                    return true;
                }
                false
            };
            let seen = output
                .by_ref()
                .map(Result::unwrap)
                .filter(|line| note(line.clone()));
            assert_eq!(seen.take(lines).count(), lines);
            child.kill().unwrap();
            // What it still had told before it died counts as well.
            output.map_while(Result::ok).for_each(|line| {
                note(line);
            });
            child.wait().unwrap();
        }
        println!("{name}: {} told", told.len());
        let engine = open(&path, decides);
        let repair = impatient(services(&engine).await.repair);
        while repair.step(&sale.key()).await.unwrap().completed > 0 {}
        assert_exact(&engine, &sale).await;
        let orders = orders_of(&engine, &sale).await;
        for (user, attempt) in &told {
            assert_eq!(orders.get(user), Some(attempt), "{user} was told so");
        }
        let levels = settled_levels(&engine, &sale).await;
        assert_eq!((levels.reserved, levels.sold), (0, orders.len() as u64));
    }
}
