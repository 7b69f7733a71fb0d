use super::bench::{Bench, order};
use crate::domain::{
    AllocationState, Attempt, Buyer, Epoch, OpenOutcome, Phase, ReserveOutcome, StockSnapshot,
};
use crate::ports::StockStoreExt;
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, ensure_matches};
use crate::testing::samples::{START, fresh_attempt_id, units, user};
use crate::testing::{Fixture, StockStoreRig};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

pub(super) async fn a_sale_that_was_never_opened_is_not_loaded(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 3).await?;
    ensure_eq!("an attempt", bench.buy(1).await?, ReserveOutcome::NotLoaded);
    ensure_eq!("levels", bench.store.levels(&bench.sale).await?, None);
    ensure_eq!("an allocation", bench.allocation(1).await?, None);
    ensure_eq!("a fence", bench.store.fence(&bench.sale).await?, None);
    Ok(Ran::Yes)
}

pub(super) async fn the_snapshot_becomes_the_stock(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 3).await?;
    let snapshot = bench.snapshot();
    let opened = bench.store.open(&bench.sale, &snapshot).await?;
    ensure_eq!("opening", opened, OpenOutcome::Opened);
    let levels = bench.levels().await?;
    ensure_eq!("the epoch", levels.epoch, bench.sale.epoch);
    ensure_eq!("the version", levels.version, snapshot.version);
    ensure_eq!("the phase", levels.phase, Phase::Open);
    ensure_eq!("undecided attempts", levels.undecided, 0);
    ensure_eq!("the oldest attempt", levels.oldest_reserved_at, None);
    bench.ensure_units("after opening", (3, 0, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn repeating_an_open_changes_nothing(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    bench.win(1).await?;
    let before = bench.levels().await?;
    let more = StockSnapshot {
        remaining: 100,
        ..bench.snapshot()
    };
    let again = bench.store.open(&bench.sale, &more).await?;
    ensure_eq!("opening again", again, OpenOutcome::AlreadyOpen);
    ensure_eq!("the levels", bench.levels().await?, before);
    ensure!(
        bench.allocation(1).await?.is_some(),
        "the allocation must still be there"
    );
    Ok(Ran::Yes)
}

pub(super) async fn an_older_epoch_changes_nothing(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 3).await?;
    let newer = bench.at_epoch(2);
    bench.store.open(&newer, &bench.snapshot()).await?;
    let before = bench.levels().await?;
    let older = bench
        .store
        .open(&bench.at_epoch(1), &bench.snapshot())
        .await?;
    ensure_eq!("opening", older, OpenOutcome::Stale(Epoch::new(2)));
    ensure_eq!("the levels", bench.levels().await?, before);
    Ok(Ran::Yes)
}

pub(super) async fn a_newer_epoch_replaces_everything(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    bench.win(1).await?;
    let newer = bench.at_epoch(2);
    let snapshot = StockSnapshot {
        version: 7,
        remaining: 2,
        ..bench.snapshot()
    };
    let opened = bench.store.open(&newer, &snapshot).await?;
    ensure_eq!("opening", opened, OpenOutcome::Opened);
    ensure_eq!(
        "the allocation of an undecided attempt",
        bench.allocation(1).await?,
        None
    );
    let levels = bench.levels().await?;
    ensure_eq!("the epoch", levels.epoch, Epoch::new(2));
    ensure_eq!("the version", levels.version, 7);
    bench.ensure_units("after opening", (2, 0, 0)).await?;
    let all = bench.store.overdue(&newer, 0, 10).await?;
    ensure_eq!("undecided attempts", all, Vec::<Attempt>::new());
    Ok(Ran::Yes)
}

pub(super) async fn buyers_of_the_snapshot_count_as_sold(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 5).await?;
    let buyer = Buyer {
        user: user(1),
        attempt: fresh_attempt_id(),
        quantity: units(2),
        order: order(41),
        reserved_at: START.plus_ms(3),
    };
    let snapshot = StockSnapshot {
        remaining: 3,
        buyers: vec![buyer.clone()],
        ..bench.snapshot()
    };
    bench.store.open(&bench.sale, &snapshot).await?;
    bench.ensure_units("after opening", (3, 0, 2)).await?;
    ensure_eq!("undecided attempts", bench.levels().await?.undecided, 0);
    let allocation = bench.allocation(1).await?;
    ensure_matches!("the buyer's allocation", allocation, Some(allocation) if allocation.attempt == buyer.attempt
        && allocation.quantity == buyer.quantity
        && allocation.reserved_at == buyer.reserved_at
        && allocation.state == AllocationState::Sold(buyer.order));
    ensure_matches!(
        "the buyer's next attempt",
        bench.buy(1).await?,
        ReserveOutcome::AlreadyAllocated(_)
    );
    Ok(Ran::Yes)
}

