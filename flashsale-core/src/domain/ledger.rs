use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::{
    Allocation, AllocationState, Attempt, AttemptId, Decision, Epoch, FailReason, OrderId, Phase,
    Quantity, SaleChange, SaleId, SaleRef, StockEvent, Timestamp, UserId, Window,
};

/// The stock of one sale: who holds units, and how many are left. The one definition of the rules
/// of admission.
///
/// Every unit that was ever put in is available, reserved or sold, and a user holds at most one
/// attempt. Users who were refused leave no trace. Reservations never run backwards in time: a
/// moment earlier than that of the last reservation counts as that one.
///
/// ```
/// use flashsale_core::domain::{
///     AttemptId, Epoch, Ledger, Phase, ProductId, Quantity, ReserveRequest, ReserveOutcome, SaleId,
///     SaleRef, StockSnapshot, Timestamp, UserId, Window,
/// };
/// let sale = SaleRef { id: SaleId::new(1)?, product: ProductId::new(1)?, epoch: Epoch::FIRST };
/// let window = Window { start: Timestamp::from_millis(0), end: Timestamp::from_millis(100) };
/// let mut ledger = Ledger::open(sale, StockSnapshot {
///     window, phase: Phase::Open, version: 1, remaining: 1, buyers: vec![],
/// });
/// let mut buy = |user: &str, id: u128| {
///     let request = ReserveRequest {
///         attempt: AttemptId::from_uuid(uuid::Uuid::from_u128(id)),
///         user: UserId::new(user).expect("visible ASCII"),
///         quantity: Quantity::ONE,
///     };
///     ledger.reserve(sale.epoch, &request, Timestamp::from_millis(5))
/// };
/// assert!(matches!(buy("ann", 1), ReserveOutcome::Reserved(_)));
/// assert!(matches!(buy("ann", 2), ReserveOutcome::AlreadyAllocated(one) if one.attempt.as_uuid().as_u128() == 1));
/// assert_eq!(buy("bob", 3), ReserveOutcome::SoldOut);
/// # Ok::<(), flashsale_core::domain::InvalidId>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ledger {
    sale: SaleRef,
    /// The epoch of the snapshot; behind the sale's after a fence.
    opened: Epoch,
    window: Window,
    phase: Phase,
    version: u64,
    seq: u64,
    available: u64,
    reserved: u64,
    sold: u64,
    clock: Timestamp,
    allocations: HashMap<UserId, Allocation>,
    /// The allocations that are not decided, by seq.
    undecided: BTreeMap<u64, UserId>,
}

/// What a sale's stock starts from: the order repository's books, or a new sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockSnapshot {
    /// When the sale sells.
    pub window: Window,
    /// The phase to start in.
    pub phase: Phase,
    /// The sale's version that this snapshot shows.
    pub version: u64,
    /// Units not sold.
    pub remaining: u64,
    /// Who has bought.
    pub buyers: Vec<Buyer>,
}

/// A user who has bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buyer {
    /// The user.
    pub user: UserId,
    /// The attempt that became the order.
    pub attempt: AttemptId,
    /// Its units.
    pub quantity: Quantity,
    /// The order.
    pub order: OrderId,
    /// When the units were taken.
    pub reserved_at: Timestamp,
}

/// A request to take units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// A fresh id; the same one again when the request is repeated after an unknown effect.
    pub attempt: AttemptId,
    /// Who wants to buy.
    pub user: UserId,
    /// How many units; all or none.
    pub quantity: Quantity,
}

/// What became of a [`ReserveRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// The units are taken for this attempt, and the attempt is recorded, in one step.
    Reserved(Attempt),
    /// The store is the arbiter too and has decided in the same step: the user has bought.
    Sold(Attempt, OrderId),
    /// The user holds units of this sale already; nothing was taken.
    AlreadyAllocated(Allocation),
    /// Fewer units are left than were asked for; the user is not marked.
    SoldOut,
    /// The sale has not started.
    NotStarted {
        /// When it does.
        starts_at: Timestamp,
    },
    /// The sale is over.
    Ended,
    /// The shop has paused the sale.
    Paused,
    /// The stock is being rebuilt, or the caller acts for an older epoch; ask again later.
    Recovering,
    /// The store does not know the sale; it has to be opened first.
    NotLoaded,
}

/// A decision on its way into the stock store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Who tried.
    pub user: UserId,
    /// The attempt.
    pub attempt: AttemptId,
    /// Its units.
    pub quantity: Quantity,
    /// When its units were taken.
    pub reserved_at: Timestamp,
    /// What was decided.
    pub decision: Decision,
}

