use rusqlite::{Connection, TransactionBehavior, params};
use tempfile::TempDir;
use uuid::Uuid;

/// The yardstick of the embedded engine: the rows that it commits, committed by a plain loop over
/// prepared statements on one thread, with the same schema, settings and batch size.
#[derive(Debug)]
pub struct PlainSqlite {
    connection: Connection,
    next: i64,
    _folder: TempDir,
}

const SCHEMA: &str = include_str!("../../migrations/sqlite/0001_tables.sql");

impl PlainSqlite {
    /// Opens a database in a folder of its own.
    ///
    /// # Panics
    /// If SQLite does not.
    pub fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let connection = Connection::open(folder.path().join("plain.db")).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;",
            )
            .and_then(|()| connection.execute_batch(SCHEMA))
            .and_then(|()| {
                connection.execute_batch(
                    "INSERT INTO products VALUES (1, 'lamp', '');
                    INSERT INTO sales (id, product_id, start_ms, end_ms, phase, initial_stock,
                        remaining_stock, epoch, version, attempts_after)
                    VALUES (1, 1, 0, 9000000000000, 'OPEN', 1000000000, 1000000000, 1, 1, 0);",
                )
            })
            .expect("a schema");
        Self {
            connection,
            next: 1,
            _folder: folder,
        }
    }

    /// Commits `rows` attempts, `batch` at a time.
    ///
    /// # Panics
    /// If SQLite fails.
    pub fn commit(&mut self, batch: u64, mut rows: u64) {
        while rows > 0 {
            let now = batch.min(rows);
            self.commit_batch(now).expect("a commit");
            rows -= now;
        }
    }

    fn commit_batch(&mut self, rows: u64) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO attempts (id, attempt_id, sale_id, product_id, user_id, quantity,
                    epoch, seq, reserved_ms, decision, decided_ms)
                VALUES (?1, ?2, 1, 1, ?3, 1, 1, ?1, 1795395978709, 'SUCCESS', 1795395978709)",
            )?;
            for _ in 0..rows {
                let id = self.next;
                self.next += 1;
                insert.execute(params![id, Uuid::now_v7(), id.to_string()])?;
            }
            let mut take = transaction.prepare_cached(
                "UPDATE sales SET remaining_stock = remaining_stock - ?1 WHERE id = 1",
            )?;
            take.execute([rows])?;
        }
        transaction.commit()
    }
}
