use super::bench::{Bench, ensure_allocation, order, settlement};
use crate::domain::{
    AllocationState, Attempt, Decision, FailReason, Kept, Phase, ReserveOutcome, SettleOutcome,
};
use crate::testing::report::{Checked, Ran, ensure_eq, ensure_matches};
use crate::testing::samples::{self, fresh_attempt_id, units, user};
use crate::testing::{Fixture, StockStoreRig};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

const CANCELLED: Decision = Decision::Failed(FailReason::Cancelled);

fn success(number: i64) -> Decision {
    Decision::Success(order(number))
}

/// Another attempt of the same user, which the store has never seen.
fn unseen(attempt: &Attempt) -> Attempt {
    Attempt {
        id: fresh_attempt_id(),
        ..attempt.clone()
    }
}

pub(super) async fn an_order_confirms_its_reservation(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    let outcome = bench.settle(&attempt, success(1)).await?;
    ensure_eq!("the outcome", outcome, SettleOutcome::Confirmed);
    let sold = AllocationState::Sold(order(1));
    ensure_allocation(bench.allocation(1).await?.as_ref(), &attempt, sold)?;
    bench.ensure_units("after it", (2, 0, 1)).await?;
    ensure_eq!("undecided", bench.levels().await?.undecided, 0);
    let undecided = bench.store.overdue(&bench.sale, 0, 10).await?;
    ensure_eq!("undecided attempts", undecided, vec![]);
    ensure_matches!("an attempt after it", bench.buy(1).await?, ReserveOutcome::AlreadyAllocated(allocation)
        if allocation.state == sold && allocation.attempt == attempt.id);
    Ok(Ran::Yes)
}

