use std::collections::HashSet;
use std::sync::Arc;

use super::bench::Bench;
use crate::domain::{Attempt, Decision, FailReason};
use crate::testing::report::{Checked, Ran, ensure_eq};
use crate::testing::suites::race;
use crate::testing::{Fixture, OrderRepoRig, Violation};

type Rigs<'a> = &'a dyn Fixture<OrderRepoRig>;

/// The decisions about all batches, made at the same time.
async fn commit_all(
    rigs: Rigs<'_>,
    bench: &Bench<'_>,
    batches: impl Iterator<Item = Vec<Attempt>>,
) -> Result<Vec<Decision>, Violation> {
    let calls = batches.map(|batch| {
        let (orders, sale) = (Arc::clone(&bench.orders), bench.sale);
        async move { orders.commit(&sale, &batch).await }
    });
    Ok(race(rigs, calls).await?.into_iter().flatten().collect())
}

/// How many orders, duplicates and attempts without stock there are.
fn counts(decisions: &[Decision]) -> (usize, usize, usize) {
    let count = |wanted: fn(&Decision) -> bool| decisions.iter().filter(|d| wanted(d)).count();
    (
        count(|d| matches!(d, Decision::Success(_))),
        count(|d| matches!(d, Decision::Failed(FailReason::Duplicate(_)))),
        count(|d| matches!(d, Decision::Failed(FailReason::NoStock))),
    )
}

pub(super) async fn racing_batches_never_oversell(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 25).await?;
    let batches = (0..20).map(|batch| (0..5).map(|i| bench.attempt(batch * 5 + i)).collect());
    let decisions = commit_all(rigs, &bench, batches).await?;
    ensure_eq!(
        "orders, duplicates, without stock",
        counts(&decisions),
        (25, 0, 75)
    );
    let ids: HashSet<_> = decisions.iter().collect();
    ensure_eq!("the orders and the one failure", ids.len(), 26);
    bench.ensure_totals((25, 0, 25), (25, 75)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_racing_attempt_is_decided_once(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 25).await?;
    let attempt = bench.attempt(1);
    let batches = (0..20).map(|_| vec![attempt.clone()]);
    let decisions = commit_all(rigs, &bench, batches).await?;
    ensure_eq!(
        "orders, duplicates, without stock",
        counts(&decisions),
        (20, 0, 0)
    );
    let ids: HashSet<_> = decisions.iter().collect();
    ensure_eq!("the number of orders", ids.len(), 1);
    bench.ensure_totals((25, 24, 1), (1, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_racing_user_gets_one_order(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 25).await?;
    let batches = (0..20).map(|_| vec![bench.attempt(1)]);
    let decisions = commit_all(rigs, &bench, batches).await?;
    ensure_eq!(
        "orders, duplicates, without stock",
        counts(&decisions),
        (1, 19, 0)
    );
    bench.ensure_totals((25, 24, 1), (1, 19)).await?;
    Ok(Ran::Yes)
}