/// What a [`Settlement`] did to the stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettleOutcome {
    /// Reserved units became sold.
    Confirmed,
    /// Reserved units became available; the user may try again.
    Released,
    /// Reserved units never existed in the order repository and are gone; the user may try again.
    Voided,
    /// The allocation now stands for the order that the user keeps.
    Merged,
    /// The allocation of another attempt of this user now stands for this order.
    Adopted,
    /// The store had lost the allocation; the units were taken now.
    Healed,
    /// The store had lost the allocation and has no units for it: its stock is wrong and it has stopped
    /// selling until it is opened under a new epoch.
    Drift,
    /// Settled before, or not this store's concern; nothing changed.
    Unchanged,
}

/// What became of an attempt to open a sale's stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenOutcome {
    /// The stock now is the snapshot.
    Opened,
    /// It was opened under this epoch before; nothing changed.
    AlreadyOpen,
    /// It is open under a newer epoch; nothing changed.
    Stale(Epoch),
    /// Another sale of the product has the place; nothing changed. Only stores that have one place
    /// per product answer so: until that sale is over and all its attempts are decided.
    Occupied(SaleId),
    /// The sale starts too far in the future to take the place; nothing changed. Only stores that
    /// have one place per product answer so.
    TooEarly,
}

/// What became of a [`StockEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApplyOutcome {
    /// The change is made.
    Applied,
    /// It was made before; nothing changed.
    Stale,
    /// A change before it is missing; nothing changed.
    Gap {
        /// The version to apply next.
        expected: u64,
    },
    /// More units were to be withdrawn than nobody holds; nothing changed.
    TooFew {
        /// Units that nobody holds.
        available: u64,
    },
    /// The store does not know the sale.
    NotLoaded,
}

/// A sale's stock at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The generation of the stock.
    pub epoch: Epoch,
    /// Grows with every reservation and release.
    pub seq: u64,
    /// The last change applied.
    pub version: u64,
    /// What the store lets happen.
    pub phase: Phase,
    /// Units to be had.
    pub available: u64,
    /// Units of attempts that are not decided.
    pub reserved: u64,
    /// Units bought.
    pub sold: u64,
    /// Attempts that are not decided.
    pub undecided: u64,
    /// Attempts that the queue does not have yet.
    pub unpublished: u64,
    /// When the oldest undecided attempt took its units.
    pub oldest_reserved_at: Option<Timestamp>,
}

impl Ledger {
    /// The stock that the snapshot describes. Buyers count as sold, everything else as available.
    pub fn open(sale: SaleRef, snapshot: StockSnapshot) -> Self {
        let allocations: HashMap<_, _> = snapshot
            .buyers
            .into_iter()
            .map(|buyer| {
                let allocation = Allocation {
                    attempt: buyer.attempt,
                    quantity: buyer.quantity,
                    epoch: sale.epoch,
                    seq: 0,
                    reserved_at: buyer.reserved_at,
                    state: AllocationState::Sold(buyer.order),
                };
                (buyer.user, allocation)
            })
            .collect();
        Self {
            sale,
            opened: sale.epoch,
            window: snapshot.window,
            phase: snapshot.phase,
            version: snapshot.version,
            seq: 0,
            available: snapshot.remaining,
            reserved: 0,
            sold: allocations
                .values()
                .map(|allocation| allocation.quantity.units())
                .sum(),
            clock: Timestamp::default(),
            allocations,
            undecided: BTreeMap::new(),
        }
    }

    /// What opening it under `epoch` would do now. An epoch is opened once: a stock that has gone
    /// wrong under it needs a newer one.
    pub fn opening(&self, epoch: Epoch) -> OpenOutcome {
        if epoch < self.sale.epoch {
            OpenOutcome::Stale(self.sale.epoch)
        } else if epoch == self.opened {
            OpenOutcome::AlreadyOpen
        } else {
            OpenOutcome::Opened
        }
    }

    /// Continues the order of an earlier life of this stock: the next seq is larger than `seq`.
    pub fn resume_at(&mut self, seq: u64) {
        self.seq = self.seq.max(seq);
    }

    /// Puts back an attempt that took its units before a restart, as undecided.
    ///
    /// Returns whether it was put back: not if its user holds units already, or if the units are
    /// not there.
    pub fn restore(&mut self, attempt: &Attempt, logged: bool) -> bool {
        let units = attempt.quantity.units();
        if self.available < units || self.allocations.contains_key(&attempt.user) {
            return false;
        }
        self.seq = self.seq.max(attempt.seq);
        self.clock = self.clock.max(attempt.reserved_at);
        self.available -= units;
        self.reserved += units;
        self.undecided.insert(attempt.seq, attempt.user.clone());
        let allocation = Allocation {
            attempt: attempt.id,
            quantity: attempt.quantity,
            epoch: attempt.epoch,
            seq: attempt.seq,
            reserved_at: attempt.reserved_at,
            state: AllocationState::Reserved { logged },
        };
        self.allocations.insert(attempt.user.clone(), allocation);
        true
    }