pub(super) async fn a_fence_stops_all_selling_under_older_epochs(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    bench.win(1).await?;
    let before = bench.levels().await?;
    let newer = bench.at_epoch(2);
    let fenced = bench.store.fence(&newer).await?;
    ensure_matches!("the levels after the fence", fenced, Some(levels)
        if levels.epoch == newer.epoch
            && levels.phase == Phase::Recovering
            && levels.available == before.available
            && levels.reserved == before.reserved
            && levels.sold == before.sold);
    let outcome = bench.buy(2).await?;
    ensure_eq!("an old caller", outcome, ReserveOutcome::Recovering);
    let outcome = bench
        .store
        .reserve_one(&newer, &super::bench::request(2))
        .await?;
    ensure_eq!("a new caller", outcome, ReserveOutcome::Recovering);
    let again = bench.store.fence(&newer).await?;
    ensure_eq!("fencing again", again, fenced);
    Ok(Ran::Yes)
}

pub(super) async fn a_fenced_sale_sells_again_once_it_is_opened(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let newer = bench.at_epoch(2);
    bench.store.fence(&newer).await?;
    let older = bench.store.open(&bench.sale, &bench.snapshot()).await?;
    ensure_eq!(
        "opening the old epoch",
        older,
        OpenOutcome::Stale(newer.epoch)
    );
    let opened = bench.store.open(&newer, &bench.snapshot()).await?;
    ensure_eq!("opening the new epoch", opened, OpenOutcome::Opened);
    let outcome = bench
        .store
        .reserve_one(&newer, &super::bench::request(1))
        .await?;
    ensure_matches!(
        "an attempt",
        outcome,
        ReserveOutcome::Reserved(attempt) | ReserveOutcome::Sold(attempt, _)
            if attempt.epoch == newer.epoch
    );
    Ok(Ran::Yes)
}

pub(super) async fn a_store_at_a_newer_epoch_is_left_as_it_is(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 3).await?;
    let newer = bench.at_epoch(3);
    bench.store.open(&newer, &bench.snapshot()).await?;
    let before = bench.levels().await?;
    let told = bench.store.fence(&bench.at_epoch(2)).await?;
    ensure_eq!("the levels that an older fence gets", told, Some(before));
    let told = bench.store.fence(&newer).await?;
    ensure_eq!("the levels that its own fence gets", told, Some(before));
    Ok(Ran::Yes)
}

pub(super) async fn a_caller_of_another_epoch_is_told_to_ask_again(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 3).await?;
    bench
        .store
        .open(&bench.at_epoch(2), &bench.snapshot())
        .await?;
    for epoch in [1, 3] {
        let caller = bench.at_epoch(epoch);
        let outcome = bench
            .store
            .reserve_one(&caller, &super::bench::request(1))
            .await?;
        let what = format!("a caller of epoch {epoch}");
        ensure_eq!(what, outcome, ReserveOutcome::Recovering);
    }
    bench.ensure_units("after the refusals", (3, 0, 0)).await?;
    Ok(Ran::Yes)
}
