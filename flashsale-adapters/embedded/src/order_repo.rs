use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Arbiter, Attempt, AttemptId, Decision, FailReason, Order, OrderId, Ruling, SaleId, SaleRef,
    Timestamp, Totals,
};
use flashsale_core::ports::OrderRepo;
use rusqlite::{Connection, OptionalExtension, params};

use crate::books::{for_each_decided, load_arbiter};
use crate::engine::{Engine, check_batch};
use crate::error::invalid;
use crate::rows;

/// The orders, in the engine's file. Order ids grow and have gaps.
///
/// Made by [`EmbeddedEngine::orders`](crate::EmbeddedEngine::orders). The sales must be kept by
/// the same engine.
#[derive(Clone, Debug)]
pub struct EmbeddedOrderRepo(pub(crate) Arc<Engine>);

#[async_trait]
impl OrderRepo for EmbeddedOrderRepo {
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError> {
        self.decide("commit", sale, attempts, Arbiter::decide)
    }

    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        self.decide("release", sale, attempts, |arbiter, attempt, _| {
            arbiter.fail(attempt, reason)
        })
    }

    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        check_batch("find", attempts.len())?;
        self.0.read("find", |reader| {
            attempts
                .iter()
                .map(|attempt| find(reader, *attempt))
                .collect()
        })
    }

    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError> {
        self.0.read("list", |reader| {
            let first = attempts_after(reader, sale)?.unwrap_or(0);
            let after = after.map_or(first, |after| first.max(after.get()));
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            let mut orders = Vec::new();
            for_each_decided(
                reader,
                sale,
                after,
                max,
                |attempt, decision, id, decided_ms| {
                    orders.extend(order(attempt, decision, id, decided_ms));
                },
            )?;
            Ok(orders)
        })
    }

    async fn totals(&self, sale: SaleId) -> Result<Option<Totals>, PortError> {
        self.0.journal.flush();
        // One transaction on the reader: both statements see the same moment.
        self.0.read("totals", |reader| {
            let snapshot = reader.unchecked_transaction()?;
            totals(&snapshot, sale)
        })
    }
}