    /// Takes units for a user who has none, if the sale sells at `now` to callers of `epoch`.
    ///
    /// Checked in this order, first match answers: epoch, the user's allocation, phase, window, stock.
    pub fn reserve(
        &mut self,
        epoch: Epoch,
        request: &ReserveRequest,
        now: Timestamp,
    ) -> ReserveOutcome {
        if epoch != self.sale.epoch {
            return ReserveOutcome::Recovering;
        }
        if let Some(allocation) = self.allocations.get(&request.user) {
            return ReserveOutcome::AlreadyAllocated(allocation.clone());
        }
        match self.phase {
            Phase::Open => {}
            Phase::Paused => return ReserveOutcome::Paused,
            Phase::Closed => return ReserveOutcome::Ended,
            Phase::Scheduled | Phase::Recovering => return ReserveOutcome::Recovering,
        }
        let now = self.clock.max(now);
        if now < self.window.start {
            return ReserveOutcome::NotStarted {
                starts_at: self.window.start,
            };
        }
        if now >= self.window.end {
            return ReserveOutcome::Ended;
        }
        let units = request.quantity.units();
        if self.available < units {
            return ReserveOutcome::SoldOut;
        }
        self.clock = now;
        self.seq += 1;
        let attempt = Attempt {
            id: request.attempt,
            sale: self.sale.id,
            product: self.sale.product,
            user: request.user.clone(),
            quantity: request.quantity,
            epoch: self.sale.epoch,
            seq: self.seq,
            reserved_at: now,
        };
        let restored = self.restore(&attempt, false);
        debug_assert!(restored, "stock and allocation were checked above");
        ReserveOutcome::Reserved(attempt)
    }

    /// Notes that the attempt queue has the attempt. Says whether that was news.
    pub fn acknowledge(&mut self, user: &UserId, attempt: AttemptId) -> bool {
        match self.allocations.get_mut(user) {
            Some(allocation) if allocation.attempt == attempt => match &mut allocation.state {
                AllocationState::Reserved { logged } => !std::mem::replace(logged, true),
                AllocationState::Sold(_) => false,
            },
            _ => false,
        }
    }

    /// Mirrors a decision of the order repository. Units become available only through a decision
    /// that says so; settling twice changes nothing.
    pub fn settle(&mut self, settlement: &Settlement) -> SettleOutcome {
        let Settlement {
            user,
            attempt,
            quantity,
            decision,
            ..
        } = settlement;
        let undecided_same = match self.allocations.get(user) {
            Some(allocation) if matches!(allocation.state, AllocationState::Reserved { .. }) => {
                Some(allocation.attempt == *attempt)
            }
            Some(_) => return SettleOutcome::Unchanged,
            None => None,
        };
        match (*decision, undecided_same) {
            (Decision::Success(order), Some(same)) => {
                self.sell(user, *attempt, *quantity, order);
                if same {
                    SettleOutcome::Confirmed
                } else {
                    SettleOutcome::Adopted
                }
            }
            (Decision::Success(order), None) => self.heal(settlement, order),
            (Decision::Failed(FailReason::Duplicate(kept)), Some(true)) => {
                self.sell(user, kept.attempt, kept.quantity, kept.order);
                SettleOutcome::Merged
            }
            (Decision::Failed(FailReason::NoStock), Some(true)) => {
                self.unmark(user);
                SettleOutcome::Voided
            }
            (
                Decision::Failed(
                    FailReason::StaleEpoch | FailReason::Cancelled | FailReason::Expired,
                ),
                Some(true),
            ) => {
                self.available += self.unmark(user);
                self.seq += 1;
                SettleOutcome::Released
            }
            (Decision::Failed(_), _) => SettleOutcome::Unchanged,
        }
    }

    /// Takes back an attempt whose record could not be kept, as if it had never been.
    ///
    /// Only for a store that has told nobody about the attempt. Says whether there was one.
    pub fn undo(&mut self, user: &UserId, attempt: AttemptId) -> bool {
        match self.allocations.get(user) {
            Some(allocation) if allocation.attempt == attempt => {
                let sold = matches!(allocation.state, AllocationState::Sold(_));
                let units = allocation.quantity.units();
                if sold {
                    self.sold -= units;
                    self.available += units;
                    self.allocations.remove(user);
                } else {
                    self.available += self.unmark(user);
                }
                true
            }
            _ => false,
        }
    }

