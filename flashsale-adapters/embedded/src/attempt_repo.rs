use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{SaleId, UserId};
use flashsale_core::ports::{AttemptRecord, AttemptRepo, RecordedOutcome};
use rusqlite::params;

use crate::engine::{Engine, check_batch};
use crate::rows;

/// The audit trail, in the engine's file.
///
/// Accepted attempts are in it because they are orders. Of the refusals it keeps the newest
/// [`refusals_max`](crate::EmbeddedConfig::refusals_max) of all sales.
///
/// Made by [`EmbeddedEngine::attempts`](crate::EmbeddedEngine::attempts).
#[derive(Clone, Debug)]
pub struct EmbeddedAttemptRepo(pub(crate) Arc<Engine>);

#[async_trait]
impl AttemptRepo for EmbeddedAttemptRepo {
    async fn record(&self, refusals: &[AttemptRecord]) -> Result<(), PortError> {
        check_batch("record", refusals.len())?;
        self.0.journal.write("record", |transaction| {
            let sql = "INSERT INTO refusals (sale_id, user_id, at_ms, outcome)
                VALUES (?1, ?2, ?3, ?4)";
            let mut insert = transaction.prepare_cached(sql)?;
            let refused =
                |record: &&AttemptRecord| !matches!(record.outcome, RecordedOutcome::Accepted(_));
            for record in refusals.iter().filter(refused) {
                insert.execute(params![
                    record.sale.get(),
                    record.user.as_str(),
                    record.at.as_millis(),
                    record.outcome.name(),
                ])?;
            }
            let sql = "DELETE FROM refusals WHERE id <= (SELECT max(id) FROM refusals) - ?1";
            transaction
                .prepare_cached(sql)?
                .execute([self.0.config.refusals_max])
        })?;
        Ok(())
    }

    async fn history(
        &self,
        sale: SaleId,
        user: &UserId,
        max: usize,
    ) -> Result<Vec<AttemptRecord>, PortError> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.0.read("history", |reader| {
            let sql = "SELECT reserved_ms AS at_ms, attempt_id, NULL FROM attempts
                    WHERE id > (SELECT coalesce(max(attempts_after), 0) FROM stock WHERE sale_id = ?1)
                        AND sale_id = ?1 AND user_id = ?2
                UNION ALL
                SELECT at_ms, NULL, outcome FROM refusals WHERE sale_id = ?1 AND user_id = ?2
                ORDER BY at_ms DESC LIMIT ?3";
            let mut statement = reader.prepare_cached(sql)?;
            let records = statement.query_map(params![sale.get(), user.as_str(), max], |row| {
                let outcome = match row.get_ref(2)?.as_str_or_null()? {
                    None => RecordedOutcome::Accepted(rows::attempt_id(row, 1)?),
                    Some("SOLD_OUT") => RecordedOutcome::SoldOut,
                    Some("SALE_NOT_STARTED") => RecordedOutcome::NotStarted,
                    Some("SALE_ENDED") => RecordedOutcome::Ended,
                    Some("SALE_PAUSED") => RecordedOutcome::Paused,
                    Some(other) => return Err(rows::unknown(2, other)),
                };
                Ok(AttemptRecord {
                    sale,
                    user: user.clone(),
                    at: rows::timestamp(row, 0)?,
                    outcome,
                })
            })?;
            records.collect()
        })
    }
}
