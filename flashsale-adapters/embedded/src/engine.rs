use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use flashsale_core::PortError;
use flashsale_core::domain::SaleId;
use flashsale_core::ports::Clock;
use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{Error as MigrationError, M, MigrationDefinitionError, Migrations};
use tokio::sync::watch;

use crate::attempt_queue::QueueState;
use crate::books::{Books, load_ledger};
use crate::error::{OpenError, fault};
use crate::journal::Journal;
use crate::watchdog::Watchdog;
use crate::{
    EmbeddedAttemptQueue, EmbeddedAttemptRepo, EmbeddedConfig, EmbeddedDeadLetterRepo,
    EmbeddedOrderRepo, EmbeddedSaleRepo, EmbeddedStockStore, EmbeddedUserRepo, rows,
};

const MIGRATIONS: &[M<'static>] = &[M::up(include_str!("../migrations/0001_tables.sql"))];

/// Marks a database file as ours: "FLSH".
const APPLICATION_ID: i32 = 0x464C_5348;

/// Every port over one SQLite file, for one process.
///
/// Opening it restores sales, stock, reservations, orders, results, users and the queue as they
/// were when the last answer was given. Cloning shares the engine; the file is free for another
/// process when the last clone, and the last port made from one, is gone.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, OpenError, SystemClock};
/// use std::sync::Arc;
///
/// let folder = tempfile::tempdir()?;
/// let config = EmbeddedConfig::new(folder.path().join("shop.db"));
/// let engine = EmbeddedEngine::open(config.clone(), Arc::new(SystemClock))?;
/// let second = EmbeddedEngine::open(config, Arc::new(SystemClock));
/// assert!(matches!(second, Err(OpenError::InUse { .. })));
/// # drop(engine);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EmbeddedEngine(Arc<Engine>);

#[derive(Debug)]
pub(crate) struct Engine {
    /// The first field, so that it lets go of the journal first.
    _watchdog: Watchdog,
    pub(crate) config: EmbeddedConfig,
    pub(crate) clock: Arc<dyn Clock>,
    /// Reads what is committed without waiting for the writer. Closed before the journal: whoever
    /// closes last brings the log into the database, and this connection may not write.
    reader: Mutex<Connection>,
    pub(crate) journal: Arc<Journal>,
    books: RwLock<HashMap<SaleId, Arc<Books>>>,
    pub(crate) revision: watch::Sender<u64>,
    /// How many results are stored: none, while the engine decides at once.
    pub(crate) results: AtomicU64,
    pub(crate) queue: QueueState,
    /// Held while the engine lives; the last field, so that the database is closed first.
    _lock: FileLock,
}

impl EmbeddedEngine {
    /// Opens the database, makes or migrates it if need be, and restores everything.
    ///
    /// Blocks for as long as reading the sales of the last [`EmbeddedConfig::keep_ms`] takes.
    ///
    /// # Errors
    /// [`OpenError`]; its text names the file and the remedy.
    pub fn open(config: EmbeddedConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let path = crate::path::real(&config.path)?;
        let lock = lock(&path)?;
        let sqlite = |error| OpenError::from_sqlite(path.clone(), error);
        let writer = open_writer(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&path, flags).map_err(sqlite)?;
        tune(&reader).map_err(sqlite)?;

        let sql = "SELECT coalesce(max(id), 0) FROM attempts";
        let last_id = writer
            .query_row(sql, [], |row| row.get(0))
            .map_err(sqlite)?;
        let sql = "SELECT count(*) FROM results";
        let results: u64 = writer
            .query_row(sql, [], |row| row.get(0))
            .map_err(sqlite)?;
        let since_ms = clock.now().plus_ms(-config.keep_ms).as_millis();
        let books = load_recent(&writer, since_ms).map_err(sqlite)?;
        let queue = QueueState::load(&writer).map_err(sqlite)?;
        let journal = Arc::new(Journal::new(writer, last_id, config.waiting_max));
        let watchdog = Watchdog::start(Arc::clone(&journal))
            .map_err(|error| OpenError::from_io(path.clone(), error))?;
        Ok(Self(Arc::new(Engine {
            _watchdog: watchdog,
            journal,
            reader: Mutex::new(reader),
            books: RwLock::new(books),
            revision: watch::Sender::new(1),
            results: AtomicU64::new(results),
            queue,
            config,
            clock,
            _lock: lock,
        })))
    }

    /// The clock that windows are judged by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.0.clock)
    }

    /// The stock store.
    pub fn stock(&self) -> Arc<EmbeddedStockStore> {
        Arc::new(EmbeddedStockStore(Arc::clone(&self.0)))
    }

    /// The attempt queue.
    pub fn queue(&self) -> Arc<EmbeddedAttemptQueue> {
        Arc::new(EmbeddedAttemptQueue(Arc::clone(&self.0)))
    }

    /// The order repository.
    pub fn orders(&self) -> Arc<EmbeddedOrderRepo> {
        Arc::new(EmbeddedOrderRepo(Arc::clone(&self.0)))
    }

    /// The sale repository.
    pub fn sales(&self) -> Arc<EmbeddedSaleRepo> {
        Arc::new(EmbeddedSaleRepo(Arc::clone(&self.0)))
    }

    /// The user repository.
    pub fn users(&self) -> Arc<EmbeddedUserRepo> {
        Arc::new(EmbeddedUserRepo(Arc::clone(&self.0)))
    }

    /// The audit trail.
    pub fn attempts(&self) -> Arc<EmbeddedAttemptRepo> {
        Arc::new(EmbeddedAttemptRepo(Arc::clone(&self.0)))
    }

    /// What came out of the queue and could not be turned into an order.
    pub fn dead_letters(&self) -> Arc<EmbeddedDeadLetterRepo> {
        Arc::new(EmbeddedDeadLetterRepo(Arc::clone(&self.0)))
    }
}

