use super::bench::{Bench, order};
use crate::domain::{AllocationState, Decision, FailReason, ReserveOutcome};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, ensure_matches};
use crate::testing::{Fixture, StockStoreRig};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

pub(super) async fn a_reservation_survives_a_reopen(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let (one, two) = (bench.reserve(1).await?, bench.reserve(2).await?);
    let Some(bench) = bench.reopen().await? else {
        return Ok(Ran::Skipped);
    };
    bench.ensure_units("after the reopen", (3, 2, 0)).await?;
    for (number, attempt) in [(1, &one), (2, &two)] {
        let outcome = bench.buy(number).await?;
        ensure_matches!("a retry", outcome, ReserveOutcome::AlreadyAllocated(allocation)
            if allocation.attempt == attempt.id
                && allocation.seq == attempt.seq
                && allocation.epoch == attempt.epoch
                && allocation.reserved_at == attempt.reserved_at);
    }
    let overdue = bench.store.overdue(&bench.sale, 0, 10).await?;
    ensure_eq!("undecided attempts", overdue, vec![one, two.clone()]);
    let next = bench.reserve(3).await?;
    ensure!(next.seq > two.seq, "seq must go on growing after a reopen");
    Ok(Ran::Yes)
}

pub(super) async fn a_settlement_survives_a_reopen(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let (one, two) = (bench.reserve(1).await?, bench.reserve(2).await?);
    let cancelled = Decision::Failed(FailReason::Cancelled);
    bench.settle(&one, Decision::Success(order(1))).await?;
    bench.settle(&two, cancelled).await?;
    let Some(bench) = bench.reopen().await? else {
        return Ok(Ran::Skipped);
    };
    bench.ensure_units("after the reopen", (4, 0, 1)).await?;
    ensure_matches!("the buyer's allocation", bench.allocation(1).await?, Some(allocation)
        if allocation.attempt == one.id && allocation.state == AllocationState::Sold(order(1)));
    ensure_eq!("the released allocation", bench.allocation(2).await?, None);
    Ok(Ran::Yes)
}
