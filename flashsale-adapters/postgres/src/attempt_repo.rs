use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{SaleId, UserId};
use flashsale_core::ports::{AttemptRecord, AttemptRepo, RecordedOutcome};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresDatabase;
use crate::database::Call;
use crate::error::fault;
use crate::order_repo::check_batch;
use crate::rows;

/// The audit trail of a [`PostgresDatabase`].
///
/// Accepted attempts are the orders. Of the refusals of each sale
/// it keeps the newest [`refusals_max`](crate::PostgresConfig::refusals_max).
///
/// Made by [`PostgresDatabase::attempts`].
#[derive(Clone, Debug)]
pub struct PostgresAttemptRepo(pub(crate) PostgresDatabase);

#[async_trait]
impl AttemptRepo for PostgresAttemptRepo {
    async fn record(&self, refusals: &[AttemptRecord]) -> Result<(), PortError> {
        const OPERATION: &str = "record";
        check_batch(OPERATION, refusals.len())?;
        let refused =
            |record: &&AttemptRecord| !matches!(record.outcome, RecordedOutcome::Accepted(_));
        let refusals: Vec<_> = refusals.iter().filter(refused).collect();
        if refusals.is_empty() {
            return Ok(());
        }
        let sales: Vec<_> = refusals.iter().map(|r| r.sale.get()).collect();
        let users: Vec<_> = refusals.iter().map(|r| r.user.as_str()).collect();
        let times: Vec<_> = refusals.iter().map(|r| r.at.as_millis()).collect();
        let outcomes: Vec<_> = refusals.iter().map(|r| r.outcome.name()).collect();
        let query = || {
            let query = sqlx::query("SELECT flashsale_record($1, $2, $3, $4, $5)");
            let query = query.bind(&sales).bind(&users).bind(&times).bind(&outcomes);
            query.bind(i64::from(self.0.config().refusals_max))
        };
        self.0.fetch(OPERATION, Call::Once, query).await?;
        Ok(())
    }

    async fn history(
        &self,
        sale: SaleId,
        user: &UserId,
        max: usize,
    ) -> Result<Vec<AttemptRecord>, PortError> {
        const OPERATION: &str = "history";
        // The accepted ones are read from the orders, which have an index by user.
        let sql = "SELECT at_ms, attempt_id, outcome FROM (
                SELECT reserved_ms AS at_ms, attempt_id, 'ACCEPTED' AS outcome, id AS place
                FROM orders WHERE sale_id = $1 AND user_id = $2 AND status = 'SUCCESS'
                UNION ALL
                SELECT reserved_ms, attempt_id, 'ACCEPTED', id
                FROM orders WHERE sale_id = $1 AND user_id = $2 AND status = 'FAILED'
                UNION ALL
                SELECT at_ms, NULL, outcome, number FROM refusals
                WHERE sale_id = $1 AND user_id = $2
            ) AS tried ORDER BY at_ms DESC, place DESC LIMIT $3";
        let query = || {
            let query = sqlx::query(sql).bind(sale.get()).bind(user.as_str());
            query.bind(rows::limit(max))
        };
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        let records: sqlx::Result<_> = rows.iter().map(|row| record(row, sale, user)).collect();
        records.map_err(|error| fault(OPERATION, error))
    }
}

fn record(row: &PgRow, sale: SaleId, user: &UserId) -> sqlx::Result<AttemptRecord> {
    let outcome = match row.try_get(2)? {
        "ACCEPTED" => RecordedOutcome::Accepted(rows::attempt_id(row, 1)?),
        "SOLD_OUT" => RecordedOutcome::SoldOut,
        "SALE_NOT_STARTED" => RecordedOutcome::NotStarted,
        "SALE_ENDED" => RecordedOutcome::Ended,
        "SALE_PAUSED" => RecordedOutcome::Paused,
        other => return Err(rows::unknown(other)),
    };
    Ok(AttemptRecord {
        sale,
        user: user.clone(),
        at: rows::timestamp(row, 0)?,
        outcome,
    })
}