impl Engine {
    /// Reads what is committed.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        run(&self.reader.lock()).map_err(|error| fault(operation, error))
    }

    /// What is kept in memory for a sale; nothing for a sale that no table knows.
    pub(crate) fn books(&self, sale: SaleId) -> Result<Option<Arc<Books>>, PortError> {
        if let Some(books) = self.books.read().get(&sale) {
            return Ok(Some(Arc::clone(books)));
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM sales WHERE id = ?1)
            OR EXISTS (SELECT 1 FROM stock WHERE sale_id = ?1)";
        let known = self.read("load", |reader| {
            reader
                .prepare_cached(sql)?
                .query_row([sale.get()], |row| row.get(0))
        })?;
        if known {
            self.keep_books(sale).map(Some)
        } else {
            Ok(None)
        }
    }

    /// What is kept in memory for a sale that is known or about to be.
    pub(crate) fn keep_books(&self, sale: SaleId) -> Result<Arc<Books>, PortError> {
        if let Some(books) = self.books.read().get(&sale) {
            return Ok(Arc::clone(books));
        }
        let ledger = self.read("load", |reader| load_ledger(reader, sale))?;
        // Somebody else may have loaded it meanwhile, and used it.
        let mut all = self.books.write();
        let books = all
            .entry(sale)
            .or_insert_with(|| Arc::new(Books::new(ledger)));
        Ok(Arc::clone(books))
    }

    /// Tells whoever watches the sales that one has changed.
    pub(crate) fn sales_changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }
}

fn load_recent(
    connection: &Connection,
    since_ms: i64,
) -> rusqlite::Result<HashMap<SaleId, Arc<Books>>> {
    let mut statement = connection.prepare("SELECT sale_id FROM stock WHERE end_ms >= ?1")?;
    let recent = statement.query_map([since_ms], |row| rows::sale_id(row, 0))?;
    let mut books = HashMap::new();
    for sale in recent {
        let sale = sale?;
        let ledger = load_ledger(connection, sale)?;
        books.insert(sale, Arc::new(Books::new(ledger)));
    }
    Ok(books)
}

/// The lock on the file, while it lives.
#[derive(Debug)]
struct FileLock(File);

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that this process starts has the open file too, until it
        // runs its own program. If this fails, closing has to do.
        let _ = self.0.unlock();
    }
}

/// Takes the file for this process, by a lock that the operating system gives back when the
/// process ends, however it ends.
fn lock(path: &Path) -> Result<FileLock, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |error| OpenError::from_io(path.to_owned(), error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let path = path.to_owned();
            let owner = owner.trim().parse().ok();
            return Err(OpenError::InUse { path, owner });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(pid.as_bytes()))
        .map_err(failed)?;
    Ok(FileLock(file))
}

fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |error| OpenError::from_sqlite(path.to_owned(), error);
    let foreign = || OpenError::Foreign {
        path: path.to_owned(),
    };
    let mut writer = Connection::open(path).map_err(sqlite)?;
    let application: i32 = writer
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(sqlite)?;
    let sql = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = writer
        .query_row(sql, [], |row| row.get(0))
        .map_err(sqlite)?;
    if application != APPLICATION_ID && (application != 0 || objects > 0) {
        return Err(foreign());
    }
    if writer.is_readonly("main").map_err(sqlite)? {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    tune(&writer).map_err(sqlite)?;
    let set = |name: &str, value: &str| writer.pragma_update(None, name, value).map_err(sqlite);
    set("journal_mode", "WAL")?;
    // A commit is on disk when it returns, also after a loss of power.
    set("synchronous", "FULL")?;
    set("fullfsync", "ON")?;
    set("foreign_keys", "ON")?;
    let mode: String = writer
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(sqlite)?;
    if mode != "wal" {
        let problem = format!("the file system does not allow WAL mode (got {mode})");
        let source = std::io::Error::other(problem);
        return Err(OpenError::Unreachable {
            path: path.to_owned(),
            source,
        });
    }
    // First of all, so that a database whose making was cut short is known as ours.
    if application != APPLICATION_ID {
        writer
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(sqlite)?;
    }
    migrate(path, &mut writer)?;
    Ok(writer)
}

fn migrate(path: &Path, writer: &mut Connection) -> Result<(), OpenError> {
    let path = || path.to_owned();
    Migrations::from_slice(MIGRATIONS)
        .to_latest(writer)
        .map_err(|error| match error {
            MigrationError::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
                OpenError::NewerSchema { path: path() }
            }
            MigrationError::RusqliteError { err, .. } => OpenError::from_sqlite(path(), err),
            other => {
                let source = std::io::Error::other(other.to_string());
                OpenError::Unreachable {
                    path: path(),
                    source,
                }
            }
        })
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;")
}

/// Whether a batch keeps to the limit of all ports.
pub(crate) fn check_batch(operation: &'static str, len: usize) -> Result<(), PortError> {
    if len > flashsale_core::ports::BATCH_MAX {
        return Err(crate::error::invalid(
            operation,
            "more than 1,024 items in a batch",
        ));
    }
    Ok(())
}
