use std::io;
use std::path::PathBuf;

use flashsale_core::{ErrorKind, PortError};
use rusqlite::ErrorCode;

pub(crate) const ADAPTER: &str = "embedded";

/// Why an engine does not open. The text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another engine has the file open; one file serves one process.
    #[error("{path} is in use by another process{}: stop it, or use another file", owner.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The database file.
        path: PathBuf,
        /// The process that has it, if that is known.
        owner: Option<u32>,
    },
    /// The file is not an SQLite database, or damaged.
    #[error(
        "{path} is not a database, or it is damaged: restore it from a backup, or use another file"
    )]
    NotADatabase {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file is the database of another program.
    #[error("{path} is the database of another program: use another file")]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The file was made by a newer version of this engine.
    #[error("{path} was made by a newer version of this program: use that version or a newer one")]
    NewerSchema {
        /// The database file.
        path: PathBuf,
    },
    /// The file or its folder cannot be written.
    #[error(
        "{path} cannot be written: make the file and its folder writable for this user, or use another place"
    )]
    ReadOnly {
        /// The database file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no room is left on the disk of {path}: make some")]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The folder does not exist, or the file cannot be reached.
    #[error("{path} cannot be opened: {source}")]
    Unreachable {
        /// The database file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// SQLite refuses for another reason.
    #[error("{path} cannot be opened: {source}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl OpenError {
    pub(crate) fn from_io(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { path }
            }
            io::ErrorKind::StorageFull => Self::Full { path },
            _ => Self::Unreachable { path, source },
        }
    }

    pub(crate) fn from_sqlite(path: PathBuf, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::NotADatabase { path, source }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::InUse { path, owner: None }
            }
            _ => Self::Database { path, source },
        }
    }
}

/// A fault of the database during `operation` that has left nothing behind.
pub(crate) fn fault(operation: &'static str, source: rusqlite::Error) -> PortError {
    let kind = match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::OutOfMemory) => {
            ErrorKind::Unavailable
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => ErrorKind::Misconfigured,
        _ => ErrorKind::Corrupt,
    };
    PortError::new(kind, ADAPTER, operation).with_source(source)
}

/// Whether nothing of a transaction can have happened whose commit failed like this. After a
/// failed sync nobody can tell what the disk has.
pub(crate) fn is_clean(source: &rusqlite::Error) -> bool {
    matches!(
        source.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ConstraintViolation
                | ErrorCode::ReadOnly
        )
    )
}

/// A batch that breaks [`BATCH_MAX`](flashsale_core::ports::BATCH_MAX), or other input that no
/// repetition mends.
pub(crate) fn invalid(operation: &'static str, problem: &'static str) -> PortError {
    PortError::new(ErrorKind::Invalid, ADAPTER, operation).with_source(problem)
}
