//! For a store that is the arbiter too: what it reserves is bought at once.

use super::bench::{Bench, request};
pub(super) use super::racing::{a_racing_user_gets_one_attempt, racing_users_never_oversell};
use crate::domain::{AllocationState, Levels, OrderId, ReserveOutcome};
use crate::ports::StockStoreExt;
use crate::testing::report::{Checked, Ran, ensure_eq, ensure_matches};
use crate::testing::samples::START;
use crate::testing::{Fixture, StockStoreRig, Violation};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

/// Buys a unit for the user with this number.
async fn order_of(bench: &Bench<'_>, number: u64) -> Result<OrderId, Violation> {
    match bench.buy(number).await? {
        ReserveOutcome::Sold(_, order) => Ok(order),
        other => Err(Violation::new(format!(
            "user {number} must have bought, but the answer is {other:?}"
        ))),
    }
}

pub(super) async fn what_is_reserved_is_sold_in_the_same_step(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let request = request(1);
    let outcome = bench.store.reserve_one(&bench.sale, &request).await?;
    ensure_matches!("the outcome", outcome, ReserveOutcome::Sold(attempt, _)
        if attempt.id == request.attempt
            && attempt.user == request.user
            && attempt.sale == bench.sale.id
            && attempt.product == bench.sale.product
            && attempt.epoch == bench.sale.epoch
            && attempt.reserved_at == START.plus_ms(1_000));
    bench.ensure_units("after it", (2, 0, 1)).await?;
    let Levels {
        undecided,
        unpublished,
        ..
    } = bench.levels().await?;
    ensure_eq!(
        "undecided and unpublished",
        (undecided, unpublished),
        (0, 0)
    );
    let overdue = bench.store.overdue(&bench.sale, 0, 10).await?;
    ensure_eq!("undecided attempts", overdue, vec![]);
    Ok(Ran::Yes)
}

pub(super) async fn a_buyer_is_told_of_the_order(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let order = order_of(&bench, 1).await?;
    ensure_matches!("a retry", bench.buy(1).await?, ReserveOutcome::AlreadyAllocated(allocation)
        if allocation.state == AllocationState::Sold(order));
    ensure_matches!("the allocation", bench.allocation(1).await?, Some(allocation)
        if allocation.state == AllocationState::Sold(order));
    Ok(Ran::Yes)
}

pub(super) async fn more_than_the_stock_is_never_sold(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    for number in 1..=3 {
        order_of(&bench, number).await?;
    }
    for number in 4..=6 {
        ensure_eq!(
            "sold out",
            bench.buy(number).await?,
            ReserveOutcome::SoldOut
        );
    }
    bench.ensure_units("after it", (0, 0, 3)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_user_buys_once_in_a_batch(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 10).await?;
    let first = request(1);
    let requests = [first.clone(), request(1), request(2), first.clone()];
    let outcomes = bench.store.reserve(&bench.sale, &requests).await?;
    ensure_eq!("the number of outcomes", outcomes.len(), 4);
    ensure_matches!("the first", outcomes[0], ReserveOutcome::Sold(..));
    for again in [&outcomes[1], &outcomes[3]] {
        ensure_matches!("again", again, ReserveOutcome::AlreadyAllocated(allocation)
            if allocation.attempt == first.attempt);
    }
    ensure_matches!("another user", outcomes[2], ReserveOutcome::Sold(..));
    bench.ensure_units("after the batch", (8, 0, 2)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn an_order_survives_a_reopen(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.win(1).await?;
    let order = bench
        .allocation(1)
        .await?
        .map(|allocation| allocation.state);
    let Some(bench) = bench.reopen().await? else {
        return Ok(Ran::Skipped);
    };
    bench.ensure_units("after the reopen", (2, 0, 1)).await?;
    ensure_matches!("a retry", bench.buy(1).await?, ReserveOutcome::AlreadyAllocated(allocation)
        if allocation.attempt == attempt.id && Some(allocation.state) == order);
    Ok(Ran::Yes)
}
