use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;

use super::database::Tables;
use super::{ADAPTER, MemoryDatabase, check_batch};
use crate::domain::{
    Arbiter, Attempt, AttemptId, Decision, FailReason, Order, OrderId, Ruling, SaleId, SaleRef,
    Totals,
};
use crate::error::{ErrorKind, PortError};
use crate::ports::{Clock, OrderRepo};

/// The orders of a [`MemoryDatabase`]: an [`Arbiter`] per sale, and what it decided.
#[derive(Clone, Debug)]
pub struct MemoryOrderRepo {
    database: MemoryDatabase,
    clock: Arc<dyn Clock>,
}

impl MemoryOrderRepo {
    /// The orders of this database, decided at the clock's time.
    pub fn new(database: MemoryDatabase, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    /// Has the sale's arbiter rule on each attempt and keeps the fresh rulings.
    fn rule(
        &self,
        operation: &'static str,
        sale: &SaleRef,
        attempts: &[Attempt],
        rule: impl Fn(&mut Arbiter, &Attempt, OrderId) -> Ruling,
    ) -> Result<Vec<Decision>, PortError> {
        check_batch(attempts.len(), operation)?;
        let decided_at = self.clock.now();
        let mut tables = self.database.tables();
        let all_of_sale = attempts.iter().all(|attempt| attempt.sale == sale.id);
        if !all_of_sale || !tables.sales.contains_key(&sale.id) {
            return Err(PortError::new(ErrorKind::Invalid, ADAPTER, operation));
        }
        let Tables {
            sales,
            orders,
            decided,
            ..
        } = &mut *tables;
        let row = sales.get_mut(&sale.id).expect("looked up above");
        let mut next = orders.keys().next_back().map_or(1, |last| last.get() + 1);
        let decisions = attempts.iter().map(|attempt| {
            let id = OrderId::new(next).expect("counts up from 1");
            let ruling = rule(&mut row.books, attempt, id);
            if ruling.fresh {
                next += 1;
                if attempt.epoch == row.sale.epoch {
                    row.sale.decided_seq = row.sale.decided_seq.max(attempt.seq);
                }
                decided.insert(attempt.id, id);
                let order = Order {
                    id,
                    attempt: attempt.id,
                    sale: attempt.sale,
                    product: attempt.product,
                    user: attempt.user.clone(),
                    quantity: attempt.quantity,
                    decision: ruling.decision,
                    reserved_at: attempt.reserved_at,
                    decided_at,
                };
                orders.insert(id, order);
            }
            ruling.decision
        });
        Ok(decisions.collect())
    }
}

#[async_trait]
impl OrderRepo for MemoryOrderRepo {
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError> {
        self.rule("commit", sale, attempts, Arbiter::decide)
    }

    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        self.rule("release", sale, attempts, |books, attempt, _| {
            books.fail(attempt, reason)
        })
    }

    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        check_batch(attempts.len(), "find")?;
        let tables = self.database.tables();
        let order = |attempt| tables.orders.get(tables.decided.get(attempt)?).cloned();
        Ok(attempts.iter().map(order).collect())
    }

    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError> {
        let tables = self.database.tables();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let orders = tables.orders.range((from, Bound::Unbounded));
        let orders = orders.map(|(_, order)| order);
        let of_sale = orders.filter(|order| order.sale == sale);
        Ok(of_sale.take(max).cloned().collect())
    }

    async fn totals(&self, sale: SaleId) -> Result<Option<Totals>, PortError> {
        let tables = self.database.tables();
        let Some(row) = tables.sales.get(&sale) else {
            return Ok(None);
        };
        let mut totals = Totals {
            stock: row.sale.total_stock(),
            remaining: row.books.remaining(),
            ..Totals::default()
        };
        let mut orders_of = HashMap::<_, u64>::new();
        for order in tables.orders.values().filter(|order| order.sale == sale) {
            match order.decision {
                Decision::Success(_) => {
                    totals.orders += 1;
                    totals.sold += order.quantity.units();
                    *orders_of.entry(&order.user).or_default() += 1;
                }
                Decision::Failed(_) => totals.failed += 1,
            }
        }
        totals.doubled_users = orders_of.values().filter(|orders| **orders > 1).count() as u64;
        Ok(Some(totals))
    }
}
