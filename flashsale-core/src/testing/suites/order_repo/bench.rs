use std::sync::Arc;

use crate::domain::{Attempt, Decision, FailReason, Order, OrderId, SaleChange, SaleRef, Totals};
use crate::ports::{ChangeOutcome, OrderRepo, OrderRepoExt};
use crate::testing::report::ensure_eq;
use crate::testing::samples::{self, user};
use crate::testing::suites::{create_sale, fresh_place};
use crate::testing::{Fixture, OrderRepoRig, Violation};

/// A repository with a sale.
pub(super) struct Bench<'a> {
    fixture: &'a dyn Fixture<OrderRepoRig>,
    place: String,
    pub(super) rig: OrderRepoRig,
    pub(super) orders: Arc<dyn OrderRepo>,
    pub(super) sale: SaleRef,
}

impl<'a> Bench<'a> {
    pub(super) async fn open(
        fixture: &'a dyn Fixture<OrderRepoRig>,
        stock: u64,
    ) -> Result<Self, Violation> {
        let place = fresh_place("orders");
        let rig = fixture.open(&place).await?;
        let sale = create_sale(&*rig.sales, stock).await?.key();
        rig.sales.opened(&sale, 1).await?;
        Ok(Self {
            fixture,
            place,
            orders: Arc::clone(&rig.orders),
            rig,
            sale,
        })
    }

    /// The same place and sale once more; nothing if the adapter cannot do that.
    pub(super) async fn reopen(self) -> Result<Option<Self>, Violation> {
        let Self {
            fixture,
            place,
            sale,
            rig,
            orders,
        } = self;
        if !fixture.durable() {
            return Ok(None);
        }
        drop((rig, orders));
        let rig = fixture.open(&place).await?;
        Ok(Some(Self {
            fixture,
            place,
            orders: Arc::clone(&rig.orders),
            rig,
            sale,
        }))
    }

    /// A fresh attempt of the user with this number.
    pub(super) fn attempt(&self, number: u64) -> Attempt {
        samples::attempt(&self.sale, user(number), number)
    }

    pub(super) async fn commit(&self, attempts: &[Attempt]) -> Result<Vec<Decision>, Violation> {
        let decisions = self.orders.commit(&self.sale, attempts).await?;
        ensure_eq!("the number of decisions", decisions.len(), attempts.len());
        Ok(decisions)
    }

    pub(super) async fn release(
        &self,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, Violation> {
        let decisions = self.orders.release(&self.sale, attempts, reason).await?;
        ensure_eq!("the number of decisions", decisions.len(), attempts.len());
        Ok(decisions)
    }

    /// Decides about one attempt, which must become an order.
    pub(super) async fn order(&self, attempt: &Attempt) -> Result<OrderId, Violation> {
        match self.orders.commit_one(&self.sale, attempt).await? {
            Decision::Success(order) => Ok(order),
            failed @ Decision::Failed(_) => Err(Violation::new(format!(
                "an attempt of {} must become an order, is {failed:?}",
                attempt.user
            ))),
        }
    }

    pub(super) async fn found(&self, attempt: &Attempt) -> Result<Option<Order>, Violation> {
        Ok(self.orders.find_one(attempt.id).await?)
    }

    pub(super) async fn change(&self, change: SaleChange) -> Result<(), Violation> {
        match self.rig.sales.change(self.sale.id, change, None).await? {
            ChangeOutcome::Changed(..) => Ok(()),
            refused @ (ChangeOutcome::Refused(_) | ChangeOutcome::UnknownSale) => {
                Err(Violation::new(format!("a change is {refused:?}")))
            }
        }
    }

    /// What the sale says is decided.
    pub(super) async fn decided_seq(&self) -> Result<u64, Violation> {
        let sale = self.rig.sales.find(self.sale.id).await?;
        let sale = sale.ok_or_else(|| Violation::new("the sale must be found"))?;
        Ok(sale.decided_seq)
    }

    pub(super) async fn totals(&self) -> Result<Totals, Violation> {
        let totals = self.orders.totals(self.sale.id).await?;
        totals.ok_or_else(|| Violation::new("the sale must have totals"))
    }

    /// Checks the units: all, not sold, sold; and the successful orders and failed attempts.
    pub(super) async fn ensure_totals(
        &self,
        units: (u64, u64, u64),
        (orders, failed): (u64, u64),
    ) -> Result<(), Violation> {
        let (stock, remaining, sold) = units;
        let expected = Totals {
            stock,
            remaining,
            sold,
            orders,
            failed,
            doubled_users: 0,
        };
        ensure_eq!("the totals", self.totals().await?, expected);
        Ok(())
    }
}
