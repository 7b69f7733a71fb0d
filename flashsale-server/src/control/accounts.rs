use std::time::Duration;

use crate::Services;
use flashsale_core::PortError;
use flashsale_core::domain::{AllocationState, Decision, FailReason, SaleId, UserId};
use flashsale_core::ports::RecordedOutcome;
use flashsale_core::services::{
    Auditor, Finding, Reconciliation, Recovery, RecoveryProgress, Repair, SaleService, SaleView,
    StockReadiness, UserTimeline, Verdict,
};
use tokio::time::{Instant, sleep};

use super::protocol::{AuditReport, SaleLine, StoreLevels, StoryEvent, StoryReport};
use crate::rfc3339::rfc3339;

/// Accounts for units and attempts, and brings in line what can be.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    auditor: Auditor,
    sales: SaleService,
    repair: Repair,
    recovery: Recovery,
}

impl Accounts {
    /// How long a rebuild of the stock is waited for.
    const RECOVERY_WAIT: Duration = Duration::from_secs(10);
    const RECOVERY_PAUSE: Duration = Duration::from_millis(100);

    pub(super) fn new(services: &Services) -> Self {
        let engine = &services.engine;
        Self {
            auditor: engine.auditor.clone(),
            sales: engine.sales.clone(),
            repair: engine.repair.clone(),
            recovery: engine.recovery.clone(),
        }
    }

    /// The account of a sale; nothing for an unknown one.
    pub(super) async fn reconcile(
        &self,
        sale: SaleId,
    ) -> Result<Option<Reconciliation>, PortError> {
        self.auditor.reconcile(sale).await
    }

    /// Does at once what repair does by and by, and rebuilds a stock that differs from the orders
    /// while nothing is in flight. Orders are never touched, and no unit is offered that has one.
    pub(super) async fn mend(&self, id: SaleId) -> Result<(), PortError> {
        let Some(sale) = self.sales.repo.find(id).await? else {
            return Ok(());
        };
        let mut lost = self.sales.prepare(&sale).await? == StockReadiness::Lost;
        if !lost {
            let batch = self.repair.limits.batch;
            loop {
                let done = self.repair.step(&sale.key()).await?;
                if done.completed.max(done.republished).max(done.released) < batch {
                    break;
                }
            }
            lost = self.is_off(id).await?;
        }
        if lost {
            self.rebuild(id).await?;
        }
        Ok(())
    }

    /// Whether the stock differs from the orders, at rest, in a way that a rebuild cures.
    async fn is_off(&self, id: SaleId) -> Result<bool, PortError> {
        let Some(account) = self.auditor.reconcile(id).await? else {
            return Ok(false);
        };
        let at_rest = account.levels.is_none_or(|levels| levels.reserved == 0);
        let curable = account.findings.iter().any(|finding| {
            matches!(
                finding,
                Finding::StockDiffers { .. } | Finding::OrderedNotTaken { .. } | Finding::NotLoaded
            )
        });
        Ok(at_rest && curable && account.verdict() == Verdict::Drift)
    }

    /// Begins a rebuild and takes it as far as it goes; the servers finish it.
    async fn rebuild(&self, id: SaleId) -> Result<(), PortError> {
        let deadline = Instant::now() + Self::RECOVERY_WAIT;
        loop {
            let Some(sale) = self.sales.repo.find(id).await? else {
                return Ok(());
            };
            match self.recovery.step(&sale).await {
                Ok(RecoveryProgress::Done) => return Ok(()),
                Ok(_) if Instant::now() < deadline => sleep(Self::RECOVERY_PAUSE).await,
                Ok(_) => return Ok(()),
                // For example without a queue to ask: then the servers have to do it.
                Err(_) if Instant::now() < deadline => {
                    let Some(sale) = self.sales.repo.find(id).await? else {
                        return Ok(());
                    };
                    if !sale.is_recovering() {
                        return Ok(());
                    }
                    sleep(Self::RECOVERY_PAUSE).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// What one user tried; nothing for an unknown sale.
    pub(super) async fn story(
        &self,
        sale: SaleId,
        user: &UserId,
    ) -> Result<Option<UserTimeline>, PortError> {
        self.auditor.timeline(sale, user).await
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

/// A user's story as it is printed.
pub(super) fn told(story: &UserTimeline, sale: SaleLine, user: &UserId) -> StoryReport {
    let mut events: Vec<_> = story
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
    for order in &story.orders {
        let attempt = Some(order.attempt.to_string());
        let taken = "accepted: a unit was set aside".to_owned();
        events.push((order.reserved_at, taken, attempt.clone(), None));
        let (what, id) = match order.decision {
            Decision::Success(id) => ("bought".to_owned(), Some(id.get())),
            Decision::Failed(reason) => (format!("not bought: {}", why(reason)), None),
        };
        events.push((order.decided_at, what, attempt, id));
    }
    let decided = |attempt| story.orders.iter().any(|order| order.attempt == attempt);
    if let Some(allocation) = story
        .allocation
        .as_ref()
        .filter(|allocation| !decided(allocation.attempt))
    {
        let attempt = Some(allocation.attempt.to_string());
        let taken = "accepted: a unit is set aside".to_owned();
        events.push((allocation.reserved_at, taken, attempt, None));
    }
    events.sort_by_key(|(at, ..)| *at);
    let (status, standing) = purchase_status(story);
    StoryReport {
        sale,
        user_id: user.to_string(),
        events: events
            .into_iter()
            .map(|(at, what, attempt_id, order_id)| StoryEvent {
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

fn purchase_status(story: &UserTimeline) -> (&'static str, String) {
    let order = story.orders.iter().find_map(|order| match order.decision {
        Decision::Success(id) => Some(id),
        Decision::Failed(_) => None,
    });
    let reads = match (&story.allocation, &story.result) {
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
    match (order, &story.allocation) {
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
        (None, None) if !story.orders.is_empty() => {
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