pub(super) async fn an_attempt_without_stock_is_voided(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    let no_stock = Decision::Failed(FailReason::NoStock);
    let outcome = bench.settle(&attempt, no_stock).await?;
    ensure_eq!("the outcome", outcome, SettleOutcome::Voided);
    ensure_eq!("the allocation", bench.allocation(1).await?, None);
    bench
        .ensure_units("the unit never existed", (2, 0, 0))
        .await?;
    bench.reserve(1).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_duplicate_is_merged_into_the_order_kept(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let attempt = bench.reserve(1).await?;
    let kept = Kept {
        order: order(7),
        attempt: fresh_attempt_id(),
        quantity: units(2),
    };
    let duplicate = Decision::Failed(FailReason::Duplicate(kept));
    let outcome = bench.settle(&attempt, duplicate).await?;
    ensure_eq!("the outcome", outcome, SettleOutcome::Merged);
    ensure_matches!("the allocation", bench.allocation(1).await?, Some(allocation) if allocation.attempt == kept.attempt
        && allocation.quantity == kept.quantity
        && allocation.state == AllocationState::Sold(kept.order));
    bench
        .ensure_units("the order has 2 units", (3, 0, 2))
        .await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_stale_cancelled_or_expired_attempt_is_released(rigs: Rigs<'_>) -> Checked {
    let reasons = [
        FailReason::StaleEpoch,
        FailReason::Cancelled,
        FailReason::Expired,
    ];
    let bench = Bench::open(rigs, 3).await?;
    for reason in reasons {
        let attempt = bench.reserve(1).await?;
        let outcome = bench.settle(&attempt, Decision::Failed(reason)).await?;
        ensure_eq!(reason.name(), outcome, SettleOutcome::Released);
        ensure_eq!("the allocation", bench.allocation(1).await?, None);
        bench.ensure_units(reason.name(), (3, 0, 0)).await?;
    }
    Ok(Ran::Yes)
}

pub(super) async fn a_released_user_may_try_again(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let first = bench.reserve(1).await?;
    bench.settle(&first, CANCELLED).await?;
    let second = bench.reserve(1).await?;
    let late = bench.settle(&first, CANCELLED).await?;
    ensure_eq!("the first settled again", late, SettleOutcome::Unchanged);
    let reserved = AllocationState::Reserved { logged: false };
    ensure_allocation(bench.allocation(1).await?.as_ref(), &second, reserved)?;
    bench.ensure_units("after it", (0, 1, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn an_order_of_another_attempt_is_adopted(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    let other = unseen(&attempt);
    let outcome = bench.settle(&other, success(1)).await?;
    ensure_eq!("the outcome", outcome, SettleOutcome::Adopted);
    ensure_matches!("the allocation", bench.allocation(1).await?, Some(allocation)
        if allocation.attempt == other.id && allocation.state == AllocationState::Sold(order(1)));
    bench.ensure_units("after it", (2, 0, 1)).await?;
    let kept = Kept {
        order: order(1),
        attempt: other.id,
        quantity: other.quantity,
    };
    let duplicate = Decision::Failed(FailReason::Duplicate(kept));
    let late = bench.settle(&attempt, duplicate).await?;
    ensure_eq!("its own decision", late, SettleOutcome::Unchanged);
    bench.ensure_units("after both", (2, 0, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_lost_allocation_is_healed(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = samples::attempt(&bench.sale, user(1), 1);
    let outcome = bench.settle(&attempt, success(1)).await?;
    ensure_eq!("the outcome", outcome, SettleOutcome::Healed);
    bench.ensure_units("after it", (2, 0, 1)).await?;
    ensure_matches!("the allocation", bench.allocation(1).await?, Some(allocation) if allocation.attempt == attempt.id
        && allocation.reserved_at == attempt.reserved_at
        && allocation.state == AllocationState::Sold(order(1)));
    Ok(Ran::Yes)
}

pub(super) async fn an_order_without_units_is_drift_and_stops_the_sale(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    bench.reserve(1).await?;
    let lost = samples::attempt(&bench.sale, user(2), 1);
    let outcome = bench.settle(&lost, success(1)).await?;
    ensure_eq!("the outcome", outcome, SettleOutcome::Drift);
    bench.ensure_units("nothing is taken", (0, 1, 0)).await?;
    ensure_eq!("the phase", bench.levels().await?.phase, Phase::Recovering);
    ensure_eq!(
        "a new user",
        bench.buy(3).await?,
        ReserveOutcome::Recovering
    );
    ensure_matches!(
        "the holder",
        bench.buy(1).await?,
        ReserveOutcome::AlreadyAllocated(_)
    );
    let again = bench.store.open(&bench.sale, &bench.snapshot()).await?;
    ensure_eq!(
        "the same epoch",
        again,
        crate::domain::OpenOutcome::AlreadyOpen
    );
    let opened = bench
        .store
        .open(&bench.at_epoch(2), &bench.snapshot())
        .await?;
    ensure_eq!("a new epoch", opened, crate::domain::OpenOutcome::Opened);
    ensure_eq!("the phase", bench.levels().await?.phase, Phase::Open);
    Ok(Ran::Yes)
}

pub(super) async fn an_order_without_units_is_told_again_until_there_are_some(
    rigs: Rigs<'_>,
) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let taken = bench.reserve(1).await?;
    let lost = samples::attempt(&bench.sale, user(2), 1);
    for _ in 0..2 {
        let outcome = bench.settle(&lost, success(1)).await?;
        ensure_eq!("the outcome", outcome, SettleOutcome::Drift);
        bench.ensure_units("nothing is taken", (0, 1, 0)).await?;
        ensure_eq!("the phase", bench.levels().await?.phase, Phase::Recovering);
    }
    let released = Decision::Failed(FailReason::Cancelled);
    let outcome = bench.settle(&taken, released).await?;
    ensure_eq!("the release", outcome, SettleOutcome::Released);
    ensure_eq!("the phase", bench.levels().await?.phase, Phase::Recovering);
    let outcome = bench.settle(&lost, success(1)).await?;
    ensure_eq!("the outcome with units", outcome, SettleOutcome::Healed);
    let outcome = bench.settle(&lost, success(1)).await?;
    ensure_eq!("the outcome after it", outcome, SettleOutcome::Unchanged);
    bench.ensure_units("after it", (0, 0, 1)).await?;
    ensure_eq!("the phase", bench.levels().await?.phase, Phase::Recovering);
    Ok(Ran::Yes)
}

pub(super) async fn a_failure_of_another_attempt_changes_nothing(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    let kept = Kept {
        order: order(9),
        attempt: fresh_attempt_id(),
        quantity: units(1),
    };
    let reasons = [
        FailReason::NoStock,
        FailReason::Duplicate(kept),
        FailReason::StaleEpoch,
        FailReason::Cancelled,
        FailReason::Expired,
    ];
    let before = bench.levels().await?;
    for reason in reasons {
        let nobody = samples::attempt(&bench.sale, user(2), 1);
        for other in [unseen(&attempt), nobody] {
            let outcome = bench.settle(&other, Decision::Failed(reason)).await?;
            ensure_eq!(reason.name(), outcome, SettleOutcome::Unchanged);
        }
    }
    ensure_eq!("the levels", bench.levels().await?, before);
    let reserved = AllocationState::Reserved { logged: false };
    ensure_allocation(bench.allocation(1).await?.as_ref(), &attempt, reserved)?;
    Ok(Ran::Yes)
}

pub(super) async fn what_is_sold_stays_sold(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    bench.settle(&attempt, success(1)).await?;
    let before = bench.levels().await?;
    let decisions = [
        success(2),
        CANCELLED,
        Decision::Failed(FailReason::NoStock),
        Decision::Failed(FailReason::StaleEpoch),
        Decision::Failed(FailReason::Expired),
    ];
    for decision in decisions {
        for attempt in [attempt.clone(), unseen(&attempt)] {
            let outcome = bench.settle(&attempt, decision).await?;
            ensure_eq!(format!("{decision:?}"), outcome, SettleOutcome::Unchanged);
        }
    }
    ensure_eq!("the levels", bench.levels().await?, before);
    let sold = AllocationState::Sold(order(1));
    ensure_allocation(bench.allocation(1).await?.as_ref(), &attempt, sold)?;
    Ok(Ran::Yes)
}

pub(super) async fn repeating_a_settlement_changes_nothing(rigs: Rigs<'_>) -> Checked {
    let kept = Kept {
        order: order(9),
        attempt: fresh_attempt_id(),
        quantity: units(1),
    };
    let decisions = [
        success(1),
        Decision::Failed(FailReason::NoStock),
        Decision::Failed(FailReason::Duplicate(kept)),
        Decision::Failed(FailReason::StaleEpoch),
        CANCELLED,
        Decision::Failed(FailReason::Expired),
    ];
    for decision in decisions {
        let bench = Bench::open(rigs, 3).await?;
        let attempt = bench.reserve(1).await?;
        bench.settle(&attempt, decision).await?;
        let before = bench.levels().await?;
        let again = bench.settle(&attempt, decision).await?;
        ensure_eq!(format!("{decision:?}"), again, SettleOutcome::Unchanged);
        ensure_eq!("the levels", bench.levels().await?, before);
    }
    Ok(Ran::Yes)
}

pub(super) async fn duplicates_inside_a_settled_batch_settle_once(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let (one, two) = (bench.reserve(1).await?, bench.reserve(2).await?);
    let bought = settlement(&one, success(1));
    let cancelled = settlement(&two, CANCELLED);
    let batch = [bought.clone(), cancelled.clone(), cancelled, bought];
    let outcomes = bench.store.settle(&bench.sale, &batch).await?;
    let once = vec![
        SettleOutcome::Confirmed,
        SettleOutcome::Released,
        SettleOutcome::Unchanged,
        SettleOutcome::Unchanged,
    ];
    ensure_eq!("the outcomes", outcomes, once);
    bench.ensure_units("after the batch", (4, 0, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn settling_a_sale_that_is_not_loaded_changes_nothing(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 3).await?;
    let attempt = samples::attempt(&bench.sale, user(1), 1);
    let outcome = bench.settle(&attempt, success(1)).await?;
    ensure_eq!("the outcome", outcome, SettleOutcome::Unchanged);
    ensure_eq!("the levels", bench.store.levels(&bench.sale).await?, None);
    Ok(Ran::Yes)
}
