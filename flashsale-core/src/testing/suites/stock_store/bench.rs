use std::sync::Arc;

use crate::domain::{
    Allocation, AllocationState, ApplyOutcome, Attempt, Decision, Epoch, Levels, OpenOutcome,
    OrderId, Phase, Quantity, ReserveOutcome, ReserveRequest, SaleChange, SaleRef, SettleOutcome,
    Settlement, StockEvent, StockSnapshot,
};
use crate::ports::{ChangeOutcome, StockStore, StockStoreExt};
use crate::testing::report::{ensure, ensure_eq};
use crate::testing::samples::{self, START, WINDOW, user};
use crate::testing::suites::{create_sale, fresh_place};
use crate::testing::{Fixture, ManualClock, StockStoreRig, Violation};

/// A store with a sale, one second after the sale's start.
pub(super) struct Bench<'a> {
    fixture: &'a dyn Fixture<StockStoreRig>,
    place: String,
    rig: StockStoreRig,
    pub(super) store: Arc<dyn StockStore>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) sale: SaleRef,
    pub(super) stock: u64,
}

impl<'a> Bench<'a> {
    /// With a sale that the store does not have yet.
    pub(super) async fn unopened(
        fixture: &'a dyn Fixture<StockStoreRig>,
        stock: u64,
    ) -> Result<Self, Violation> {
        let place = fresh_place("stock");
        let rig = fixture.open(&place).await?;
        rig.clock.set(START.plus_ms(1_000));
        let sale = match &rig.sales {
            Some(sales) => create_sale(&**sales, stock).await?.key(),
            None => samples::fresh_sale(),
        };
        Ok(Self {
            fixture,
            place,
            store: Arc::clone(&rig.store),
            clock: Arc::clone(&rig.clock),
            rig,
            sale,
            stock,
        })
    }

    /// With a sale that sells.
    pub(super) async fn open(
        fixture: &'a dyn Fixture<StockStoreRig>,
        stock: u64,
    ) -> Result<Self, Violation> {
        let bench = Self::unopened(fixture, stock).await?;
        let opened = bench.store.open(&bench.sale, &bench.snapshot()).await?;
        ensure_eq!("opening", opened, OpenOutcome::Opened);
        if let Some(sales) = &bench.rig.sales {
            sales.opened(&bench.sale, 1).await?;
        }
        Ok(bench)
    }

    /// The same place and sale once more, after everything was dropped; nothing if the adapter
    /// cannot do that.
    pub(super) async fn reopen(self) -> Result<Option<Self>, Violation> {
        let Self {
            fixture,
            place,
            sale,
            stock,
            rig,
            store,
            clock,
        } = self;
        if !fixture.durable() {
            return Ok(None);
        }
        drop((rig, store, clock));
        let rig = fixture.open(&place).await?;
        rig.clock.set(START.plus_ms(2_000));
        Ok(Some(Self {
            fixture,
            place,
            store: Arc::clone(&rig.store),
            clock: Arc::clone(&rig.clock),
            rig,
            sale,
            stock,
        }))
    }

    /// The sale as it is when nobody has bought.
    pub(super) fn snapshot(&self) -> StockSnapshot {
        StockSnapshot {
            window: WINDOW,
            phase: Phase::Open,
            version: 1,
            remaining: self.stock,
            buyers: Vec::new(),
        }
    }

    /// The sale as somebody sees it who believes in this epoch.
    pub(super) fn at_epoch(&self, epoch: u32) -> SaleRef {
        SaleRef {
            epoch: Epoch::new(epoch),
            ..self.sale
        }
    }

    /// Makes a change in the repository, if there is one, and in the store.
    pub(super) async fn change(
        &self,
        version: u64,
        change: SaleChange,
    ) -> Result<ApplyOutcome, Violation> {
        let mut event = StockEvent { version, change };
        if let Some(sales) = &self.rig.sales {
            match sales.change(self.sale.id, change, None).await? {
                ChangeOutcome::Changed(_, made) => event = made,
                refused @ (ChangeOutcome::Refused(_) | ChangeOutcome::UnknownSale) => {
                    return Err(Violation::new(format!("the repository says {refused:?}")));
                }
            }
        }
        Ok(self.store.apply(&self.sale, &event).await?)
    }

