use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::Timestamp;
use flashsale_core::ports::{DeadItem, DeadLetter, DeadLetterContent, DeadLetterRepo};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresDatabase;
use crate::database::Call;
use crate::error::fault;
use crate::order_repo::check_batch;
use crate::rows;

/// The dead letters of a [`PostgresDatabase`].
///
/// Made by [`PostgresDatabase::dead_letters`].
#[derive(Clone, Debug)]
pub struct PostgresDeadLetterRepo(pub(crate) PostgresDatabase);

#[async_trait]
impl DeadLetterRepo for PostgresDeadLetterRepo {
    async fn keep(&self, items: &[DeadItem]) -> Result<(), PortError> {
        const OPERATION: &str = "keep";
        check_batch(OPERATION, items.len())?;
        // The server's texts have no zero bytes; positions and problems are for people.
        let text = |text: &str| text.replace('\0', "\u{fffd}");
        let positions: Vec<_> = items.iter().map(|item| text(&item.position)).collect();
        let problems: Vec<_> = items.iter().map(|item| text(&item.problem)).collect();
        let payloads: Vec<_> = items.iter().map(|item| item.content.stored()).collect();
        let payloads: Vec<_> = payloads.iter().map(|payload| &payload[..]).collect();
        let attempts: Vec<_> = items.iter().map(|item| item.content.is_attempt()).collect();
        let sql = "INSERT INTO dead_letters (position, problem, payload, is_attempt, kept_ms)
            SELECT position, problem, payload, is_attempt, flashsale_now_ms()
            FROM unnest($1::text[], $2::text[], $3::bytea[], $4::boolean[])
                AS i (position, problem, payload, is_attempt)
            ON CONFLICT (position) DO NOTHING";
        let query = || {
            sqlx::query(sql)
                .bind(&positions)
                .bind(&problems)
                .bind(&payloads)
                .bind(&attempts)
        };
        self.0.fetch(OPERATION, Call::Repeatable, query).await?;
        Ok(())
    }

    async fn list(&self, after: Option<i64>, max: usize) -> Result<Vec<DeadLetter>, PortError> {
        const OPERATION: &str = "list";
        let sql = "SELECT id, kept_ms, replayed_ms, position, problem, payload, is_attempt
            FROM dead_letters
            WHERE id > $1 ORDER BY id LIMIT $2";
        let query = || {
            sqlx::query(sql)
                .bind(after.unwrap_or(0))
                .bind(rows::limit(max))
        };
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        let letters: sqlx::Result<_> = rows.iter().map(letter).collect();
        letters.map_err(|error| fault(OPERATION, error))
    }

    async fn find(&self, id: i64) -> Result<Option<DeadLetter>, PortError> {
        const OPERATION: &str = "find";
        let sql = "SELECT id, kept_ms, replayed_ms, position, problem, payload, is_attempt
            FROM dead_letters
            WHERE id = $1";
        let query = || sqlx::query(sql).bind(id);
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        let found = rows.first().map(letter).transpose();
        found.map_err(|error| fault(OPERATION, error))
    }

    async fn replayed(&self, id: i64) -> Result<(), PortError> {
        let sql = "UPDATE dead_letters SET replayed_ms = flashsale_now_ms()
            WHERE id = $1 AND replayed_ms IS NULL";
        let query = || sqlx::query(sql).bind(id);
        self.0.fetch("replayed", Call::Repeatable, query).await?;
        Ok(())
    }
}

fn letter(row: &PgRow) -> sqlx::Result<DeadLetter> {
    let replayed: Option<i64> = row.try_get(2)?;
    Ok(DeadLetter {
        id: row.try_get(0)?,
        kept_at: rows::timestamp(row, 1)?,
        replayed_at: replayed.map(Timestamp::from_millis),
        item: DeadItem {
            position: row.try_get(3)?,
            problem: row.try_get(4)?,
            content: DeadLetterContent::restored(row.try_get(6)?, row.try_get(5)?),
        },
    })
}
