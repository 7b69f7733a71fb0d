use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::ports::{DeadItem, DeadLetter, DeadLetterContent, DeadLetterRepo};
use rusqlite::{OptionalExtension, Row, params};

use crate::engine::{Engine, check_batch};
use crate::rows;

/// Dead letters, in the engine's file.
///
/// Made by [`EmbeddedEngine::dead_letters`](crate::EmbeddedEngine::dead_letters).
#[derive(Clone, Debug)]
pub struct EmbeddedDeadLetterRepo(pub(crate) Arc<Engine>);

const LETTER: &str = "SELECT id, kept_ms, replayed_ms, position, problem, payload, is_attempt
    FROM dead_letters";

#[async_trait]
impl DeadLetterRepo for EmbeddedDeadLetterRepo {
    async fn keep(&self, items: &[DeadItem]) -> Result<(), PortError> {
        check_batch("keep", items.len())?;
        let now = self.0.clock.now().as_millis();
        self.0.journal.write("keep", |transaction| {
            let sql = "INSERT INTO dead_letters (position, problem, payload, kept_ms, is_attempt)
                VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            let mut insert = transaction.prepare_cached(sql)?;
            for item in items {
                let DeadItem {
                    position,
                    problem,
                    content,
                } = item;
                let (payload, is_attempt) = (content.stored(), content.is_attempt());
                insert.execute(params![position, problem, payload, now, is_attempt])?;
            }
            Ok(())
        })
    }

    async fn list(&self, after: Option<i64>, max: usize) -> Result<Vec<DeadLetter>, PortError> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.0.read("list", |reader| {
            let sql = format!("{LETTER} WHERE id > ?1 ORDER BY id LIMIT ?2");
            let mut statement = reader.prepare_cached(&sql)?;
            let letters = statement.query_map(params![after.unwrap_or(0), max], letter)?;
            letters.collect()
        })
    }

    async fn find(&self, id: i64) -> Result<Option<DeadLetter>, PortError> {
        self.0.read("find", |reader| {
            let mut statement = reader.prepare_cached(&format!("{LETTER} WHERE id = ?1"))?;
            statement.query_row([id], letter).optional()
        })
    }

    async fn replayed(&self, id: i64) -> Result<(), PortError> {
        let now = self.0.clock.now().as_millis();
        self.0.journal.write("replayed", |transaction| {
            let sql = "UPDATE dead_letters SET replayed_ms = ?2
                WHERE id = ?1 AND replayed_ms IS NULL";
            transaction.prepare_cached(sql)?.execute(params![id, now])
        })?;
        Ok(())
    }
}

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let replayed = row.get_ref(2)?.as_i64_or_null()?;
    Ok(DeadLetter {
        id: row.get(0)?,
        kept_at: rows::timestamp(row, 1)?,
        replayed_at: replayed.map(flashsale_core::domain::Timestamp::from_millis),
        item: DeadItem {
            position: row.get(3)?,
            problem: row.get(4)?,
            content: DeadLetterContent::restored(row.get(6)?, row.get(5)?),
        },
    })
}
