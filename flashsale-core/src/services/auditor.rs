use std::fmt;
use std::sync::Arc;

use crate::domain::{Allocation, Levels, Order, Phase, Sale, SaleId, SaleResult, Totals, UserId};
use crate::error::PortError;
use crate::ports::{
    AttemptQueue, AttemptRecord, AttemptRepo, BATCH_MAX, OrderRepo, RecordedOutcome, SaleRepo,
    StockStore, StockStoreExt,
};

use super::sales::is_followed;

/// Accounts for every unit of a sale, from all stores.
#[derive(Clone, Debug)]
pub struct Auditor {
    /// Knows how many units there ever were.
    pub sales: Arc<dyn SaleRepo>,
    /// Knows who has bought.
    pub orders: Arc<dyn OrderRepo>,
    /// Knows what is still to be had.
    pub stock: Arc<dyn StockStore>,
    /// Knows what the workers have still to do.
    pub queue: Arc<dyn AttemptQueue>,
    /// Knows who was refused.
    pub attempts: Arc<dyn AttemptRepo>,
    /// The readers of the queue that turn attempts into orders.
    pub group: String,
}

/// A sale's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// The sale.
    pub sale: Sale,
    /// What the orders say.
    pub totals: Totals,
    /// What the stock store says; nothing if it does not have the sale.
    pub levels: Option<Levels>,
    /// Items of the queue that the workers have not done yet, of all sales; nothing if the queue
    /// does not say.
    pub queued: Option<u64>,
    /// What does not add up.
    pub findings: Vec<Finding>,
}

/// What one user tried in a sale, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTimeline {
    /// The sale.
    pub sale: Sale,
    /// What the user tried, as far as the audit trail tells, the oldest first.
    pub records: Vec<AttemptRecord>,
    /// What was decided about the attempts, the oldest first.
    pub orders: Vec<Order>,
    /// What the stock store holds for the user.
    pub allocation: Option<Allocation>,
    /// What the user reads as the result.
    pub result: Option<SaleResult>,
}

/// Whether an account adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Every unit is where it belongs.
    Exact,
    /// Units are not where they belong, and are on their way there; nothing is sold twice.
    Drift,
    /// Something happened that must never happen.
    Violation,
}

/// Something that does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// More units are sold than there ever were.
    Oversold {
        /// By how many units.
        units: u64,
    },
    /// The order repository's own figures do not add up: stock ≠ remaining + sold.
    BooksDoNotBalance {
        /// All units.
        stock: u64,
        /// Units not sold.
        remaining: u64,
        /// Units sold.
        sold: u64,
    },
    /// Users with more than one order.
    DoubledUsers {
        /// How many users.
        users: u64,
    },
    /// Units that the stock store shows as sold without an order.
    SoldWithoutOrder {
        /// How many units.
        units: u64,
    },
    /// Units with an order that the stock store does not show as taken.
    OrderedNotTaken {
        /// How many units.
        units: u64,
    },
    /// The stock store holds another number of units than the sale has.
    StockDiffers {
        /// What it holds: available, reserved and sold.
        held: u64,
        /// What it should hold.
        expected: u64,
    },
    /// The stock store does not have the sale.
    NotLoaded,
}

impl Finding {
    /// How bad it is.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Oversold { .. }
            | Self::BooksDoNotBalance { .. }
            | Self::DoubledUsers { .. }
            | Self::SoldWithoutOrder { .. } => Verdict::Violation,
            Self::OrderedNotTaken { .. } | Self::StockDiffers { .. } | Self::NotLoaded => {
                Verdict::Drift
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oversold { units } => write!(f, "{units} units are sold that never existed"),
            Self::BooksDoNotBalance {
                stock,
                remaining,
                sold,
            } => write!(
                f,
                "the orders' books do not balance: {stock} units in stock, but {remaining} remaining and {sold} sold"
            ),
            Self::DoubledUsers { users } => write!(f, "{users} users have more than one order"),
            Self::SoldWithoutOrder { units } => write!(
                f,
                "{units} units are shown to buyers as sold, but there is no order for them"
            ),
            Self::OrderedNotTaken { units } => write!(
                f,
                "{units} units have an order, but the stock store still offers them; repair settles them"
            ),
            Self::StockDiffers { held, expected } => write!(
                f,
                "the stock store accounts for {held} units instead of {expected}; repair applies what it missed"
            ),
            Self::NotLoaded => f.write_str("the stock store does not have the sale yet"),
        }
    }
}

