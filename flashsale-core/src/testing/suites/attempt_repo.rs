//! The suite of [`AttemptRepo`](crate::ports::AttemptRepo).

use std::sync::Arc;

use super::{create_sale, ensure_invalid, fresh_place};
use crate::domain::{FailReason, SaleId, SaleRef};
use crate::ports::{AttemptRecord, AttemptRepo, BATCH_MAX, OrderRepo, RecordedOutcome, SaleRepo};
use crate::testing::report::{Checked, Ran, ensure_eq, run_cases};
use crate::testing::samples::{self, START, fresh_sale, user};
use crate::testing::{Fixture, Report, Violation};

/// What the suite of [`AttemptRepo`] works with.
#[derive(Clone, Debug)]
pub struct AttemptRepoRig {
    /// The audit trail to check.
    pub attempts: Arc<dyn AttemptRepo>,
    /// Where accepted attempts are decided.
    pub orders: Arc<dyn OrderRepo>,
    /// Where the sales are made.
    pub sales: Arc<dyn SaleRepo>,
}

type Rigs<'a> = &'a dyn Fixture<AttemptRepoRig>;

/// Checks an [`AttemptRepo`] against its contract. Records 1,100 refusals of a sale at most, so
/// that an adapter that keeps so many passes.
pub async fn attempt_repo(fixture: &dyn Fixture<AttemptRepoRig>) -> Report {
    let mut report = Report::new("AttemptRepo");
    run_cases!(
        report,
        fixture,
        [
            a_refusal_is_kept_as_it_was_handed_in,
            decided_attempts_are_always_in_it,
            the_newest_comes_first,
            at_most_max_lines_come,
            a_user_sees_one_sale_and_nobody_else,
            an_empty_batch_is_taken,
            a_batch_of_the_largest_size_is_taken,
            a_larger_batch_is_refused_as_a_whole,
            the_trail_survives_a_reopen,
        ]
    );
    report
}

async fn open(rigs: Rigs<'_>) -> Result<(AttemptRepoRig, SaleRef), Violation> {
    let rig = rigs.open(&fresh_place("trail")).await?;
    let sale = create_sale(&*rig.sales, 10).await?.key();
    Ok((rig, sale))
}

/// A refusal of the user with this number, `at_ms` after the start of the sale.
fn refusal(sale: SaleId, number: u64, at_ms: i64, outcome: RecordedOutcome) -> AttemptRecord {
    AttemptRecord {
        sale,
        user: user(number),
        at: START.plus_ms(at_ms),
        outcome,
    }
}

async fn a_refusal_is_kept_as_it_was_handed_in(rigs: Rigs<'_>) -> Checked {
    let (rig, sale) = open(rigs).await?;
    let outcomes = [
        RecordedOutcome::SoldOut,
        RecordedOutcome::NotStarted,
        RecordedOutcome::Ended,
        RecordedOutcome::Paused,
    ];
    for (number, outcome) in (1..).zip(outcomes) {
        let record = refusal(sale.id, number, 5, outcome);
        rig.attempts.record(std::slice::from_ref(&record)).await?;
        let history = rig.attempts.history(sale.id, &record.user, 10).await?;
        ensure_eq!(outcome.name(), history, vec![record]);
    }
    Ok(Ran::Yes)
}

async fn decided_attempts_are_always_in_it(rigs: Rigs<'_>) -> Checked {
    let (rig, sale) = open(rigs).await?;
    let attempts = [(1, 10), (1, 20), (1, 30)].map(|(n, ms)| samples::attempt(&sale, user(n), ms));
    let [bought, duplicate, released] = &attempts;
    rig.orders
        .commit(&sale, &[bought.clone(), duplicate.clone()])
        .await?;
    let released_too = std::slice::from_ref(released);
    rig.orders
        .release(&sale, released_too, FailReason::Expired)
        .await?;
    rig.orders.commit(&sale, &attempts).await?;
    let expected: Vec<_> = attempts
        .iter()
        .rev()
        .map(|attempt| AttemptRecord {
            sale: attempt.sale,
            user: attempt.user.clone(),
            at: attempt.reserved_at,
            outcome: RecordedOutcome::Accepted(attempt.id),
        })
        .collect();
    let history = rig.attempts.history(sale.id, &user(1), 10).await?;
    ensure_eq!("each decided attempt, once", history, expected);
    Ok(Ran::Yes)
}