    /// Makes a change that the shop has made, if it is the next one.
    pub fn apply(&mut self, event: &StockEvent) -> ApplyOutcome {
        let expected = self.version + 1;
        if event.version < expected {
            return ApplyOutcome::Stale;
        }
        if event.version > expected {
            return ApplyOutcome::Gap { expected };
        }
        if let SaleChange::Withdraw(units) = event.change {
            if units > self.available {
                return ApplyOutcome::TooFew {
                    available: self.available,
                };
            }
            self.available -= units;
        }
        self.version = event.version;
        let fenced = self.phase == Phase::Recovering;
        match event.change {
            SaleChange::Restock(units) => {
                self.available += units;
                self.seq += 1;
            }
            SaleChange::Close => self.phase = Phase::Closed,
            SaleChange::Pause if !fenced => self.phase = Phase::Paused,
            SaleChange::Resume if !fenced => self.phase = Phase::Open,
            SaleChange::Extend(end) => self.window.end = end,
            SaleChange::Pause | SaleChange::Resume | SaleChange::Withdraw(_) => {}
        }
        ApplyOutcome::Applied
    }

    /// Stops selling for callers of older epochs; until [`Ledger::open`] nobody buys.
    ///
    /// Says whether `epoch` is now the ledger's: not if the ledger is at a newer one.
    pub fn fence(&mut self, epoch: Epoch) -> bool {
        if epoch < self.sale.epoch {
            return false;
        }
        if epoch > self.sale.epoch {
            self.sale.epoch = epoch;
            self.phase = Phase::Recovering;
        }
        true
    }

    /// What the user holds.
    pub fn allocation(&self, user: &UserId) -> Option<&Allocation> {
        self.allocations.get(user)
    }

    /// The oldest undecided attempts that took their units at least `min_age_ms` before `now`,
    /// `max` at most; only those that the queue does not have, if `unpublished_only`.
    pub fn undecided(
        &self,
        now: Timestamp,
        min_age_ms: u64,
        unpublished_only: bool,
        max: usize,
    ) -> Vec<Attempt> {
        let now = self.clock.max(now);
        self.undecided
            .values()
            .filter_map(|user| self.allocations.get_key_value(user))
            .take_while(|(_, allocation)| now.since_ms(allocation.reserved_at) >= min_age_ms)
            .filter(|(_, allocation)| {
                !unpublished_only || allocation.state == AllocationState::Reserved { logged: false }
            })
            .take(max)
            .map(|(user, allocation)| {
                allocation.to_attempt(self.sale.id, self.sale.product, user.clone())
            })
            .collect()
    }

    /// The stock at this moment.
    pub fn levels(&self) -> Levels {
        let undecided = || {
            self.undecided
                .values()
                .filter_map(|user| self.allocations.get(user))
        };
        Levels {
            epoch: self.sale.epoch,
            seq: self.seq,
            version: self.version,
            phase: self.phase,
            available: self.available,
            reserved: self.reserved,
            sold: self.sold,
            undecided: self.undecided.len() as u64,
            unpublished: undecided()
                .filter(|allocation| {
                    allocation.state == AllocationState::Reserved { logged: false }
                })
                .count() as u64,
            oldest_reserved_at: undecided().next().map(|allocation| allocation.reserved_at),
        }
    }

    /// The sale, with the epoch that this ledger sells under.
    pub fn sale(&self) -> SaleRef {
        self.sale
    }

    /// Turns a user's undecided allocation into a sold one of `attempt`.
    fn sell(&mut self, user: &UserId, attempt: AttemptId, quantity: Quantity, order: OrderId) {
        let Some(allocation) = self.allocations.get_mut(user) else {
            return;
        };
        let (held, sold) = (allocation.quantity.units(), quantity.units());
        self.undecided.remove(&allocation.seq);
        allocation.attempt = attempt;
        allocation.quantity = quantity;
        allocation.state = AllocationState::Sold(order);
        self.reserved -= held;
        self.sold += sold;
        self.available = (self.available + held).saturating_sub(sold);
    }

    /// Takes the units of an order whose allocation was lost, or stops selling if there are none.
    fn heal(&mut self, settlement: &Settlement, order: OrderId) -> SettleOutcome {
        let units = settlement.quantity.units();
        if self.available < units {
            self.phase = Phase::Recovering;
            return SettleOutcome::Drift;
        }
        let Entry::Vacant(slot) = self.allocations.entry(settlement.user.clone()) else {
            return SettleOutcome::Unchanged;
        };
        slot.insert(Allocation {
            attempt: settlement.attempt,
            quantity: settlement.quantity,
            epoch: self.opened,
            // It has no place among this stock's reservations.
            seq: 0,
            reserved_at: settlement.reserved_at,
            state: AllocationState::Sold(order),
        });
        self.available -= units;
        self.sold += units;
        SettleOutcome::Healed
    }

    /// Forgets a user's undecided allocation and returns its units.
    fn unmark(&mut self, user: &UserId) -> u64 {
        let Some(allocation) = self.allocations.remove(user) else {
            return 0;
        };
        self.undecided.remove(&allocation.seq);
        self.reserved -= allocation.quantity.units();
        allocation.quantity.units()
    }
}
