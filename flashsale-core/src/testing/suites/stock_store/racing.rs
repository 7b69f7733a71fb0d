use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::bench::{Bench, order, settlement, wish};
use crate::domain::{Attempt, Decision, Reservation, ReserveOutcome, SettleOutcome};
use crate::error::PortError;
use crate::ports::StockStoreExt;
use crate::testing::report::{Checked, Ran, ensure_eq};
use crate::testing::{Fixture, StockStoreRig, Task, Violation};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

/// What racing tasks have found, in the order they found it in.
type Shared<T> = Arc<Mutex<Vec<T>>>;

fn take<T>(shared: &Shared<T>) -> Vec<T> {
    let mut found = shared.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut found)
}

fn add<T>(shared: &Shared<T>, found: T) {
    let mut all = shared.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(found);
}

/// The answers to all batches, made at the same time.
async fn race(
    rigs: Rigs<'_>,
    bench: &Bench<'_>,
    batches: Vec<Vec<Reservation>>,
) -> Result<Vec<ReserveOutcome>, Violation> {
    let answers: Shared<Result<Vec<ReserveOutcome>, PortError>> = Shared::default();
    let tasks = batches.into_iter().map(|batch| -> Task {
        let (store, sale) = (Arc::clone(&bench.store), bench.sale);
        let answers = Arc::clone(&answers);
        Box::pin(async move { add(&answers, store.reserve(&sale, &batch).await) })
    });
    rigs.together(tasks.collect()).await;
    let answers: Result<Vec<_>, _> = take(&answers).into_iter().collect();
    Ok(answers?.into_iter().flatten().collect())
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
    let batches = (0..60).map(|batch| (0..5).map(|i| wish(batch * 5 + i)).collect());
    let outcomes = race(rigs, &bench, batches.collect()).await?;
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
    let batches = (0..50).map(|_| vec![wish(7), wish(7)]);
    let outcomes = race(rigs, &bench, batches.collect()).await?;
    ensure_eq!("the number of answers", outcomes.len(), 100);
    ensure_eq!("the number of reservations", won(&outcomes).len(), 1);
    let attempts: HashSet<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            ReserveOutcome::Reserved(attempt) | ReserveOutcome::Sold(attempt, _) => {
                Some(attempt.id)
            }
            ReserveOutcome::Held(hold) => Some(hold.attempt),
            _ => None,
        })
        .collect();
    let held = bench.hold(7).await?.map(|hold| hold.attempt);
    ensure_eq!("the attempts told", attempts, HashSet::from([held]));
    bench.ensure_taken("after the race", 1).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_racing_settlement_is_settled_once(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    let outcomes: Shared<Result<SettleOutcome, PortError>> = Shared::default();
    let tasks = (0..20).map(|_| -> Task {
        let (store, sale) = (Arc::clone(&bench.store), bench.sale);
        let settlement = settlement(&attempt, Decision::Success(order(1)));
        let outcomes = Arc::clone(&outcomes);
        Box::pin(async move { add(&outcomes, store.settle_one(&sale, &settlement).await) })
    });
    rigs.together(tasks.collect()).await;
    let outcomes: Result<Vec<_>, _> = take(&outcomes).into_iter().collect();
    let outcomes = outcomes?;
    let count = |wanted| outcomes.iter().filter(|o| **o == wanted).count();
    let counts = (
        count(SettleOutcome::Confirmed),
        count(SettleOutcome::Unchanged),
    );
    ensure_eq!("confirmed and unchanged", counts, (1, 19));
    bench.ensure_units("after the race", (2, 0, 1)).await?;
    Ok(Ran::Yes)
}