async fn the_newest_comes_first(rigs: Rigs<'_>) -> Checked {
    let (rig, sale) = open(rigs).await?;
    let of = |at_ms| refusal(sale.id, 1, at_ms, RecordedOutcome::SoldOut);
    rig.attempts.record(&[of(20), of(50)]).await?;
    rig.attempts.record(&[of(10), of(40)]).await?;
    let accepted = samples::attempt(&sale, user(1), 30);
    rig.orders.commit(&sale, &[accepted]).await?;
    let history = rig.attempts.history(sale.id, &user(1), 10).await?;
    let times: Vec<_> = history
        .iter()
        .map(|record| record.at.since_ms(START))
        .collect();
    ensure_eq!("the times", times, vec![50, 40, 30, 20, 10]);
    Ok(Ran::Yes)
}

async fn at_most_max_lines_come(rigs: Rigs<'_>) -> Checked {
    let (rig, sale) = open(rigs).await?;
    let refusals = [1, 2, 3, 4].map(|ms| refusal(sale.id, 1, ms, RecordedOutcome::SoldOut));
    rig.attempts.record(&refusals).await?;
    let history = rig.attempts.history(sale.id, &user(1), 2).await?;
    let newest = vec![refusals[3].clone(), refusals[2].clone()];
    ensure_eq!("2 at most", history, newest);
    let none = rig.attempts.history(sale.id, &user(1), 0).await?;
    ensure_eq!("0 at most", none, vec![]);
    Ok(Ran::Yes)
}

async fn a_user_sees_one_sale_and_nobody_else(rigs: Rigs<'_>) -> Checked {
    let (rig, sale) = open(rigs).await?;
    let other = create_sale(&*rig.sales, 10).await?.key();
    let of = |sale: SaleRef, number| refusal(sale.id, number, 1, RecordedOutcome::SoldOut);
    let batch = [of(sale, 1), of(sale, 2), of(other, 1)];
    rig.attempts.record(&batch).await?;
    let history = rig.attempts.history(sale.id, &user(1), 10).await?;
    ensure_eq!("user 1", history, vec![of(sale, 1)]);
    let nobody = rig.attempts.history(sale.id, &user(3), 10).await?;
    ensure_eq!("a user who never tried", nobody, vec![]);
    let nowhere = rig.attempts.history(fresh_sale().id, &user(1), 10).await?;
    ensure_eq!("an unknown sale", nowhere, vec![]);
    Ok(Ran::Yes)
}

async fn an_empty_batch_is_taken(rigs: Rigs<'_>) -> Checked {
    let (rig, _) = open(rigs).await?;
    rig.attempts.record(&[]).await?;
    Ok(Ran::Yes)
}

async fn a_batch_of_the_largest_size_is_taken(rigs: Rigs<'_>) -> Checked {
    let (rig, sale) = open(rigs).await?;
    let refusals: Vec<_> = (0..BATCH_MAX as i64)
        .map(|ms| refusal(sale.id, 1, ms, RecordedOutcome::SoldOut))
        .collect();
    rig.attempts.record(&refusals).await?;
    let history = rig.attempts.history(sale.id, &user(1), BATCH_MAX).await?;
    ensure_eq!("the number of lines", history.len(), BATCH_MAX);
    Ok(Ran::Yes)
}

async fn a_larger_batch_is_refused_as_a_whole(rigs: Rigs<'_>) -> Checked {
    let (rig, sale) = open(rigs).await?;
    let refusals = vec![refusal(sale.id, 1, 1, RecordedOutcome::SoldOut); BATCH_MAX + 1];
    ensure_invalid("record", rig.attempts.record(&refusals).await)?;
    let history = rig.attempts.history(sale.id, &user(1), 10).await?;
    ensure_eq!("what is kept", history, vec![]);
    Ok(Ran::Yes)
}

async fn the_trail_survives_a_reopen(rigs: Rigs<'_>) -> Checked {
    if !rigs.durable() {
        return Ok(Ran::Skipped);
    }
    let place = fresh_place("trail");
    let rig = rigs.open(&place).await?;
    let sale = create_sale(&*rig.sales, 10).await?.key();
    let refused = refusal(sale.id, 1, 5, RecordedOutcome::SoldOut);
    rig.attempts.record(&[refused]).await?;
    rig.orders
        .commit(&sale, &[samples::attempt(&sale, user(1), 9)])
        .await?;
    let before = rig.attempts.history(sale.id, &user(1), 10).await?;
    drop(rig);
    let rig = rigs.open(&place).await?;
    let after = rig.attempts.history(sale.id, &user(1), 10).await?;
    ensure_eq!("the history", after, before);
    ensure_eq!("its length", after.len(), 2);
    Ok(Ran::Yes)
}
