mod columns;
mod decisions;

use std::collections::HashMap;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Attempt, AttemptId, Decision, FailReason, Order, OrderId, SaleId, SaleRef, Totals,
};
use flashsale_core::ports::{BATCH_MAX, OrderRepo};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresDatabase;
use crate::database::Call;
use crate::error::{fault, invalid};
use crate::rows::{self, KeptColumns};

use columns::AttemptColumns;

/// The orders of a [`PostgresDatabase`].
///
/// A batch is one statement and one message to the server, whose function `flashsale_commit` holds
/// the lock of the sale while it decides: no client ever holds it. The sale must be of the same
/// database. An order's product is that of its sale, whatever the attempt says. Order ids grow,
/// have gaps, and ascend within a sale in the order of the commits.
///
/// Made by [`PostgresDatabase::orders`].
#[derive(Clone, Debug)]
pub struct PostgresOrderRepo(pub(crate) PostgresDatabase);

#[async_trait]
impl OrderRepo for PostgresOrderRepo {
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError> {
        const OPERATION: &str = "commit";
        let columns = AttemptColumns::of(OPERATION, sale, attempts)?;
        let sql = "SELECT order_ids, reasons, kept_orders, kept_attempts, kept_quantities
            FROM flashsale_commit($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let query = || {
            let query = columns.bind_to(sqlx::query(sql).bind(sale.id.get()));
            query.bind(columns.units()).bind(columns.oldest_epoch())
        };
        let rows = self.0.fetch(OPERATION, Call::Repeatable, query).await?;
        decisions::read(OPERATION, &rows, attempts.len())
    }

    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        const OPERATION: &str = "release";
        let columns = AttemptColumns::of(OPERATION, sale, attempts)?;
        let kept = KeptColumns::from(reason);
        let sql = "SELECT order_ids, reasons, kept_orders, kept_attempts, kept_quantities
            FROM flashsale_release($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        let query = || {
            let query = columns.bind_to(sqlx::query(sql).bind(sale.id.get()));
            let query = query.bind(reason.name()).bind(kept.order);
            query.bind(kept.attempt).bind(kept.quantity)
        };
        let rows = self.0.fetch(OPERATION, Call::Repeatable, query).await?;
        decisions::read(OPERATION, &rows, attempts.len())
    }

    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        const OPERATION: &str = "find";
        check_batch(OPERATION, attempts.len())?;
        let ids: Vec<Uuid> = attempts.iter().map(|attempt| attempt.as_uuid()).collect();
        // One look into the index per id, whatever the planner knows of the table.
        let sql = "SELECT o.* FROM unnest($1::uuid[]) AS asked (attempt)
            CROSS JOIN LATERAL (
                SELECT id, attempt_id, sale_id, product_id, user_id, quantity, reason,
                    kept_order_id, kept_attempt_id, kept_quantity, reserved_ms, decided_ms
                FROM orders WHERE attempt_id = asked.attempt LIMIT 1
            ) AS o";
        let query = || sqlx::query(sql).bind(&ids);
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        let orders = orders(OPERATION, &rows)?;
        let orders: HashMap<_, _> = orders.iter().map(|order| (order.attempt, order)).collect();
        let order = |attempt| orders.get(attempt).copied().cloned();
        Ok(attempts.iter().map(order).collect())
    }

    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError> {
        const OPERATION: &str = "list";
        let sql = "SELECT id, attempt_id, sale_id, product_id, user_id, quantity, reason,
                kept_order_id, kept_attempt_id, kept_quantity, reserved_ms, decided_ms
            FROM orders WHERE sale_id = $1 AND id > $2 ORDER BY id LIMIT $3";
        let query = || {
            let after = after.map_or(0, OrderId::get);
            let query = sqlx::query(sql).bind(sale.get()).bind(after);
            query.bind(rows::limit(max))
        };
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        orders(OPERATION, &rows)
    }

    async fn totals(&self, sale: SaleId) -> Result<Option<Totals>, PortError> {
        const OPERATION: &str = "totals";
        // One statement sees one moment.
        let sql = "SELECT s.initial_stock + s.added_stock - s.withdrawn_stock, s.remaining_stock,
                coalesce(won.units, 0)::bigint, won.orders,
                (SELECT count(*) FROM orders AS o WHERE o.sale_id = s.id AND o.status = 'FAILED'),
                (SELECT count(*) FROM (
                    SELECT 1 FROM orders AS o WHERE o.sale_id = s.id AND o.status = 'SUCCESS'
                    GROUP BY o.user_id HAVING count(*) > 1) AS doubled)
            FROM flash_sales AS s, LATERAL (
                SELECT sum(o.quantity) AS units, count(*) AS orders FROM orders AS o
                WHERE o.sale_id = s.id AND o.status = 'SUCCESS') AS won
            WHERE s.id = $1";
        let query = || sqlx::query(sql).bind(sale.get());
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        let totals = rows.first().map(totals).transpose();
        totals.map_err(|error| fault(OPERATION, error))
    }
}

pub(crate) fn check_batch(operation: &'static str, items: usize) -> Result<(), PortError> {
    if items > BATCH_MAX {
        return Err(invalid(operation, "the batch is too large"));
    }
    Ok(())
}

fn orders(operation: &'static str, rows: &[PgRow]) -> Result<Vec<Order>, PortError> {
    let orders: sqlx::Result<_> = rows.iter().map(order).collect();
    orders.map_err(|error| fault(operation, error))
}

fn order(row: &PgRow) -> sqlx::Result<Order> {
    let id = rows::order_id(row, 0)?;
    let kept = KeptColumns {
        order: row.try_get(7)?,
        attempt: row.try_get(8)?,
        quantity: row.try_get(9)?,
    };
    Ok(Order {
        id,
        attempt: rows::attempt_id(row, 1)?,
        sale: rows::sale_id(row, 2)?,
        product: rows::product_id(row, 3)?,
        user: rows::user_id(row, 4)?,
        quantity: rows::quantity(row.try_get(5)?)?,
        decision: rows::decision(id, row.try_get(6)?, kept)?,
        reserved_at: rows::timestamp(row, 10)?,
        decided_at: rows::timestamp(row, 11)?,
    })
}

fn totals(row: &PgRow) -> sqlx::Result<Totals> {
    Ok(Totals {
        stock: rows::number(row, 0)?,
        remaining: rows::number(row, 1)?,
        sold: rows::number(row, 2)?,
        orders: rows::number(row, 3)?,
        failed: rows::number(row, 4)?,
        doubled_users: rows::number(row, 5)?,
    })
}
