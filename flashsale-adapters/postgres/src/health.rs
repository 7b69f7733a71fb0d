use std::sync::atomic::Ordering;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::ports::HealthCheck;
use sqlx::{PgConnection, Row};
use tokio::time::timeout;

use crate::PostgresDatabase;
use crate::error::{fault, misconfigured, timed_out};
use crate::migrations::Schema;
use crate::server;

const OPERATION: &str = "check";

/// Exchanges messages with the server, for at most the sum of
/// [`acquire_timeout_ms`](crate::PostgresConfig::acquire_timeout_ms),
/// [`statement_timeout_ms`](crate::PostgresConfig::statement_timeout_ms) and one second.
#[async_trait]
impl HealthCheck for PostgresDatabase {
    async fn check(&self) -> Result<(), PortError> {
        let checked = timeout(self.call_time(), self.check_on_any_connection()).await;
        checked.unwrap_or_else(|_| Err(timed_out(OPERATION)))
    }
}

impl PostgresDatabase {
    async fn check_on_any_connection(&self) -> Result<(), PortError> {
        let loan = self.pool().lend_now().await;
        let mut loan = loan.map_err(|error| fault(OPERATION, error))?;
        let checked = self.check_on(loan.connection()).await;
        if checked.is_ok() {
            loan.give_back();
        }
        checked
    }

    async fn check_on(&self, connection: &mut PgConnection) -> Result<(), PortError> {
        server::ensure_writable(OPERATION, connection).await?;
        let failed = |error| fault(OPERATION, error);
        let schema = Schema::of(connection).await.map_err(failed)?;
        schema.ensure_known(OPERATION)?;
        if schema == Schema::Behind {
            let remedy =
                "tables are missing or older than this build: run `flashsale-server migrate`";
            return Err(misconfigured(OPERATION, remedy));
        }
        ensure_rights(connection).await?;
        if !self.warned().swap(true, Ordering::Relaxed) {
            self.warn(connection).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Mentions what works and had better be otherwise.
    async fn warn(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let sql = "SELECT current_setting('max_connections')::bigint
                - current_setting('superuser_reserved_connections')::bigint,
            current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'";
        let row = sqlx::query(sql).fetch_one(connection).await?;
        let (room, syncs): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        let wanted = i64::from(self.config().connections_max) + 1;
        if wanted > room {
            tracing::warn!(
                wanted,
                room,
                "this process may want more connections than the server has; raise max_connections"
            );
        }
        if !syncs {
            tracing::warn!("a power failure can lose orders; set fsync and full_page_writes to on");
        }
        Ok(())
    }
}

/// What the adapters do with the tables and sequences.
async fn ensure_rights(connection: &mut PgConnection) -> Result<(), PortError> {
    let sql = "SELECT string_agg(kind || ' on ' || relation, ', ') FROM (
            SELECT relation, kind FROM (VALUES
                ('products', 'SELECT,INSERT,UPDATE'), ('flash_sales', 'SELECT,INSERT,UPDATE'),
                ('stock_events', 'SELECT,INSERT'), ('users', 'SELECT,INSERT'),
                ('orders', 'SELECT,INSERT'), ('refusals', 'SELECT,INSERT,DELETE'),
                ('refusal_counters', 'SELECT,INSERT,UPDATE')
            ) AS needed (relation, kinds), unnest(string_to_array(kinds, ',')) AS kind
            WHERE NOT has_table_privilege(relation, kind)
            UNION ALL
            SELECT 'orders_id_seq', 'USAGE' WHERE NOT has_sequence_privilege('orders_id_seq', 'USAGE')
        ) AS missing";
    let failed = |error| fault(OPERATION, error);
    let row = sqlx::query(sql)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    match row.try_get::<Option<String>, _>(0).map_err(failed)? {
        Some(missing) => Err(misconfigured(
            OPERATION,
            format!("the role lacks rights: grant {missing}"),
        )),
        None => Ok(()),
    }
}
