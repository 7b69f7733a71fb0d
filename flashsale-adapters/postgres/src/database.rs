use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use flashsale_core::PortError;
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use tokio::time::{Instant, timeout_at};

use crate::config::{PostgresConfig, unneeded_parameters};
use crate::error::{Aftermath, ConfigError, aftermath, fault, timed_out};
use crate::listener::Listener;
use crate::pool::Pool;
use crate::{
    PostgresAttemptRepo, PostgresDeadLetterRepo, PostgresLeadership, PostgresOrderRepo,
    PostgresSaleRepo, PostgresUserRepo,
};

/// What a call may take beyond the times that the server is given.
const SPARE: Duration = Duration::from_secs(1);

/// A database with everything that the adapters of this crate share: one pool of connections and
/// what is known about changes of sales. Cloning shares it; a process needs one.
#[derive(Clone)]
pub struct PostgresDatabase(Arc<Shared>);

struct Shared {
    config: PostgresConfig,
    /// As the URL says, without the settings of a session.
    options: PgConnectOptions,
    pool: Pool,
    listener: Listener,
    leadership: PostgresLeadership,
    /// Whether something that only costs speed or safety margins was mentioned already.
    warned: AtomicBool,
}

/// What may become of a call whose answer did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Nothing: it only reads.
    Read,
    /// It may have been made, and making it again changes nothing.
    Repeatable,
    /// It may have been made, and must not be made twice.
    Once,
}

impl PostgresDatabase {
    /// A database that is connected to when it is first needed, and again whenever it was away.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting cannot be used, whatever the server says.
    pub fn new(config: PostgresConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let options = config.connect_options()?;
        let unneeded = unneeded_parameters(&config.url);
        if !unneeded.is_empty() {
            tracing::info!(
                ?unneeded,
                "parameters of the URL that make no difference here"
            );
        }
        let sessions = options.clone().options([
            ("statement_timeout", config.statement_timeout_ms.to_string()),
            ("lock_timeout", config.lock_timeout_ms.to_string()),
            // The statements are written for it.
            ("default_transaction_isolation", "read committed".to_owned()),
        ]);
        let wait = Duration::from_millis(config.acquire_timeout_ms.into());
        let pool = Pool::new(sessions, config.connections_max, wait);
        Ok(Self(Arc::new(Shared {
            pool,
            listener: Listener::new(options.clone()),
            leadership: PostgresLeadership::new(options.clone()),
            options,
            config,
            warned: AtomicBool::new(false),
        })))
    }

    /// The orders of this database.
    pub fn orders(&self) -> PostgresOrderRepo {
        PostgresOrderRepo(self.clone())
    }

    /// The sales of this database.
    pub fn sales(&self) -> PostgresSaleRepo {
        PostgresSaleRepo(self.clone())
    }

    /// The users of this database.
    pub fn users(&self) -> PostgresUserRepo {
        PostgresUserRepo(self.clone())
    }

    /// The audit trail of this database.
    pub fn attempts(&self) -> PostgresAttemptRepo {
        PostgresAttemptRepo(self.clone())
    }

    /// The dead letters of this database.
    pub fn dead_letters(&self) -> PostgresDeadLetterRepo {
        PostgresDeadLetterRepo(self.clone())
    }

    /// The choice of who looks after a sale, among all that ask for it in this database.
    pub fn leadership(&self) -> PostgresLeadership {
        self.0.leadership.clone()
    }

    pub(crate) fn config(&self) -> &PostgresConfig {
        &self.0.config
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.0.options
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(crate) fn listener(&self) -> &Listener {
        &self.0.listener
    }

    pub(crate) fn warned(&self) -> &AtomicBool {
        &self.0.warned
    }

    /// The longest that a call takes.
    pub(crate) fn call_time(&self) -> Duration {
        let config = &self.0.config;
        let ms = u64::from(config.acquire_timeout_ms) + u64::from(config.statement_timeout_ms);
        Duration::from_millis(ms) + SPARE
    }

    /// Makes a query, which is a transaction, and returns its rows.
    ///
    /// A pooled connection may have died while nobody looked. A call that must not be made twice
    /// tests it first; any other is made again on a tested one.
    pub(crate) async fn fetch<'q>(
        &self,
        operation: &'static str,
        call: Call,
        query: impl Fn() -> Query<'q, Postgres, PgArguments> + Send + Sync,
    ) -> Result<Vec<PgRow>, PortError> {
        let deadline = Instant::now() + self.call_time();
        let mut tested = call == Call::Once;
        // Whether it may have been made.
        let mut made = false;
        let failed = |error: PortError, made| {
            if made { error.effect_unknown() } else { error }
        };
        for last in [false, true] {
            let loan = timeout_at(deadline, self.0.pool.lend(tested)).await;
            let mut loan = match loan.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(loan) => loan,
                Err(error) => return Err(failed(fault(operation, error), made)),
            };
            let Ok(answer) = timeout_at(deadline, loan.fetch(query())).await else {
                made |= call != Call::Read;
                return Err(failed(timed_out(operation), made));
            };
            let error = match answer {
                Ok(rows) => {
                    loan.give_back();
                    return Ok(rows);
                }
                Err(error) => error,
            };
            let aftermath = aftermath(&error);
            made |= aftermath == Aftermath::Lost && call != Call::Read;
            let again = match aftermath {
                Aftermath::Usable => {
                    loan.give_back();
                    false
                }
                Aftermath::Outdated => true,
                Aftermath::Lost => call != Call::Once,
            };
            if last || !again {
                return Err(failed(fault(operation, error), made));
            }
            tested = true;
        }
        unreachable!("the last try returns")
    }
}

impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDatabase")
            .field("config", &self.0.config)
            .field("idle", &self.0.pool.idle())
            .finish_non_exhaustive()
    }
}
