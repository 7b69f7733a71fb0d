//! How domain values stand in the tables.

use flashsale_core::domain::{
    Attempt, AttemptId, Decision, Epoch, FailReason, Kept, OrderId, Phase, ProductId, Quantity,
    SaleId, Timestamp, UserId,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

/// The columns that [`attempt`] reads, in its order.
pub(crate) const ATTEMPT: &str =
    "attempt_id, sale_id, product_id, user_id, quantity, epoch, seq, reserved_ms";

fn bad<E: std::error::Error + Send + Sync + 'static>(
    column: usize,
    kind: Type,
) -> impl FnOnce(E) -> rusqlite::Error {
    move |error| rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}

/// A stored text that no version of this program has written.
pub(crate) fn unknown(column: usize, text: &str) -> rusqlite::Error {
    let problem = format!("unknown value {text:?}");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, problem.into())
}

pub(crate) fn sale_id(row: &Row<'_>, column: usize) -> rusqlite::Result<SaleId> {
    SaleId::new(row.get(column)?).map_err(bad(column, Type::Integer))
}

pub(crate) fn product_id(row: &Row<'_>, column: usize) -> rusqlite::Result<ProductId> {
    ProductId::new(row.get(column)?).map_err(bad(column, Type::Integer))
}

pub(crate) fn order_id(row: &Row<'_>, column: usize) -> rusqlite::Result<OrderId> {
    OrderId::new(row.get(column)?).map_err(bad(column, Type::Integer))
}

pub(crate) fn user_id(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    let text = row.get_ref(column)?.as_str()?;
    UserId::new(text).map_err(bad(column, Type::Text))
}

pub(crate) fn attempt_id(row: &Row<'_>, column: usize) -> rusqlite::Result<AttemptId> {
    let bytes = row.get_ref(column)?.as_blob()?;
    let id = Uuid::from_slice(bytes).map_err(bad(column, Type::Blob))?;
    Ok(AttemptId::from_uuid(id))
}

pub(crate) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

pub(crate) fn epoch(row: &Row<'_>, column: usize) -> rusqlite::Result<Epoch> {
    Ok(Epoch::new(row.get(column)?))
}

pub(crate) fn quantity(row: &Row<'_>, column: usize) -> rusqlite::Result<Quantity> {
    let units: u32 = row.get(column)?;
    Quantity::new(units).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, 0))
}

/// Reads the columns [`ATTEMPT`], the first of them at `first`.
pub(crate) fn attempt(row: &Row<'_>, first: usize) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        id: attempt_id(row, first)?,
        sale: sale_id(row, first + 1)?,
        product: product_id(row, first + 2)?,
        user: user_id(row, first + 3)?,
        quantity: quantity(row, first + 4)?,
        epoch: epoch(row, first + 5)?,
        seq: row.get(first + 6)?,
        reserved_at: timestamp(row, first + 7)?,
    })
}

pub(crate) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Scheduled => "SCHEDULED",
        Phase::Open => "OPEN",
        Phase::Paused => "PAUSED",
        Phase::Recovering => "RECOVERING",
        Phase::Closed => "CLOSED",
    }
}

pub(crate) fn phase(row: &Row<'_>, column: usize) -> rusqlite::Result<Phase> {
    Ok(match row.get_ref(column)?.as_str()? {
        "SCHEDULED" => Phase::Scheduled,
        "OPEN" => Phase::Open,
        "PAUSED" => Phase::Paused,
        "RECOVERING" => Phase::Recovering,
        "CLOSED" => Phase::Closed,
        other => return Err(unknown(column, other)),
    })
}

/// A decision as its columns.
pub(crate) struct DecisionColumns {
    pub(crate) name: &'static str,
    /// The order made or kept.
    pub(crate) order: Option<i64>,
    pub(crate) kept: Option<Uuid>,
    pub(crate) kept_quantity: Option<u64>,
}

impl From<Decision> for DecisionColumns {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Success(order) => Self {
                name: "SUCCESS",
                order: Some(order.get()),
                kept: None,
                kept_quantity: None,
            },
            Decision::Failed(reason) => {
                let kept = match reason {
                    FailReason::Duplicate(kept) => Some(kept),
                    FailReason::NoStock
                    | FailReason::StaleEpoch
                    | FailReason::Cancelled
                    | FailReason::Expired => None,
                };
                Self {
                    name: reason.name(),
                    order: kept.map(|kept| kept.order.get()),
                    kept: kept.map(|kept| kept.attempt.as_uuid()),
                    kept_quantity: kept.map(|kept| kept.quantity.units()),
                }
            }
        }
    }
}

/// Reads a decision from the columns name, order, kept attempt and kept quantity, of which the
/// first is at `first`. `None` while undecided.
pub(crate) fn decision(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Decision>> {
    let Some(name) = row.get_ref(first)?.as_str_or_null()? else {
        return Ok(None);
    };
    let failed = match name {
        "SUCCESS" => return Ok(Some(Decision::Success(order_id(row, first + 1)?))),
        "NO_STOCK" => FailReason::NoStock,
        "STALE_EPOCH" => FailReason::StaleEpoch,
        "CANCELLED" => FailReason::Cancelled,
        "EXPIRED" => FailReason::Expired,
        "DUPLICATE" => FailReason::Duplicate(Kept {
            order: order_id(row, first + 1)?,
            attempt: attempt_id(row, first + 2)?,
            quantity: quantity(row, first + 3)?,
        }),
        other => return Err(unknown(first, other)),
    };
    Ok(Some(Decision::Failed(failed)))
}

/// The row id of an attempt that is stored.
pub(crate) fn row_of(connection: &Connection, attempt: AttemptId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM attempts WHERE attempt_id = ?1")?
        .query_row([attempt.as_uuid()], |row| row.get(0))
        .optional()
}

/// Stores an attempt with its decision; of one that is stored, the decision if it has none.
///
/// A success whose order has the id of the attempt's row is ours.
pub(crate) fn decide(
    connection: &Connection,
    id: i64,
    attempt: &Attempt,
    decision: Decision,
    decided_at: Timestamp,
) -> rusqlite::Result<()> {
    let columns = DecisionColumns::from(decision);
    let sql = "INSERT INTO attempts (id, attempt_id, sale_id, product_id, user_id, quantity, epoch,
            seq, reserved_ms, decision, decided_ms, order_id, kept_attempt_id, kept_quantity)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
        ON CONFLICT (attempt_id) DO UPDATE SET decision = excluded.decision,
            decided_ms = excluded.decided_ms, order_id = excluded.order_id,
            kept_attempt_id = excluded.kept_attempt_id, kept_quantity = excluded.kept_quantity
        WHERE decision IS NULL";
    connection.prepare_cached(sql)?.execute(params![
        id,
        attempt.id.as_uuid(),
        attempt.sale.get(),
        attempt.product.get(),
        attempt.user.as_str(),
        attempt.quantity.units(),
        attempt.epoch.get(),
        attempt.seq,
        attempt.reserved_at.as_millis(),
        columns.name,
        decided_at.as_millis(),
        columns.order,
        columns.kept,
        columns.kept_quantity,
    ])?;
    Ok(())
}
