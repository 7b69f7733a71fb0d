use std::sync::atomic::Ordering;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::ports::HealthCheck;
use sqlx::{PgConnection, Row};
use tokio::time::timeout;

use crate::PostgresDatabase;
use crate::error::{fault, misconfigured, timed_out};
use crate::migrations::Schema;

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
        ensure_writable(OPERATION, connection).await?;
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

/// Checks that the server is one that the migrations and the adapters can work with.
pub(crate) async fn ensure_writable(
    operation: &'static str,
    connection: &mut PgConnection,
) -> Result<(), PortError> {
    let sql = "SELECT current_setting('server_version_num')::int,
        current_setting('server_version'), pg_is_in_recovery(),
        current_setting('transaction_read_only') = 'on', current_setting('server_encoding'),
        current_setting('synchronous_commit')";
    let failed = |error| fault(operation, error);
    let row = sqlx::query(sql)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    let facts = Facts {
        version: row.try_get(0).map_err(failed)?,
        version_name: row.try_get(1).map_err(failed)?,
        standby: row.try_get(2).map_err(failed)?,
        read_only: row.try_get(3).map_err(failed)?,
        encoding: row.try_get(4).map_err(failed)?,
        synchronous_commit: row.try_get(5).map_err(failed)?,
    };
    match facts.remedy() {
        Some(remedy) => Err(misconfigured(operation, remedy)),
        None => Ok(()),
    }
}

/// What a server says about itself.
#[derive(Clone, Debug)]
struct Facts {
    version: i32,
    version_name: String,
    standby: bool,
    read_only: bool,
    encoding: String,
    synchronous_commit: String,
}

impl Facts {
    const VERSION_MIN: i32 = 14_00_00;

    /// What is wrong and what to do about it.
    fn remedy(&self) -> Option<String> {
        if self.version < Self::VERSION_MIN {
            let name = &self.version_name;
            return Some(format!("the server is PostgreSQL {name}: use 14 or newer"));
        }
        if self.standby {
            return Some("the server is a standby: connect to the primary".to_owned());
        }
        if self.read_only {
            let remedy = "the session is read-only: set default_transaction_read_only to off for \
                this role and database";
            return Some(remedy.to_owned());
        }
        if self.encoding != "UTF8" {
            let encoding = &self.encoding;
            return Some(format!(
                "the database has the encoding {encoding}: create one with ENCODING 'UTF8'"
            ));
        }
        if self.synchronous_commit == "off" {
            let remedy = "synchronous_commit is off, so orders can be lost: set it to on for this \
                role and database";
            return Some(remedy.to_owned());
        }
        None
    }
}

/// What the adapters do with the tables and sequences.
async fn ensure_rights(connection: &mut PgConnection) -> Result<(), PortError> {
    let sql = "SELECT string_agg(kind || ' on ' || relation, ', ') FROM (
            SELECT relation, kind FROM (VALUES
                ('products', 'SELECT,INSERT,UPDATE'), ('flash_sales', 'SELECT,INSERT,UPDATE'),
                ('stock_events', 'SELECT,INSERT'), ('users', 'SELECT,INSERT'),
                ('orders', 'SELECT,INSERT'), ('purchase_attempts', 'SELECT,INSERT,DELETE'),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn good() -> Facts {
        Facts {
            version: 14_00_00,
            version_name: "14.0".to_owned(),
            standby: false,
            read_only: false,
            encoding: "UTF8".to_owned(),
            synchronous_commit: "remote_apply".to_owned(),
        }
    }

    #[test]
    fn the_oldest_server_that_will_do_has_version_14() {
        assert_eq!(good().remedy(), None);
        let old = Facts {
            version: 13_00_99,
            version_name: "13.99".to_owned(),
            ..good()
        };
        let remedy = old.remedy().unwrap();
        assert!(
            remedy.contains("13.99") && remedy.contains("14"),
            "{remedy}"
        );
    }

    #[test]
    fn every_remedy_is_one_line() {
        let bad = [
            Facts {
                standby: true,
                read_only: true,
                ..good()
            },
            Facts {
                read_only: true,
                ..good()
            },
            Facts {
                encoding: "LATIN1".to_owned(),
                ..good()
            },
            Facts {
                synchronous_commit: "off".to_owned(),
                ..good()
            },
        ];
        for facts in bad {
            let remedy = facts.remedy().unwrap();
            assert!(!remedy.contains('\n') && !remedy.contains("  "), "{remedy}");
        }
    }
}