    /// Tries to buy one unit for the user with this number.
    pub(super) async fn buy(&self, number: u64) -> Result<ReserveOutcome, Violation> {
        Ok(self.store.reserve_one(&self.sale, &request(number)).await?)
    }

    /// Reserves one unit for the user with this number.
    pub(super) async fn reserve(&self, number: u64) -> Result<Attempt, Violation> {
        match self.buy(number).await? {
            ReserveOutcome::Reserved(attempt) => Ok(attempt),
            other => Err(Violation::new(format!(
                "user {number} must get a unit, but the answer is {other:?}"
            ))),
        }
    }

    /// Reserves or buys one unit for the user with this number.
    pub(super) async fn win(&self, number: u64) -> Result<Attempt, Violation> {
        match self.buy(number).await? {
            ReserveOutcome::Reserved(attempt) | ReserveOutcome::Sold(attempt, _) => Ok(attempt),
            other => Err(Violation::new(format!(
                "user {number} must get a unit, but the answer is {other:?}"
            ))),
        }
    }

    /// Settles a decision about an attempt.
    pub(super) async fn settle(
        &self,
        attempt: &Attempt,
        decision: Decision,
    ) -> Result<SettleOutcome, Violation> {
        let settlement = settlement(attempt, decision);
        Ok(self.store.settle_one(&self.sale, &settlement).await?)
    }

    /// What the user with this number holds.
    pub(super) async fn allocation(&self, number: u64) -> Result<Option<Allocation>, Violation> {
        Ok(self.store.allocation(&self.sale, &user(number)).await?)
    }

    pub(super) async fn levels(&self) -> Result<Levels, Violation> {
        let levels = self.store.levels(&self.sale).await?;
        levels.ok_or_else(|| Violation::new("the sale must be loaded"))
    }

    /// Checks the units that are available, reserved and sold.
    pub(super) async fn ensure_units(
        &self,
        what: &str,
        units: (u64, u64, u64),
    ) -> Result<(), Violation> {
        let levels = self.levels().await?;
        let actual = (levels.available, levels.reserved, levels.sold);
        let what = format!("{what}: units available, reserved and sold");
        ensure_eq!(what, actual, units);
        Ok(())
    }

    /// Checks that `taken` units are reserved or sold and the rest is available.
    pub(super) async fn ensure_taken(&self, what: &str, taken: u64) -> Result<(), Violation> {
        let levels = self.levels().await?;
        let actual = (levels.available, levels.reserved + levels.sold);
        let what = format!("{what}: units available and taken");
        ensure_eq!(what, actual, (self.stock - taken, taken));
        Ok(())
    }
}

/// A fresh request of the user with this number for one unit.
pub(super) fn request(number: u64) -> ReserveRequest {
    ReserveRequest {
        attempt: samples::fresh_attempt_id(),
        user: user(number),
        quantity: Quantity::ONE,
    }
}

/// A decision about an attempt, to be settled.
pub(super) fn settlement(attempt: &Attempt, decision: Decision) -> Settlement {
    Settlement {
        user: attempt.user.clone(),
        attempt: attempt.id,
        quantity: attempt.quantity,
        reserved_at: attempt.reserved_at,
        decision,
    }
}

/// The order with this number.
pub(super) fn order(number: i64) -> OrderId {
    OrderId::new(number).expect("positive")
}

/// Checks an allocation against the attempt that made it.
pub(super) fn ensure_allocation(
    allocation: Option<&Allocation>,
    attempt: &Attempt,
    state: AllocationState,
) -> Result<(), Violation> {
    let Some(allocation) = allocation else {
        return Err(Violation::new(format!("{} must hold units", attempt.user)));
    };
    ensure!(
        allocation.state == state,
        "the allocation must be {state:?}, is {:?}",
        allocation.state
    );
    let made = allocation.to_attempt(attempt.sale, attempt.product, attempt.user.clone());
    ensure_eq!("the attempt behind the allocation", made, *attempt);
    Ok(())
}
