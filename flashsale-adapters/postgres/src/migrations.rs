use std::time::Duration;

use flashsale_core::PortError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use tokio::time::timeout;

use crate::PostgresDatabase;
use crate::error::{fault, misconfigured, timed_out};
use crate::server;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

const OPERATION: &str = "migrate";

/// How the tables of a database relate to this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    UpToDate,
    /// Some migrations, or all, are still to be made.
    Behind,
    /// It has a migration that this build does not know.
    Newer(i64),
    /// One of its migrations is another than this build's.
    Other(i64),
}

impl Schema {
    /// Reads which migrations were made.
    pub(crate) async fn of(connection: &mut PgConnection) -> sqlx::Result<Self> {
        const UNDEFINED_TABLE: &str = "42P01";
        let sql = "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";
        let made = match sqlx::query(sql).fetch_all(connection).await {
            Ok(made) => made,
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(UNDEFINED_TABLE) =>
            {
                return Ok(Self::Behind);
            }
            Err(error) => return Err(error),
        };
        for row in &made {
            let version = row.try_get(0)?;
            match MIGRATOR.iter().find(|known| known.version == version) {
                None => return Ok(Self::Newer(version)),
                Some(known) if *known.checksum != *row.try_get::<&[u8], _>(1)? => {
                    return Ok(Self::Other(version));
                }
                Some(_) => {}
            }
        }
        Ok(if made.len() == MIGRATOR.iter().count() {
            Self::UpToDate
        } else {
            Self::Behind
        })
    }

    /// Nothing else than being behind can be mended by this build.
    pub(crate) fn ensure_known(self, operation: &'static str) -> Result<(), PortError> {
        match self {
            Self::UpToDate | Self::Behind => Ok(()),
            Self::Newer(version) => Err(misconfigured(
                operation,
                format!(
                    "the database has migration {version}, which this build does not know: use the \
                     newer build that made it, or another database or schema"
                ),
            )),
            Self::Other(version) => Err(misconfigured(
                operation,
                format!(
                    "migration {version} of the database is not this build's: use the build that \
                     made it, or another database or schema"
                ),
            )),
        }
    }
}

impl PostgresDatabase {
    /// Brings the tables up to date. Does nothing, and needs no right to, if they are. Safe from
    /// several processes at once, of which one does it and the others wait, and safe to repeat.
    ///
    /// # Errors
    /// [`Misconfigured`](flashsale_core::ErrorKind::Misconfigured) with one line that says what to
    /// do, if the server is too old, read-only or refuses us, if the role may not create tables,
    /// or if a newer build has been here. [`Unavailable`](flashsale_core::ErrorKind::Unavailable)
    /// if it does not answer, or not within
    /// [`migrate_timeout_ms`](crate::PostgresConfig::migrate_timeout_ms).
    pub async fn migrate(&self) -> Result<(), PortError> {
        let limit = Duration::from_millis(self.config().migrate_timeout_ms.into());
        match timeout(limit, self.migrate_within(limit)).await {
            Ok(migrated) => migrated,
            Err(_) => Err(timed_out(OPERATION).effect_unknown()),
        }
    }

    async fn migrate_within(&self, limit: Duration) -> Result<(), PortError> {
        let failed = |error| fault(OPERATION, error);
        // Others may hold the lock for as long as it takes, and a migration may take as long.
        let options = self.options().clone().options([
            ("statement_timeout", limit.as_millis()),
            ("lock_timeout", limit.as_millis()),
        ]);
        let connecting = timeout(self.call_time(), options.connect()).await;
        let connecting = connecting.map_err(|_| timed_out(OPERATION))?;
        let mut connection = connecting.map_err(failed)?;
        server::ensure_writable(OPERATION, &mut connection).await?;
        let schema = Schema::of(&mut connection).await.map_err(failed)?;
        schema.ensure_known(OPERATION)?;
        // Whether or not the server hears the goodbye, this connection is not used again.
        let _ = connection.close().await;
        match schema {
            Schema::Behind => migrate(options).await,
            _ => Ok(()),
        }
    }
}

/// Has the others wait, and makes what is still to be made.
async fn migrate(options: PgConnectOptions) -> Result<(), PortError> {
    // Of one connection, which is closed with it: a fault leaves the lock on it.
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect_lazy_with(options);
    let migrated = MIGRATOR.run(&pool).await;
    pool.close().await;
    match migrated {
        Ok(()) => Ok(()),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
            Err(fault(OPERATION, error))
        }
        Err(MigrateError::VersionMissing(version)) => {
            Schema::Newer(version).ensure_known(OPERATION)
        }
        Err(MigrateError::VersionMismatch(version)) => {
            Schema::Other(version).ensure_known(OPERATION)
        }
        Err(other) => Err(misconfigured(OPERATION, other.to_string())),
    }
}
