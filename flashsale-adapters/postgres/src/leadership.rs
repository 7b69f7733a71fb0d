use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::SaleId;
use flashsale_core::ports::Leadership;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::{fault, timed_out};

/// How long connecting, or an answer, may take.
const EXCHANGE: Duration = Duration::from_secs(2);
const OPERATION: &str = "lead";

/// Leadership by advisory locks: one connection beside the pool holds those of all sales that this
/// process leads, and with it they go.
///
/// Made by [`PostgresDatabase::leadership`](crate::PostgresDatabase::leadership).
#[derive(Clone)]
pub struct PostgresLeadership {
    options: Arc<PgConnectOptions>,
    connection: Arc<Mutex<Option<PgConnection>>>,
}

impl PostgresLeadership {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self {
            options: Arc::new(options),
            connection: Arc::default(),
        }
    }
}

#[async_trait]
impl Leadership for PostgresLeadership {
    /// The answer takes 2 s at most, 4 s if a connection has to be made.
    async fn leads(&self, sale: SaleId) -> Result<bool, PortError> {
        let mut kept = self.connection.lock().await;
        // A call that is dropped half way leaves a connection behind that nobody may use.
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match timeout(EXCHANGE, self.options.connect()).await {
                Ok(connected) => connected.map_err(|error| fault(OPERATION, error))?,
                Err(_) => return Err(timed_out(OPERATION)),
            },
        };
        // Counted locks: the one that is held already is not taken a second time.
        let sql = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'
                AND pid = pg_backend_pid() AND granted AND database =
                    (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (classid::bigint << 32 | objid::bigint) = $1 AND objsubid = 1)
            OR pg_try_advisory_lock($1)";
        let asked = sqlx::query_scalar(sql).bind(key(sale));
        let asked = timeout(EXCHANGE, asked.fetch_one(&mut connection)).await;
        match asked {
            Ok(Ok(leads)) => {
                *kept = Some(connection);
                Ok(leads)
            }
            Ok(Err(error)) => Err(fault(OPERATION, error)),
            Err(_) => Err(timed_out(OPERATION)),
        }
    }
}

/// The number of a sale's lock, apart from the numbers that others may use in the database.
fn key(sale: SaleId) -> i64 {
    const SPACE: i64 = 0x0f5a_1e00_0000_0000;
    SPACE ^ sale.get()
}

impl fmt::Debug for PostgresLeadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLeadership").finish_non_exhaustive()
    }
}