impl EmbeddedOrderRepo {
    /// Lets the arbiter rule on each attempt and stores what is new, in one transaction.
    fn decide(
        &self,
        operation: &'static str,
        sale: &SaleRef,
        attempts: &[Attempt],
        mut rule: impl FnMut(&mut Arbiter, &Attempt, OrderId) -> Ruling,
    ) -> Result<Vec<Decision>, PortError> {
        check_batch(operation, attempts.len())?;
        if attempts.iter().any(|attempt| attempt.sale != sale.id) {
            return Err(invalid(operation, "an attempt of another sale"));
        }
        let unknown = || invalid(operation, "no such sale");
        let books = self.0.books(sale.id)?.ok_or_else(unknown)?;
        let mut arbiter = books.arbiter();
        // Attempts that are decided at once wait for the arbiter before they are sent to the disk:
        // after this nothing is on its way, so nothing is missed, counted twice, or believed that
        // the disk did not take.
        self.0.journal.flush();
        books.forget_if_stale(&mut arbiter);
        if arbiter.is_none() {
            *arbiter = self
                .0
                .read(operation, |reader| load_arbiter(reader, sale.id))?;
        }
        let arbiter = arbiter.as_mut().ok_or_else(unknown)?;

        let ids = self.0.read(operation, |reader| {
            let rows = attempts
                .iter()
                .map(|attempt| rows::row_of(reader, attempt.id));
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let ids = ids.into_iter().map(|id| match id {
            Some(id) => OrderId::new(id).expect("row ids count up from 1"),
            None => self.0.journal.next_id(),
        });
        let ruled: Vec<_> = attempts
            .iter()
            .zip(ids)
            .map(|(attempt, id)| (attempt, id, rule(arbiter, attempt, id)))
            .collect();
        let fresh = || ruled.iter().filter(|(_, _, ruling)| ruling.fresh);
        let now = self.0.clock.now();
        let stored = self.0.journal.write(operation, |transaction| {
            let mut sold = 0;
            for (attempt, id, ruling) in fresh() {
                rows::decide(transaction, id.get(), attempt, ruling.decision, now)?;
                if matches!(ruling.decision, Decision::Success(_)) {
                    sold += attempt.quantity.units();
                }
            }
            let places = fresh().map(|(attempt, _, _)| (attempt.epoch.get(), attempt.seq));
            let (epoch, seq) = places.max().unwrap_or_default();
            let sql = "UPDATE sales SET remaining_stock = remaining_stock - ?2,
                    decided_seq = CASE epoch WHEN ?3 THEN max(decided_seq, ?4) ELSE decided_seq END
                WHERE id = ?1";
            transaction
                .prepare_cached(sql)?
                .execute(params![sale.id.get(), sold, epoch, seq])
        });
        if let Err(error) = stored {
            for (attempt, _, _) in fresh() {
                arbiter.undo(attempt);
            }
            return Err(error);
        }
        Ok(ruled.iter().map(|(_, _, ruling)| ruling.decision).collect())
    }
}

/// The row id after which the attempts of a sale stand; nothing for an unknown sale.
fn attempts_after(reader: &Connection, sale: SaleId) -> rusqlite::Result<Option<i64>> {
    reader
        .prepare_cached("SELECT attempts_after FROM sales WHERE id = ?1")?
        .query_row([sale.get()], |row| row.get(0))
        .optional()
}

fn find(reader: &Connection, attempt: AttemptId) -> rusqlite::Result<Option<Order>> {
    let sql = format!(
        "SELECT decision, coalesce(order_id, id), kept_attempt_id, kept_quantity, id, decided_ms, {}
        FROM attempts WHERE attempt_id = ?1 AND decision IS NOT NULL",
        rows::ATTEMPT
    );
    let found = reader
        .prepare_cached(&sql)?
        .query_row([attempt.as_uuid()], |row| {
            let Some(decision) = rows::decision(row, 0)? else {
                return Ok(None);
            };
            Ok(order(
                rows::attempt(row, 6)?,
                decision,
                row.get(4)?,
                row.get(5)?,
            ))
        })
        .optional()?;
    Ok(found.flatten())
}

fn order(attempt: Attempt, decision: Decision, id: i64, decided_ms: i64) -> Option<Order> {
    Some(Order {
        id: OrderId::new(id).ok()?,
        attempt: attempt.id,
        sale: attempt.sale,
        product: attempt.product,
        user: attempt.user,
        quantity: attempt.quantity,
        decision,
        reserved_at: attempt.reserved_at,
        decided_at: Timestamp::from_millis(decided_ms),
    })
}

fn totals(reader: &Connection, sale: SaleId) -> rusqlite::Result<Option<Totals>> {
    let sql =
        "SELECT initial_stock + added_stock - withdrawn_stock, remaining_stock, attempts_after
        FROM sales WHERE id = ?1";
    let stock = reader
        .prepare_cached(sql)?
        .query_row([sale.get()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    let Some((stock, remaining, after)) = stock else {
        return Ok(None);
    };
    let sql = "SELECT coalesce(sum(quantity) FILTER (WHERE decision = 'SUCCESS'), 0),
            count(*) FILTER (WHERE decision = 'SUCCESS'),
            count(*) FILTER (WHERE decision <> 'SUCCESS'),
            count(*) FILTER (WHERE decision = 'SUCCESS')
                - count(DISTINCT user_id) FILTER (WHERE decision = 'SUCCESS')
        FROM attempts WHERE id > ?1 AND sale_id = ?2 AND decision IS NOT NULL";
    let mut statement = reader.prepare_cached(sql)?;
    let totals = statement.query_row(params![after, sale.get()], |row| {
        Ok(Totals {
            stock,
            remaining,
            sold: row.get(0)?,
            orders: row.get(1)?,
            failed: row.get(2)?,
            doubled_users: row.get(3)?,
        })
    })?;
    Ok(Some(totals))
}
