use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::bench::Bench;
use crate::domain::{Attempt, Decision, FailReason};
use crate::error::PortError;
use crate::testing::report::{Checked, Ran, ensure_eq};
use crate::testing::{Fixture, OrderRepoRig, Task, Violation};

type Rigs<'a> = &'a dyn Fixture<OrderRepoRig>;

/// The decisions about all batches, made at the same time.
async fn race(
    rigs: Rigs<'_>,
    bench: &Bench<'_>,
    batches: Vec<Vec<Attempt>>,
) -> Result<Vec<Decision>, Violation> {
    type Answers = Vec<Result<Vec<Decision>, PortError>>;
    let answers: Arc<Mutex<Answers>> = Arc::default();
    let tasks = batches.into_iter().map(|batch| -> Task {
        let (orders, sale) = (Arc::clone(&bench.orders), bench.sale);
        let answers = Arc::clone(&answers);
        Box::pin(async move {
            let answer = orders.commit(&sale, &batch).await;
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push(answer);
        })
    });
    rigs.together(tasks.collect()).await;
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    let decisions: Result<Vec<_>, _> = answers.drain(..).collect();
    Ok(decisions?.into_iter().flatten().collect())
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
    let decisions = race(rigs, &bench, batches.collect()).await?;
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
    let decisions = race(rigs, &bench, batches.collect()).await?;
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
    let decisions = race(rigs, &bench, batches.collect()).await?;
    ensure_eq!(
        "orders, duplicates, without stock",
        counts(&decisions),
        (1, 19, 0)
    );
    bench.ensure_totals((25, 24, 1), (1, 19)).await?;
    Ok(Ran::Yes)
}
