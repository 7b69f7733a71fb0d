use std::path::PathBuf;

/// How an embedded engine works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// The database file. It is made if there is none; beside it SQLite keeps `-wal` and `-shm`,
    /// and the engine a `.lock`.
    pub path: PathBuf,
    /// Who decides about attempts. Default: [`Decides::AtOnce`].
    pub decides: Decides,
    /// The most attempts that may wait for the disk; one more is refused as
    /// [`Busy`](flashsale_core::ErrorKind::Busy). Default 8,192, at least 1.
    pub waiting_max: usize,
    /// The most attempts that the queue keeps for its readers; more are
    /// [`Unconfirmed`](flashsale_core::ports::Published::Unconfirmed). Default 1,000,000.
    pub queue_max: usize,
    /// Opening the engine loads the sales that ended less than this many milliseconds ago; an
    /// older one is loaded when somebody asks for it. Default: seven days.
    pub keep_ms: i64,
    /// The most refusals in the audit trail; the oldest go first. Default 100,000.
    pub refusals_max: u32,
}

/// Who decides about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decides {
    /// The stock store, in the commit that records the attempt: an accepted attempt is an order.
    /// Needs the sales to be kept by the same engine.
    AtOnce,
    /// An order repository, when a worker asks it to. For combining this stock store with another
    /// queue or order repository.
    Later,
}

impl EmbeddedConfig {
    /// The defaults, for the database at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            decides: Decides::AtOnce,
            waiting_max: 8_192,
            queue_max: 1_000_000,
            keep_ms: 7 * 24 * 60 * 60 * 1_000,
            refusals_max: 100_000,
        }
    }
}
