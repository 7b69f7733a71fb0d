use super::{AttemptId, OrderId, ProductId, Quantity, SaleId, Timestamp, UserId};

/// What was decided about an attempt. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The user has bought.
    Success(OrderId),
    /// The user has not; the attempt can never become an order.
    Failed(FailReason),
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// The orders had no unit left for it (only after a stock store lost data).
    NoStock,
    /// The user has an order in this sale already, and keeps it.
    Duplicate(Kept),
    /// Its units were taken from a stock that has been rebuilt since.
    StaleEpoch,
    /// Called off.
    Cancelled,
    /// Not completed in time.
    Expired,
}

impl FailReason {
    /// The stable name, as stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoStock => "NO_STOCK",
            Self::Duplicate(_) => "DUPLICATE",
            Self::StaleEpoch => "STALE_EPOCH",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }
}

/// The order that a user keeps when a second attempt fails as a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    /// The order.
    pub order: OrderId,
    /// The attempt that became it.
    pub attempt: AttemptId,
    /// Its units.
    pub quantity: Quantity,
}

/// A decision about an attempt, with all that it was about; kept for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Names the order.
    pub id: OrderId,
    /// The attempt decided about.
    pub attempt: AttemptId,
    /// Its sale.
    pub sale: SaleId,
    /// What the sale sells.
    pub product: ProductId,
    /// Who wanted to buy.
    pub user: UserId,
    /// How many units.
    pub quantity: Quantity,
    /// What was decided.
    pub decision: Decision,
    /// When the units were taken.
    pub reserved_at: Timestamp,
    /// When it was decided.
    pub decided_at: Timestamp,
}

/// What a buyer reads about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Not decided yet.
    Pending,
    /// Bought.
    Success,
    /// Not bought.
    Failed,
}

/// The result of an attempt as the hot store keeps it for the buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleResult {
    /// Who tried.
    pub user: UserId,
    /// What the sale sells; results are read by user and product.
    pub product: ProductId,
    /// The sale.
    pub sale: SaleId,
    /// The attempt.
    pub attempt: AttemptId,
    /// What was decided.
    pub decision: Decision,
    /// When the units were taken: of two sales of a product, the later result is kept.
    pub reserved_at: Timestamp,
}

impl SaleResult {
    /// Whether this result is to replace another one that is kept for the same user and product.
    ///
    /// A failure never replaces the success of the same sale; otherwise the later result of a sale
    /// does. Of two sales, the result whose units were taken later stays, or that of the larger id
    /// if both were taken in the same millisecond.
    pub fn supersedes(&self, kept: &Self) -> bool {
        if self.sale == kept.sale {
            let success = |result: &Self| matches!(result.decision, Decision::Success(_));
            success(self) || !success(kept)
        } else {
            (self.reserved_at, self.sale) > (kept.reserved_at, kept.sale)
        }
    }
}

/// The order repository's account of a sale, in units unless it says orders. One snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All units ever put into the sale.
    pub stock: u64,
    /// Units not sold.
    pub remaining: u64,
    /// Units of successful orders.
    pub sold: u64,
    /// Successful orders.
    pub orders: u64,
    /// Failed attempts.
    pub failed: u64,
    /// Users with more than one successful order: always 0 unless something is broken.
    pub doubled_users: u64,
}
