//! What the operations return, as it crosses the socket.

use flashsale_core::domain::{AllocationState, Decision, Phase, SaleStatus, Timestamp, UserId};
use flashsale_core::ports::{DeadLetter, RecordedOutcome};
use flashsale_core::services::{Reconciliation, SaleView, UserTimeline};

use super::protocol::{
    AuditFigures, AuditReport, DeadLetterLine, FindingLine, Happening, Reads, SaleLine, Standing,
    StoreLevels, TimelineEvent, TimelineReport,
};
use crate::rfc3339::rfc3339;

/// A sale as it crosses.
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

/// A dead letter as it crosses.
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

/// The account as it crosses.
pub(super) fn report(account: &Reconciliation, sale: SaleLine) -> AuditReport {
    AuditReport {
        figures: AuditFigures {
            sale,
            verdict: account.verdict(),
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
        },
        findings: account.findings.iter().copied().map(FindingLine).collect(),
    }
}

/// The view of a sale that an account gives.
pub(super) fn view(account: &Reconciliation) -> SaleView {
    SaleView {
        sale: account.sale.clone(),
        levels: account.levels,
    }
}

/// What a user tried, as it crosses.
pub(super) fn timeline(timeline: &UserTimeline, sale: SaleLine, user: &UserId) -> TimelineReport {
    let mut events: Vec<_> = timeline
        .records
        .iter()
        .filter_map(|record| {
            let what = match record.outcome {
                // It is told with its order.
                RecordedOutcome::Accepted(_) => return None,
                RecordedOutcome::SoldOut => Happening::SoldOut,
                RecordedOutcome::NotStarted => Happening::NotStarted,
                RecordedOutcome::Ended => Happening::Ended,
                RecordedOutcome::Paused => Happening::Paused,
            };
            Some((record.at, None, what))
        })
        .collect();
    for order in &timeline.orders {
        let attempt = Some(order.attempt);
        events.push((order.reserved_at, attempt, Happening::Accepted));
        events.push((
            order.decided_at,
            attempt,
            Happening::Decided(order.decision),
        ));
    }
    let decided = |attempt| timeline.orders.iter().any(|order| order.attempt == attempt);
    let allocation = timeline.allocation.as_ref();
    if let Some(allocation) = allocation.filter(|allocation| !decided(allocation.attempt)) {
        let attempt = Some(allocation.attempt);
        events.push((allocation.reserved_at, attempt, Happening::Allocated));
    }
    events.sort_by_key(|(at, ..)| *at);
    let events = events.into_iter();
    TimelineReport {
        sale,
        user_id: user.to_string(),
        events: events
            .map(|(at, attempt, what)| TimelineEvent {
                at: rfc3339(at),
                attempt_id: attempt.map(|attempt| attempt.to_string()),
                what,
            })
            .collect(),
        standing: standing(timeline),
        reads: reads(timeline),
    }
}

fn standing(timeline: &UserTimeline) -> Standing {
    let mut decisions = timeline.orders.iter().map(|order| order.decision);
    let order = decisions.find_map(|decision| match decision {
        Decision::Success(id) => Some(id.get()),
        Decision::Failed(_) => None,
    });
    match (order, &timeline.allocation) {
        (Some(order), _) => Standing::Ordered(order),
        (None, Some(allocation)) => match allocation.state {
            AllocationState::Reserved { logged: true } => Standing::Queued,
            AllocationState::Reserved { logged: false } => Standing::InOutbox,
            AllocationState::Sold(_) => Standing::SoldWithoutOrder,
        },
        (None, None) if timeline.orders.is_empty() => Standing::Nothing,
        (None, None) => Standing::Failed,
    }
}

fn reads(timeline: &UserTimeline) -> Reads {
    let allocation = timeline.allocation.as_ref();
    let result = timeline.result.as_ref();
    match (
        allocation.map(|allocation| &allocation.state),
        result.map(|result| result.decision),
    ) {
        (Some(AllocationState::Sold(_)), _) | (None, Some(Decision::Success(_))) => Reads::Success,
        (Some(AllocationState::Reserved { .. }), _) => Reads::Pending,
        (None, Some(Decision::Failed(_))) => Reads::Failed,
        (None, None) => Reads::NoAttempt,
    }
}
