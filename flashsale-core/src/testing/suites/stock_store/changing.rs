use super::bench::Bench;
use crate::domain::{ApplyOutcome, Phase, ReserveOutcome, SaleChange, StockEvent};
use crate::testing::report::{Checked, Ran, ensure_eq, ensure_matches};
use crate::testing::samples::WINDOW;
use crate::testing::{Fixture, StockStoreRig};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

pub(super) async fn a_paused_sale_does_not_sell_until_it_is_resumed(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let paused = bench.change(2, SaleChange::Pause).await?;
    ensure_eq!("the pause", paused, ApplyOutcome::Applied);
    ensure_eq!("while paused", bench.buy(1).await?, ReserveOutcome::Paused);
    let levels = bench.levels().await?;
    ensure_eq!(
        "phase and version",
        (levels.phase, levels.version),
        (Phase::Paused, 2)
    );
    let resumed = bench.change(3, SaleChange::Resume).await?;
    ensure_eq!("the resumption", resumed, ApplyOutcome::Applied);
    bench.win(1).await?;
    let levels = bench.levels().await?;
    ensure_eq!(
        "phase and version",
        (levels.phase, levels.version),
        (Phase::Open, 3)
    );
    Ok(Ran::Yes)
}

pub(super) async fn a_holder_is_told_so_while_the_sale_is_paused(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.win(1).await?;
    bench.change(2, SaleChange::Pause).await?;
    ensure_matches!("the holder", bench.buy(1).await?, ReserveOutcome::AlreadyAllocated(allocation)
        if allocation.attempt == attempt.id);
    Ok(Ran::Yes)
}

pub(super) async fn a_restock_adds_units(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    bench.win(1).await?;
    ensure_eq!("before", bench.buy(2).await?, ReserveOutcome::SoldOut);
    let outcome = bench.change(2, SaleChange::Restock(2)).await?;
    ensure_eq!("the restock", outcome, ApplyOutcome::Applied);
    bench.win(2).await?;
    bench.win(3).await?;
    ensure_eq!("after", bench.buy(4).await?, ReserveOutcome::SoldOut);
    let levels = bench.levels().await?;
    let units = levels.available + levels.reserved + levels.sold;
    ensure_eq!("all units", units, 3);
    Ok(Ran::Yes)
}

pub(super) async fn units_that_nobody_holds_are_withdrawn(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    bench.win(1).await?;
    let many = StockEvent {
        version: 2,
        change: SaleChange::Withdraw(5),
    };
    let refused = bench.store.apply(&bench.sale, &many).await?;
    ensure_eq!("too many", refused, ApplyOutcome::TooFew { available: 4 });
    let levels = bench.levels().await?;
    ensure_eq!(
        "units and version",
        (levels.available, levels.version),
        (4, 1)
    );
    let taken = bench.change(2, SaleChange::Withdraw(3)).await?;
    ensure_eq!("the withdrawal", taken, ApplyOutcome::Applied);
    let levels = bench.levels().await?;
    ensure_eq!(
        "units and version",
        (levels.available, levels.version),
        (1, 2)
    );
    bench.win(2).await?;
    ensure_eq!("the rest", bench.buy(3).await?, ReserveOutcome::SoldOut);
    Ok(Ran::Yes)
}

pub(super) async fn an_extended_sale_sells_until_its_new_end(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let end = WINDOW.end.plus_ms(1_000);
    let extended = bench.change(2, SaleChange::Extend(end)).await?;
    ensure_eq!("the extension", extended, ApplyOutcome::Applied);
    bench.clock.set(end.plus_ms(-1));
    bench.win(1).await?;
    bench.clock.set(end);
    ensure_eq!("at the new end", bench.buy(2).await?, ReserveOutcome::Ended);
    Ok(Ran::Yes)
}

pub(super) async fn a_closed_sale_has_ended(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.win(1).await?;
    let closed = bench.change(2, SaleChange::Close).await?;
    ensure_eq!("the close", closed, ApplyOutcome::Applied);
    ensure_eq!("a new user", bench.buy(2).await?, ReserveOutcome::Ended);
    ensure_matches!("the holder", bench.buy(1).await?, ReserveOutcome::AlreadyAllocated(allocation)
        if allocation.attempt == attempt.id);
    ensure_eq!("the phase", bench.levels().await?.phase, Phase::Closed);
    bench
        .ensure_taken("what was reserved is honoured", 1)
        .await?;
    Ok(Ran::Yes)
}

pub(super) async fn each_version_is_applied_once(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    bench.change(2, SaleChange::Restock(5)).await?;
    let before = bench.levels().await?;
    for version in [2, 1, 0] {
        let event = StockEvent {
            version,
            change: SaleChange::Restock(5),
        };
        let again = bench.store.apply(&bench.sale, &event).await?;
        ensure_eq!(format!("version {version}"), again, ApplyOutcome::Stale);
    }
    ensure_eq!("the levels", bench.levels().await?, before);
    ensure_eq!("the units", before.available, 6);
    Ok(Ran::Yes)
}

pub(super) async fn a_missing_version_is_a_gap(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let before = bench.levels().await?;
    for version in [3, 4, 100] {
        let event = StockEvent {
            version,
            change: SaleChange::Restock(5),
        };
        let outcome = bench.store.apply(&bench.sale, &event).await?;
        let gap = ApplyOutcome::Gap { expected: 2 };
        ensure_eq!(format!("version {version}"), outcome, gap);
    }
    ensure_eq!("the levels", bench.levels().await?, before);
    Ok(Ran::Yes)
}

pub(super) async fn a_change_of_a_sale_that_is_not_loaded_is_told(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 1).await?;
    let event = StockEvent {
        version: 2,
        change: SaleChange::Pause,
    };
    let outcome = bench.store.apply(&bench.sale, &event).await?;
    ensure_eq!("the outcome", outcome, ApplyOutcome::NotLoaded);
    Ok(Ran::Yes)
}
