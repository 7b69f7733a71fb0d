use std::collections::HashSet;
use std::sync::Arc;

use super::bench::{Bench, order, request, settlement};
use crate::domain::{Attempt, Decision, ReserveOutcome, ReserveRequest, SettleOutcome};
use crate::ports::StockStoreExt;
use crate::testing::report::{Checked, Ran, ensure_eq};
use crate::testing::suites::race;
use crate::testing::{Fixture, StockStoreRig, Violation};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

/// The answers to all batches, made at the same time.
async fn reserve_all(
    rigs: Rigs<'_>,
    bench: &Bench<'_>,
    batches: impl Iterator<Item = Vec<ReserveRequest>>,
) -> Result<Vec<ReserveOutcome>, Violation> {
    let calls = batches.map(|batch| {
        let (store, sale) = (Arc::clone(&bench.store), bench.sale);
        async move { store.reserve(&sale, &batch).await }
    });
    Ok(race(rigs, calls).await?.into_iter().flatten().collect())
}

fn won(outcomes: &[ReserveOutcome]) -> Vec<&Attempt> {
    let attempts = outcomes.iter().filter_map(|outcome| match outcome {
        ReserveOutcome::Reserved(attempt) | ReserveOutcome::Sold(attempt, _) => Some(attempt),
        _ => None,
    });
    attempts.collect()
}

pub(super) async fn racing_users_never_oversell(rigs: Rigs<'_>) -> Checked {
    const STOCK: u64 = 40;
    let bench = Bench::open(rigs, STOCK).await?;
    let batches = (0..60).map(|batch| (0..5).map(|i| request(batch * 5 + i)).collect());
    let outcomes = reserve_all(rigs, &bench, batches).await?;
    ensure_eq!("the number of answers", outcomes.len(), 300);
    let attempts = won(&outcomes);
    let users: HashSet<_> = attempts.iter().map(|attempt| &attempt.user).collect();
    let seqs: HashSet<_> = attempts.iter().map(|attempt| attempt.seq).collect();
    let all = (attempts.len(), users.len(), seqs.len());
    ensure_eq!("winners, their users and seqs", all, (40, 40, 40));
    let refused = outcomes.iter().filter(|o| **o == ReserveOutcome::SoldOut);
    ensure_eq!("the number of refusals", refused.count(), 260);
    bench.ensure_taken("after the race", STOCK).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_racing_user_gets_one_attempt(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 100).await?;
    let batches = (0..50).map(|_| vec![request(7), request(7)]);
    let outcomes = reserve_all(rigs, &bench, batches).await?;
    ensure_eq!("the number of answers", outcomes.len(), 100);
    ensure_eq!("the number of reservations", won(&outcomes).len(), 1);
    let attempts: HashSet<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            ReserveOutcome::Reserved(attempt) | ReserveOutcome::Sold(attempt, _) => {
                Some(attempt.id)
            }
            ReserveOutcome::AlreadyAllocated(allocation) => Some(allocation.attempt),
            _ => None,
        })
        .collect();
    let held = bench
        .allocation(7)
        .await?
        .map(|allocation| allocation.attempt);
    ensure_eq!("the attempts told", attempts, HashSet::from([held]));
    bench.ensure_taken("after the race", 1).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_racing_settlement_is_settled_once(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    let calls = (0..20).map(|_| {
        let (store, sale) = (Arc::clone(&bench.store), bench.sale);
        let settlement = settlement(&attempt, Decision::Success(order(1)));
        async move { store.settle_one(&sale, &settlement).await }
    });
    let outcomes = race(rigs, calls).await?;
    let count = |wanted| outcomes.iter().filter(|o| **o == wanted).count();
    let counts = (
        count(SettleOutcome::Confirmed),
        count(SettleOutcome::Unchanged),
    );
    ensure_eq!("confirmed and unchanged", counts, (1, 19));
    bench.ensure_units("after the race", (2, 0, 1)).await?;
    Ok(Ran::Yes)
}
