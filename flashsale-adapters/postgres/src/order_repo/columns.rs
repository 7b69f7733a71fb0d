use flashsale_core::PortError;
use flashsale_core::domain::{Attempt, SaleRef};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use super::check_batch;
use crate::error::invalid;
use crate::rows;

/// A batch of attempts of one sale, column by column, as the functions of the database take it.
#[derive(Debug, Default)]
pub(super) struct AttemptColumns<'a> {
    attempts: Vec<Uuid>,
    users: Vec<&'a str>,
    quantities: Vec<i64>,
    epochs: Vec<i64>,
    seqs: Vec<i64>,
    reserved: Vec<i64>,
}

impl<'a> AttemptColumns<'a> {
    pub(super) fn of(
        operation: &'static str,
        sale: &SaleRef,
        attempts: &'a [Attempt],
    ) -> Result<Self, PortError> {
        check_batch(operation, attempts.len())?;
        let mut columns = Self::default();
        for attempt in attempts {
            if attempt.sale != sale.id {
                return Err(invalid(operation, "an attempt of another sale"));
            }
            columns.attempts.push(attempt.id.as_uuid());
            columns.users.push(attempt.user.as_str());
            let units = attempt.quantity.units();
            columns.quantities.push(rows::clamped(units));
            columns.epochs.push(attempt.epoch.get().into());
            columns.seqs.push(rows::clamped(attempt.seq));
            columns.reserved.push(attempt.reserved_at.as_millis());
        }
        Ok(columns)
    }

    /// Binds the columns in their order.
    pub(super) fn bind_to<'q>(
        &self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(&self.attempts)
            .bind(&self.users)
            .bind(&self.quantities)
            .bind(&self.epochs)
            .bind(&self.seqs)
            .bind(&self.reserved)
    }

    /// All units that are asked for: at most 2^42, because a batch and a quantity have limits.
    pub(super) fn units(&self) -> i64 {
        self.quantities.iter().sum()
    }

    /// The oldest epoch among the attempts.
    pub(super) fn oldest_epoch(&self) -> i64 {
        self.epochs.iter().copied().min().unwrap_or(i64::MAX)
    }
}
