//! Bringing the tables up to date.

use std::time::{Duration, Instant};

use flashsale_core::ports::{HealthCheck, SaleRepo};
use flashsale_core::{Effect, ErrorKind, PortError};
use flashsale_postgres::{PostgresConfig, PostgresDatabase};

use crate::shop;

/// The one line of a fault that an operator has to mend.
pub(crate) fn remedy(fault: PortError) -> String {
    assert_eq!(fault.kind(), ErrorKind::Misconfigured, "{fault:?}");
    assert_eq!(fault.effect(), Effect::None);
    let line = std::error::Error::source(&fault).unwrap().to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_migrate_at_once() {
    let url = shop::SERVER.fresh_database();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let database = shop::database(url.as_str());
        tasks.spawn(async move {
            database.migrate().await.unwrap();
            database.check().await.unwrap();
            database.sales().list().await.unwrap()
        });
    }
    assert!(tasks.join_all().await.iter().all(Vec::is_empty));
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let sql = "SELECT count(*) FROM _sqlx_migrations WHERE success";
    assert_eq!(shop::psql(&url, sql), folder.count().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_not_migrated_is_told_so() {
    let database = shop::database(shop::SERVER.fresh_database());
    for fault in [
        database.check().await.unwrap_err(),
        database.sales().list().await.unwrap_err(),
    ] {
        let line = remedy(fault);
        assert!(line.contains("flashsale-server migrate"), "{line}");
    }
    database.migrate().await.unwrap();
    database.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_its_own_keeps_out_of_the_way_of_other_tables() {
    let url = shop::SERVER.fresh_database();
    shop::psql(&url, "CREATE TABLE users (id int); CREATE SCHEMA shop");
    let database = shop::database(url.as_str());
    let line = remedy(database.migrate().await.unwrap_err());
    assert!(line.contains("users") && line.contains("schema"), "{line}");
    let in_schema = format!("{url}?options=-csearch_path%3Dshop");
    let database = shop::database(in_schema.as_str());
    database.migrate().await.unwrap();
    database.check().await.unwrap();
    bring_a_user(&in_schema);
    crate::health::use_everything(&in_schema).await;
    assert_eq!(shop::psql(&url, "SELECT count(*) FROM shop.users"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_or_another_build_is_left_alone() {
    let (url, database) = shop::fresh().await;
    for (sql, word) in [
        (
            "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 2",
            "migration 2",
        ),
        (
            "DELETE FROM _sqlx_migrations WHERE version = 2;
            INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            VALUES (99, 'from the future', true, '\\x00', 1)",
            "newer",
        ),
    ] {
        shop::psql(&url, sql);
        for fault in [
            database.check().await.unwrap_err(),
            database.migrate().await.unwrap_err(),
        ] {
            let line = remedy(fault);
            assert!(line.contains(word), "{line}");
        }
    }
    let sql = "SELECT count(*) FROM _sqlx_migrations WHERE version = 2";
    assert_eq!(shop::psql(&url, sql), "0", "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_the_right_to_create_can_migrate_when_nothing_is_to_be_done() {
    let url = shop::SERVER.fresh_database();
    let role = format!("till_{}", shop::number());
    shop::psql(&url, &format!("CREATE ROLE {role} LOGIN"));
    let url_of_role = url.replace("postgres@", &format!("{role}@"));
    let till = shop::database(url_of_role.as_str());
    let line = remedy(till.migrate().await.unwrap_err());
    assert!(line.contains("permission denied"), "{line}");
    assert!(line.contains("README"), "{line}");

    shop::database(url.as_str()).migrate().await.unwrap();
    let line = remedy(till.migrate().await.unwrap_err());
    assert!(line.contains("_sqlx_migrations"), "{line}");
    shop::psql(&url, &format!("GRANT SELECT ON _sqlx_migrations TO {role}"));
    till.migrate().await.unwrap();

    let line = remedy(till.check().await.unwrap_err());
    assert!(line.contains("INSERT on orders"), "{line}");
    assert!(line.contains("USAGE on orders_id_seq"), "{line}");
    // As in the README.
    shop::psql(
        &url,
        &format!(
            "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {role};
            GRANT UPDATE ON products, flash_sales, refusal_counters TO {role};
            GRANT DELETE ON refusals TO {role};
            GRANT USAGE ON SEQUENCE orders_id_seq TO {role}"
        ),
    );
    till.migrate().await.unwrap();
    till.check().await.unwrap();
    bring_a_user(&url);
    crate::health::use_everything(&url_of_role).await;
}

/// One with the id that the next user would get.
fn bring_a_user(url: &str) {
    let sql = "INSERT INTO users (id, username, email, password_hash, role)
        VALUES (1, 'old', 'old@example.org', '$2y$', 'BUYER')";
    shop::psql(url, sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_takes_no_longer_than_it_may() {
    let url = shop::SERVER.fresh_database();
    let config = PostgresConfig {
        migrate_timeout_ms: 1_000,
        ..shop::config(url.as_str())
    };
    let database = PostgresDatabase::new(config).unwrap();
    // Somebody else migrates and does not come to an end: the lock of sqlx's migrations.
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&url)
        .await
        .unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut other)
        .await
        .unwrap();
    let holding = sqlx::query("SELECT pg_advisory_lock($1)").bind(lock_of(&name));
    holding.execute(&mut other).await.unwrap();
    let since = Instant::now();
    let fault = database.migrate().await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault:?}");
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "{:?}",
        since.elapsed()
    );
    drop(other);
    shop::until("migrated", || async { database.migrate().await.ok() }).await;
}

/// As sqlx makes it: the CRC-32 of the name, times a number of its own.
fn lock_of(database: &str) -> i64 {
    let mut crc = u32::MAX;
    for byte in database.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (0_u32.wrapping_sub(crc & 1)));
        }
    }
    0x3d32_ad9e * i64::from(!crc)
}
