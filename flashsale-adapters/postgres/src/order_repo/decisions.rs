use flashsale_core::domain::{Decision, OrderId};
use flashsale_core::{ErrorKind, PortError};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::{ADAPTER, fault, invalid};
use crate::rows::{self, KeptColumns, bad};

/// Reads the one row of `flashsale_decisions` that a function answers with.
pub(super) fn read(
    operation: &'static str,
    rows: &[PgRow],
    attempts: usize,
) -> Result<Vec<Decision>, PortError> {
    let columns = rows.first().ok_or_else(|| bad("no row")).and_then(columns);
    let columns = columns.map_err(|error| fault(operation, error))?;
    let Some(columns) = columns else {
        return Err(invalid(operation, "no such sale"));
    };
    let decisions: sqlx::Result<_> = (0..attempts).map(|place| columns.decision(place)).collect();
    decisions
        .map_err(|error| PortError::new(ErrorKind::Corrupt, ADAPTER, operation).with_source(error))
}

/// A null column is a column of nulls.
struct DecisionColumns {
    orders: Vec<Option<i64>>,
    reasons: Option<Vec<Option<String>>>,
    kept_orders: Option<Vec<Option<i64>>>,
    kept_attempts: Option<Vec<Option<Uuid>>>,
    kept_quantities: Option<Vec<Option<i64>>>,
}

/// Nothing if there is no such sale.
fn columns(row: &PgRow) -> sqlx::Result<Option<DecisionColumns>> {
    let Some(orders) = row.try_get(0)? else {
        return Ok(None);
    };
    Ok(Some(DecisionColumns {
        orders,
        reasons: row.try_get(1)?,
        kept_orders: row.try_get(2)?,
        kept_attempts: row.try_get(3)?,
        kept_quantities: row.try_get(4)?,
    }))
}

impl DecisionColumns {
    fn decision(&self, place: usize) -> sqlx::Result<Decision> {
        let order = at(Some(&self.orders), place);
        let order = order.ok_or_else(|| bad("an attempt without a decision"))?;
        let kept = KeptColumns {
            order: at(self.kept_orders.as_ref(), place).copied(),
            attempt: at(self.kept_attempts.as_ref(), place).copied(),
            quantity: at(self.kept_quantities.as_ref(), place).copied(),
        };
        let reason = at(self.reasons.as_ref(), place).map(String::as_str);
        rows::decision(OrderId::new(*order).map_err(bad)?, reason, kept)
    }
}

fn at<T>(column: Option<&Vec<Option<T>>>, place: usize) -> Option<&T> {
    column?.get(place)?.as_ref()
}
