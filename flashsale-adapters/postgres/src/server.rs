use flashsale_core::PortError;
use sqlx::{PgConnection, Row};

use crate::error::{fault, misconfigured};

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
