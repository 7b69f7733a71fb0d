//! What the operations return, as it is printed.

use flashsale_core::domain::{
    AllocationState, Decision, FailReason, Phase, SaleStatus, Timestamp, UserId,
};
use flashsale_core::ports::{DeadLetter, RecordedOutcome};
use flashsale_core::services::{Reconciliation, SaleView, UserTimeline, Verdict};

use super::protocol::{
    AuditReport, DeadLetterLine, SaleLine, StoreLevels, TimelineEvent, TimelineReport,
};
use crate::rfc3339::rfc3339;

/// A sale as it is printed.
pub(super) fn line(view: &SaleView, now: Timestamp) -> SaleLine {
    let sale = &view.sale;
    let status = match (sale.status(now), sale.phase) {
        (SaleStatus::Ended, _) => "ENDED",
        (_, Phase::Paused) => "PAUSED",
        (SaleStatus::Upcoming, _) => "UPCOMING",
        (SaleStatus::Active, _) => "ACTIVE",
    };
    SaleLine {
        id: sale.id.get(),
        product_id: sale.product.id.get(),
        product_name: sale.product.name.clone(),
        status: status.to_owned(),
        stock: sale.total_stock(),
        available: view.available(),
        start_time: rfc3339(sale.window.start),
        end_time: rfc3339(sale.window.end),
    }
}

/// A dead letter as it is printed.
pub(super) fn letter(letter: &DeadLetter) -> DeadLetterLine {
    let item = &letter.item;
    let stored = item.content.stored();
    let payload = match std::str::from_utf8(&stored) {
        Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n') => text.to_owned(),
        _ => {
            let digits = stored.iter().map(|byte| format!("{byte:02x}"));
            digits.fold("0x".to_owned(), |text, byte| text + &byte)
        }
    };
    DeadLetterLine {
        id: letter.id,
        kept_at: rfc3339(letter.kept_at),
        replayed_at: letter.replayed_at.map(rfc3339),
        position: item.position.clone(),
        problem: item.problem.clone(),
        payload,
    }
}

/// The account as it is printed.
pub(super) fn report(account: &Reconciliation, sale: SaleLine) -> AuditReport {
    let verdict = match account.verdict() {
        Verdict::Exact => "EXACT",
        Verdict::Drift => "DRIFT",
        Verdict::Violation => "VIOLATION",
    };
    AuditReport {
        sale,
        verdict: verdict.to_owned(),
        stock: account.totals.stock,
        sold: account.totals.sold,
        remaining: account.totals.remaining,
        orders: account.totals.orders,
        failed: account.totals.failed,
        doubled_users: account.totals.doubled_users,
        queued: account.queued,
        store: account.levels.map(|levels| StoreLevels {
            available: levels.available,
            reserved: levels.reserved,
            sold: levels.sold,
            undecided: levels.undecided,
            unpublished: levels.unpublished,
        }),
        findings: account.findings.iter().map(ToString::to_string).collect(),
    }
}

/// The view of a sale that an account gives.
pub(super) fn view(account: &Reconciliation) -> SaleView {
    SaleView {
        sale: account.sale.clone(),
        levels: account.levels,
    }
}

/// What a user tried, as it is printed.
pub(super) fn timeline(timeline: &UserTimeline, sale: SaleLine, user: &UserId) -> TimelineReport {
    let mut events: Vec<_> = timeline
        .records
        .iter()
        .filter_map(|record| {
            let what = match record.outcome {
                // It is told with its order.
                RecordedOutcome::Accepted(_) => return None,
                RecordedOutcome::SoldOut => "refused: no unit was left",
                RecordedOutcome::NotStarted => "refused: the sale had not started",
                RecordedOutcome::Ended => "refused: the sale was over",
                RecordedOutcome::Paused => "refused: the sale was paused",
            };
            Some((record.at, what.to_owned(), None, None))
        })
        .collect();
    for order in &timeline.orders {
        let attempt = Some(order.attempt.to_string());
        let taken = "accepted: a unit was set aside".to_owned();
        events.push((order.reserved_at, taken, attempt.clone(), None));
        let (what, id) = match order.decision {
            Decision::Success(id) => ("bought".to_owned(), Some(id.get())),
            Decision::Failed(reason) => (format!("not bought: {}", why(reason)), None),
        };
        events.push((order.decided_at, what, attempt, id));
    }
    let decided = |attempt| timeline.orders.iter().any(|order| order.attempt == attempt);
    if let Some(allocation) = timeline
        .allocation
        .as_ref()
        .filter(|allocation| !decided(allocation.attempt))
    {
        let attempt = Some(allocation.attempt.to_string());
        let taken = "accepted: a unit is set aside".to_owned();
        events.push((allocation.reserved_at, taken, attempt, None));
    }
    events.sort_by_key(|(at, ..)| *at);
    let (status, standing) = purchase_status(timeline);
    TimelineReport {
        sale,
        user_id: user.to_string(),
        events: events
            .into_iter()
            .map(|(at, what, attempt_id, order_id)| TimelineEvent {
                at: rfc3339(at),
                what,
                attempt_id,
                order_id,
            })
            .collect(),
        standing,
        status: status.to_owned(),
    }
}

fn purchase_status(timeline: &UserTimeline) -> (&'static str, String) {
    let order = timeline
        .orders
        .iter()
        .find_map(|order| match order.decision {
            Decision::Success(id) => Some(id),
            Decision::Failed(_) => None,
        });
    let reads = match (&timeline.allocation, &timeline.result) {
        (Some(allocation), _) => match allocation.state {
            AllocationState::Sold(_) => "the buyer reads SUCCESS",
            AllocationState::Reserved { .. } => "the buyer reads PENDING",
        },
        (None, Some(result)) => match result.decision {
            Decision::Success(_) => "the buyer reads SUCCESS",
            Decision::Failed(_) => "the buyer reads FAILED",
        },
        (None, None) => "the buyer reads that there was no attempt",
    };
    match (order, &timeline.allocation) {
        (Some(order), _) => ("SUCCESS", format!("Order {order} stands; {reads}.")),
        (None, Some(allocation)) => {
            let logged = match allocation.state {
                AllocationState::Reserved { logged: true } => "the queue has it",
                AllocationState::Reserved { logged: false } => "the outbox has it",
                AllocationState::Sold(_) => "the stock store has it as sold, but there is no order",
            };
            let standing = format!("An attempt is not decided yet: {logged}; {reads}.");
            ("PENDING", standing)
        }
        (None, None) if !timeline.orders.is_empty() => {
            let standing = format!("Nothing was bought; {reads} and may try again.");
            ("FAILED", standing)
        }
        (None, None) => ("NONE", "No attempt of this user was accepted.".to_owned()),
    }
}

const fn why(reason: FailReason) -> &'static str {
    match reason {
        FailReason::NoStock => "no unit was left for it",
        FailReason::Duplicate(_) => "the user has an order already",
        FailReason::StaleEpoch => "it came after the stock had been rebuilt",
        FailReason::Cancelled => "it was given back because the queue did not take it",
        FailReason::Expired => "it expired",
    }
}
