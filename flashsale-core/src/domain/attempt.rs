use super::{AttemptId, Epoch, OrderId, ProductId, Quantity, SaleId, Timestamp, UserId};

/// One user's try to buy in a sale, after the stock store has reserved its units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Names the attempt for ever; deciding twice about one id changes nothing.
    pub id: AttemptId,
    /// The sale.
    pub sale: SaleId,
    /// What the sale sells.
    pub product: ProductId,
    /// Who wants to buy.
    pub user: UserId,
    /// How many units are reserved.
    pub quantity: Quantity,
    /// The generation of the stock that the units were taken from.
    pub epoch: Epoch,
    /// The place in the order of that generation's reservations.
    pub seq: u64,
    /// When the units were taken, by the stock store's clock.
    pub reserved_at: Timestamp,
}

/// What the stock store keeps for a user who holds units of a sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The attempt that took the units.
    pub attempt: AttemptId,
    /// How many units.
    pub quantity: Quantity,
    /// See [`Attempt::epoch`].
    pub epoch: Epoch,
    /// See [`Attempt::seq`].
    pub seq: u64,
    /// See [`Attempt::reserved_at`].
    pub reserved_at: Timestamp,
    /// How far the attempt has come.
    pub state: AllocationState,
}

impl Allocation {
    /// The attempt behind this allocation of `user` in a sale.
    pub fn to_attempt(&self, sale: SaleId, product: ProductId, user: UserId) -> Attempt {
        Attempt {
            id: self.attempt,
            sale,
            product,
            user,
            quantity: self.quantity,
            epoch: self.epoch,
            seq: self.seq,
            reserved_at: self.reserved_at,
        }
    }
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllocationState {
    /// Not decided yet.
    Reserved {
        /// Whether the attempt queue has it.
        logged: bool,
    },
    /// Bought.
    Sold(OrderId),
}
