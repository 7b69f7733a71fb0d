use super::bench::{Bench, ensure_allocation, order};
use crate::domain::{AllocationState, Attempt, Decision, FailReason};
use crate::testing::report::{Checked, Ran, ensure_eq};
use crate::testing::samples::{self, START, fresh_attempt_id, user};
use crate::testing::{Fixture, StockStoreRig, Violation};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

/// A store with `count` attempts, 10 ms apart, the first of them at 10 ms.
async fn spaced(rigs: Rigs<'_>, count: u64) -> Result<(Bench<'_>, Vec<Attempt>), Violation> {
    let bench = Bench::open(rigs, count).await?;
    let mut attempts = Vec::new();
    for number in 1..=count {
        bench.clock.set(START.plus_ms(number as i64 * 10));
        attempts.push(bench.reserve(number).await?);
    }
    Ok((bench, attempts))
}

pub(super) async fn an_attempt_is_unpublished_until_it_is_acknowledged(rigs: Rigs<'_>) -> Checked {
    let (bench, attempts) = spaced(rigs, 3).await?;
    ensure_eq!("unpublished before", bench.levels().await?.unpublished, 3);
    bench
        .store
        .acknowledge(&bench.sale, &attempts[1..2])
        .await?;
    let left = vec![attempts[0].clone(), attempts[2].clone()];
    let unpublished = bench.store.unpublished(&bench.sale, 0, 10).await?;
    ensure_eq!("the unpublished attempts", unpublished, left);
    let levels = bench.levels().await?;
    ensure_eq!(
        "unpublished and undecided",
        (levels.unpublished, levels.undecided),
        (2, 3)
    );
    let logged = AllocationState::Reserved { logged: true };
    ensure_allocation(bench.allocation(2).await?.as_ref(), &attempts[1], logged)?;
    bench.ensure_units("after it", (0, 3, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn repeating_an_acknowledgement_changes_nothing(rigs: Rigs<'_>) -> Checked {
    let (bench, attempts) = spaced(rigs, 2).await?;
    let twice = [attempts[0].clone(), attempts[0].clone()];
    bench.store.acknowledge(&bench.sale, &twice).await?;
    let before = bench.levels().await?;
    bench.store.acknowledge(&bench.sale, &twice).await?;
    ensure_eq!("the levels", bench.levels().await?, before);
    ensure_eq!("unpublished", before.unpublished, 1);
    Ok(Ran::Yes)
}

pub(super) async fn unknown_and_decided_attempts_are_passed_over(rigs: Rigs<'_>) -> Checked {
    let (bench, attempts) = spaced(rigs, 4).await?;
    let cancelled = Decision::Failed(FailReason::Cancelled);
    bench
        .settle(&attempts[0], Decision::Success(order(1)))
        .await?;
    bench.settle(&attempts[1], cancelled).await?;
    let other_id = Attempt {
        id: fresh_attempt_id(),
        ..attempts[2].clone()
    };
    let batch = [
        attempts[0].clone(),
        attempts[1].clone(),
        other_id,
        samples::attempt(&bench.sale, user(99), 9),
        attempts[3].clone(),
    ];
    bench.store.acknowledge(&bench.sale, &batch).await?;
    let unpublished = bench.store.unpublished(&bench.sale, 0, 10).await?;
    ensure_eq!(
        "the unpublished attempts",
        unpublished,
        attempts[2..3].to_vec()
    );
    let sold = AllocationState::Sold(order(1));
    ensure_allocation(bench.allocation(1).await?.as_ref(), &attempts[0], sold)?;
    ensure_eq!("the released allocation", bench.allocation(2).await?, None);
    ensure_eq!("the unknown allocation", bench.allocation(99).await?, None);
    let elsewhere = samples::fresh_sale();
    bench.store.acknowledge(&elsewhere, &[]).await?;
    let stranger = samples::attempt(&elsewhere, user(1), 1);
    bench.store.acknowledge(&elsewhere, &[stranger]).await?;
    Ok(Ran::Yes)
}

pub(super) async fn unpublished_attempts_come_oldest_first_from_an_age_on(
    rigs: Rigs<'_>,
) -> Checked {
    let (bench, attempts) = spaced(rigs, 4).await?;
    bench.clock.set(START.plus_ms(100));
    for (age_ms, count) in [(u64::MAX, 0), (91, 0), (90, 1), (71, 2), (70, 3), (0, 4)] {
        let unpublished = bench.store.unpublished(&bench.sale, age_ms, 10).await?;
        let what = format!("unpublished for {age_ms} ms");
        ensure_eq!(what, unpublished, attempts[..count].to_vec());
    }
    let oldest = bench.levels().await?.oldest_reserved_at;
    ensure_eq!("the oldest attempt", oldest, Some(START.plus_ms(10)));
    Ok(Ran::Yes)
}

pub(super) async fn overdue_attempts_come_logged_or_not(rigs: Rigs<'_>) -> Checked {
    let (bench, attempts) = spaced(rigs, 4).await?;
    bench.store.acknowledge(&bench.sale, &attempts[..2]).await?;
    bench
        .settle(&attempts[0], Decision::Success(order(1)))
        .await?;
    bench.clock.set(START.plus_ms(100));
    for (age_ms, end) in [(81, 1), (80, 2), (70, 3), (0, 4)] {
        let overdue = bench.store.overdue(&bench.sale, age_ms, 10).await?;
        let what = format!("undecided for {age_ms} ms");
        ensure_eq!(what, overdue, attempts[1..end].to_vec());
    }
    let oldest = bench.levels().await?.oldest_reserved_at;
    ensure_eq!("the oldest attempt", oldest, Some(START.plus_ms(20)));
    Ok(Ran::Yes)
}

pub(super) async fn no_attempt_is_younger_than_nothing_when_the_clock_goes_back(
    rigs: Rigs<'_>,
) -> Checked {
    let (bench, attempts) = spaced(rigs, 3).await?;
    bench.clock.set(START.plus_ms(5));
    for (age_ms, count) in [(0, 3), (1, 2), (10, 2), (20, 1), (21, 0)] {
        let overdue = bench.store.overdue(&bench.sale, age_ms, 10).await?;
        let what = format!("undecided for {age_ms} ms");
        ensure_eq!(what, overdue, attempts[..count].to_vec());
        let unpublished = bench.store.unpublished(&bench.sale, age_ms, 10).await?;
        let what = format!("unpublished for {age_ms} ms");
        ensure_eq!(what, unpublished, attempts[..count].to_vec());
    }
    Ok(Ran::Yes)
}

pub(super) async fn at_most_max_attempts_come(rigs: Rigs<'_>) -> Checked {
    let (bench, attempts) = spaced(rigs, 5).await?;
    bench.store.acknowledge(&bench.sale, &attempts[..1]).await?;
    let overdue = bench.store.overdue(&bench.sale, 0, 2).await?;
    ensure_eq!("overdue", overdue, attempts[..2].to_vec());
    let unpublished = bench.store.unpublished(&bench.sale, 0, 2).await?;
    ensure_eq!("unpublished", unpublished, attempts[1..3].to_vec());
    let none = bench.store.overdue(&bench.sale, 0, 0).await?;
    ensure_eq!("none", none, vec![]);
    Ok(Ran::Yes)
}

pub(super) async fn nothing_is_undecided_in_a_sale_that_is_not_loaded(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::unopened(rigs, 1).await?;
    let overdue = bench.store.overdue(&bench.sale, 0, 10).await?;
    ensure_eq!("overdue", overdue, vec![]);
    let unpublished = bench.store.unpublished(&bench.sale, 0, 10).await?;
    ensure_eq!("unpublished", unpublished, vec![]);
    Ok(Ran::Yes)
}
