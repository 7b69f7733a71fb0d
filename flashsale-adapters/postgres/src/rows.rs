//! How domain values stand in the tables.

use std::error::Error;

use flashsale_core::domain::{
    AttemptId, Decision, Epoch, FailReason, Kept, OrderId, Phase, ProductId, Quantity, SaleId,
    Timestamp, UserId,
};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// A stored value that no version of this program has written.
pub(crate) fn bad(problem: impl Into<Box<dyn Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(problem.into())
}

pub(crate) fn unknown(text: &str) -> sqlx::Error {
    bad(format!("unknown value {text:?}"))
}

pub(crate) fn sale_id(row: &PgRow, column: usize) -> sqlx::Result<SaleId> {
    SaleId::new(row.try_get(column)?).map_err(bad)
}

pub(crate) fn product_id(row: &PgRow, column: usize) -> sqlx::Result<ProductId> {
    ProductId::new(row.try_get(column)?).map_err(bad)
}

pub(crate) fn order_id(row: &PgRow, column: usize) -> sqlx::Result<OrderId> {
    OrderId::new(row.try_get(column)?).map_err(bad)
}

pub(crate) fn attempt_id(row: &PgRow, column: usize) -> sqlx::Result<AttemptId> {
    Ok(AttemptId::from_uuid(row.try_get(column)?))
}

pub(crate) fn user_id(row: &PgRow, column: usize) -> sqlx::Result<UserId> {
    UserId::new(row.try_get::<&str, _>(column)?).map_err(bad)
}

pub(crate) fn timestamp(row: &PgRow, column: usize) -> sqlx::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.try_get(column)?))
}

pub(crate) fn number(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(bad)
}

pub(crate) fn epoch(row: &PgRow, column: usize) -> sqlx::Result<Epoch> {
    let number: i64 = row.try_get(column)?;
    u32::try_from(number).map(Epoch::new).map_err(bad)
}

pub(crate) fn quantity(units: i64) -> sqlx::Result<Quantity> {
    let units = u32::try_from(units).map_err(bad)?;
    Quantity::new(units).ok_or_else(|| bad("a quantity of 0"))
}

/// A number of ours as a column holds it. Beyond 2^63 − 1 there is no such sale, version or place.
pub(crate) fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The most rows that a query returns.
pub(crate) fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
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

pub(crate) fn phase(row: &PgRow, column: usize) -> sqlx::Result<Phase> {
    Ok(match row.try_get(column)? {
        "SCHEDULED" => Phase::Scheduled,
        "OPEN" => Phase::Open,
        "PAUSED" => Phase::Paused,
        "RECOVERING" => Phase::Recovering,
        "CLOSED" => Phase::Closed,
        other => return Err(unknown(other)),
    })
}

/// The order that a user keeps, as its columns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeptColumns {
    pub(crate) order: Option<i64>,
    pub(crate) attempt: Option<Uuid>,
    pub(crate) quantity: Option<i64>,
}

impl From<FailReason> for KeptColumns {
    fn from(reason: FailReason) -> Self {
        match reason {
            FailReason::Duplicate(kept) => Self {
                order: Some(kept.order.get()),
                attempt: Some(kept.attempt.as_uuid()),
                quantity: Some(clamped(kept.quantity.units())),
            },
            FailReason::NoStock
            | FailReason::StaleEpoch
            | FailReason::Cancelled
            | FailReason::Expired => Self::default(),
        }
    }
}

impl KeptColumns {
    fn kept(self) -> sqlx::Result<Kept> {
        let missing = || bad("a duplicate without the order that its user keeps");
        Ok(Kept {
            order: OrderId::new(self.order.ok_or_else(missing)?).map_err(bad)?,
            attempt: AttemptId::from_uuid(self.attempt.ok_or_else(missing)?),
            quantity: quantity(self.quantity.ok_or_else(missing)?)?,
        })
    }
}

/// A decision from its columns: no reason is a success.
pub(crate) fn decision(
    order: OrderId,
    reason: Option<&str>,
    kept: KeptColumns,
) -> sqlx::Result<Decision> {
    let reason = match reason {
        None => return Ok(Decision::Success(order)),
        Some("NO_STOCK") => FailReason::NoStock,
        Some("DUPLICATE") => FailReason::Duplicate(kept.kept()?),
        Some("STALE_EPOCH") => FailReason::StaleEpoch,
        Some("CANCELLED") => FailReason::Cancelled,
        Some("EXPIRED") => FailReason::Expired,
        Some(other) => return Err(unknown(other)),
    };
    Ok(Decision::Failed(reason))
}
