use flashsale_core::{ErrorKind, PortError};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

pub(crate) const ADAPTER: &str = "postgres";

/// Why a [`PostgresConfig`](crate::PostgresConfig) cannot be used. The text is one line and shows no
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The URL does not have the form of one.
    #[error("must be postgres://user:password@host:port/database: {problem}")]
    NotAUrl {
        /// What is wrong with it.
        problem: String,
    },
    /// User or password have characters that end them too early.
    #[error(
        "the user or the password has a character that stands for something else in a URL: write \
        %23 for #, %2F for /, %3F for ?"
    )]
    UnencodedCredentials,
    /// The URL has a parameter that libpq knows and this adapter does not.
    #[error("the parameter {name} of the URL is not supported here: remove it")]
    UnsupportedParameter {
        /// Its name.
        name: String,
    },
    /// The URL has a parameter that means nothing.
    #[error("the URL has an unknown parameter {name:?}: correct or remove it")]
    UnknownParameter {
        /// Its name.
        name: String,
    },
    /// A setting is outside its range.
    #[error("postgres {name} must be from {min} to {max}, but is {value}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u32,
        /// The least it can be.
        min: u32,
        /// The most it can be.
        max: u32,
    },
}

/// What is wrong with the database, and what to do about it, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Remedy(pub(crate) String);

/// The database is not what the adapter needs.
pub(crate) fn misconfigured(operation: &'static str, remedy: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::Misconfigured, ADAPTER, operation).with_source(Remedy(remedy.into()))
}

/// Input that no repetition mends.
pub(crate) fn invalid(operation: &'static str, problem: &'static str) -> PortError {
    PortError::new(ErrorKind::Invalid, ADAPTER, operation).with_source(problem)
}

/// No answer came in time.
pub(crate) fn timed_out(operation: &'static str) -> PortError {
    PortError::new(ErrorKind::Unavailable, ADAPTER, operation).with_source("no answer in time")
}

/// A fault of the driver or the server that has left nothing behind.
pub(crate) fn fault(operation: &'static str, error: sqlx::Error) -> PortError {
    if let Some(remedy) = remedy(&error) {
        return misconfigured(operation, remedy);
    }
    let kind = match &error {
        sqlx::Error::Database(error) => kind_of(error.code().as_deref().unwrap_or_default()),
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => ErrorKind::Corrupt,
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => ErrorKind::Invalid,
        // The connection broke, or there was none in time.
        _ => ErrorKind::Unavailable,
    };
    PortError::new(kind, ADAPTER, operation).with_source(error)
}

/// By the classes of SQLSTATE (PostgreSQL manual, appendix A).
fn kind_of(sqlstate: &str) -> ErrorKind {
    match sqlstate {
        "53100" => ErrorKind::Full,
        // Data that does not fit a type, or a limit of the server.
        _ if sqlstate.starts_with("22") || sqlstate.starts_with("54") => ErrorKind::Invalid,
        // What the constraints object to, and data or an index that is damaged. A unique index or
        // an exclusion only objects if somebody else was faster.
        "23505" | "23P01" => ErrorKind::Unavailable,
        _ if sqlstate.starts_with("23") || matches!(sqlstate, "XX001" | "XX002") => {
            ErrorKind::Corrupt
        }
        // Deadlock, lock or statement timeout, shutdown, no resources, a failed disk.
        _ => ErrorKind::Unavailable,
    }
}

/// What to do about a fault that waiting does not mend.
fn remedy(error: &sqlx::Error) -> Option<String> {
    let error = match error {
        sqlx::Error::Database(error) => error,
        sqlx::Error::Tls(_) if !cfg!(feature = "tls") => {
            let line = "an encrypted connection needs a build with the feature `tls`; correct \
                sslmode in the URL, or use one";
            return Some(line.to_owned());
        }
        sqlx::Error::Tls(problem) => {
            return Some(format!(
                "no encrypted connection: {}; correct sslmode or sslrootcert in the URL",
                one_line(&problem.to_string())
            ));
        }
        // Of the handshake only: what the server sends in clear is checked by the driver.
        sqlx::Error::Io(problem) if problem.kind() == std::io::ErrorKind::InvalidData => {
            if problem.to_string().contains("received fatal alert") {
                return Some(format!(
                    "{}: the server wants a certificate of a CA that it trusts, in sslcert and \
                    sslkey of the URL",
                    one_line(&problem.to_string())
                ));
            }
            return Some(format!(
                "the certificate is not trusted: {}; correct sslrootcert or the host in the URL",
                one_line(&problem.to_string())
            ));
        }
        sqlx::Error::Configuration(problem) => return Some(one_line(&problem.to_string())),
        _ => return None,
    };
    let remedy = match error.code().as_deref().unwrap_or_default() {
        "28P01" | "28000" => "correct the user or the password, or let it in (pg_hba.conf)",
        "3D000" => "create it, or correct the name in the URL",
        "42501" => "grant the rights that the README of flashsale-postgres lists",
        "42P01" | "42883" | "42703" | "42704" | "3F000" => "run `flashsale-server migrate`",
        "42P07" | "42710" | "42723" => "use another database, or a schema of its own",
        "25006" => "connect to the primary, with a role that may write",
        "26000" | "42P05" => "connect without a pooler, or to one in session mode",
        _ => return None,
    };
    Some(format!("{}: {remedy}", one_line(error.message())))
}

/// Whether a connection may be had in a moment: the server is coming up, or has no room right now.
pub(crate) fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        sqlx::Error::Database(error) => {
            let code = error.code();
            matches!(code.as_deref(), Some("57P01" | "57P02" | "57P03" | "53300"))
        }
        _ => false,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What an error says about the connection it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aftermath {
    /// It can go on: the transaction is rolled back.
    Usable,
    /// Another one has to take its place: the transaction is rolled back, but what this one
    /// remembers of the database no longer holds.
    Outdated,
    /// It is gone, and nobody knows whether the transaction was committed.
    Lost,
}

pub(crate) fn aftermath(error: &sqlx::Error) -> Aftermath {
    let error = match error {
        sqlx::Error::Database(error) => error,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            return Aftermath::Lost;
        }
        // Of the client's making, before or after the exchange.
        _ => return Aftermath::Usable,
    };
    let severity = error
        .try_downcast_ref::<PgDatabaseError>()
        .map(PgDatabaseError::severity);
    match error.code().as_deref().unwrap_or_default() {
        _ if matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic)) => Aftermath::Lost,
        // A plan of an older schema, a statement that the server does not know, a primary that is
        // none any more.
        "0A000" | "26000" | "42P05" | "25006" => Aftermath::Outdated,
        _ => Aftermath::Usable,
    }
}