impl Reconciliation {
    /// The worst of the findings.
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.findings.iter().map(|finding| finding.verdict());
        verdicts.max().unwrap_or(Verdict::Exact)
    }
}

impl Auditor {
    /// How often a sale that is being sold is read again to catch it at rest.
    const READS: usize = 5;

    /// The account of a sale; nothing for an unknown one.
    ///
    /// On a sale that is being sold, figures that move while they are read are compared within
    /// what was in flight.
    pub async fn reconcile(&self, id: SaleId) -> Result<Option<Reconciliation>, PortError> {
        let mut last = None;
        for _ in 0..Self::READS {
            let Some(sale) = self.sales.find(id).await? else {
                return Ok(None);
            };
            let before = self.stock.levels(&sale.key()).await?;
            let Some(totals) = self.orders.totals(id).await? else {
                return Ok(None);
            };
            let after = self.stock.levels(&sale.key()).await?;
            let mut findings = findings(&sale, &totals, before.as_ref(), after.as_ref());
            if findings.contains(&Finding::NotLoaded) && is_followed(&*self.sales, &sale).await? {
                findings.retain(|finding| *finding != Finding::NotLoaded);
            }
            let settled = before == after && findings.is_empty();
            last = Some(Reconciliation {
                sale,
                totals,
                levels: after,
                queued: None,
                findings,
            });
            if settled {
                break;
            }
        }
        if let Some(account) = &mut last {
            account.queued = self.queued().await.ok();
        }
        Ok(last)
    }

    async fn queued(&self) -> Result<u64, PortError> {
        let end = self.queue.end().await?;
        self.queue.lag(&self.group, &end).await
    }

    /// What a user tried in a sale, from all stores; nothing for an unknown sale. Of the audit trail
    /// the newest [`BATCH_MAX`] lines.
    ///
    /// # Errors
    /// The first port that fails.
    pub async fn timeline(
        &self,
        id: SaleId,
        user: &UserId,
    ) -> Result<Option<UserTimeline>, PortError> {
        let Some(sale) = self.sales.find(id).await? else {
            return Ok(None);
        };
        let allocation = self.stock.allocation(&sale.key(), user).await?;
        let result = self.stock.result(sale.product.id, user).await?;
        let result = result.filter(|result| result.sale == id);
        let mut records = self.attempts.history(id, user, BATCH_MAX).await?;
        records.reverse();
        let accepted = records.iter().filter_map(|record| match record.outcome {
            RecordedOutcome::Accepted(attempt) => Some(attempt),
            _ => None,
        });
        let mut attempts: Vec<_> = accepted.collect();
        attempts.extend(allocation.iter().map(|allocation| allocation.attempt));
        attempts.sort_unstable();
        attempts.dedup();
        let mut orders = Vec::new();
        for attempts in attempts.chunks(BATCH_MAX) {
            orders.extend(self.orders.find(attempts).await?.into_iter().flatten());
        }
        orders.sort_by_key(|order| (order.reserved_at, order.id));
        Ok(Some(UserTimeline {
            sale,
            records,
            orders,
            allocation,
            result,
        }))
    }
}

fn findings(
    sale: &Sale,
    totals: &Totals,
    before: Option<&Levels>,
    after: Option<&Levels>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let &Totals {
        stock,
        remaining,
        sold,
        doubled_users,
        ..
    } = totals;
    if sold > stock {
        findings.push(Finding::Oversold {
            units: sold - stock,
        });
    } else if stock != remaining + sold {
        findings.push(Finding::BooksDoNotBalance {
            stock,
            remaining,
            sold,
        });
    }
    if doubled_users > 0 {
        findings.push(Finding::DoubledUsers {
            users: doubled_users,
        });
    }
    let (Some(before), Some(after)) = (before, after) else {
        let never_sold = sale.phase == Phase::Closed && totals.orders == 0;
        if sale.phase != Phase::Scheduled && !never_sold {
            findings.push(Finding::NotLoaded);
        }
        return findings;
    };
    if before.sold > sold {
        let units = before.sold - sold;
        findings.push(Finding::SoldWithoutOrder { units });
    }
    let taken = after.sold + after.reserved;
    if sold > taken {
        findings.push(Finding::OrderedNotTaken {
            units: sold - taken,
        });
    }
    let held = after.available + after.reserved + after.sold;
    if held != sale.total_stock() {
        let expected = sale.total_stock();
        findings.push(Finding::StockDiffers { held, expected });
    }
    findings
}
