//! What cannot work stops the start, with one line that names the setting and the remedy.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use flashsale_stack::{Postgres, Redis};

use crate::shop::Shop;
use crate::support;

/// The one line that a start ends with, and its exit code.
fn complaint(mut command: Command) -> (String, Option<i32>) {
    command
        .env("JWT_SECRET", support::Shop::SECRET)
        .env("PORT", "0");
    let Output { status, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    let mut errors = text.lines().filter(|line| line.starts_with("error: "));
    let error = errors
        .next()
        .unwrap_or_else(|| panic!("no error in {text:?}"));
    assert_eq!(errors.next(), None, "{text}");
    assert!(text.ends_with(&format!("{error}\n")), "{text}");
    (error["error: ".len()..].to_owned(), status.code())
}

pub(crate) fn ensure_stops(command: Command, setting: &str, remedy: &str) {
    let (complaint, code) = complaint(command);
    assert!(complaint.starts_with(setting), "{setting}: {complaint}");
    assert!(complaint.contains(remedy), "{remedy}: {complaint}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
    assert!(matches!(code, Some(1 | 2)), "{code:?}");
}

#[test]
fn settings_that_cannot_be_used() {
    let shop = Shop::new();
    for (setting, value, remedy) in [
        (
            "DATABASE_URL",
            "postgres://shop:hunter2@:x/y",
            "postgres://",
        ),
        ("REDIS_URL", "http://:hunter2@127.0.0.1", "redis://"),
        ("REDIS_URL", "", "redis://"),
        ("KAFKA_BROKERS", "localhost", "127.0.0.1:9092"),
        ("KAFKA_BROKERS", "", "127.0.0.1:9092"),
        ("KAFKA_PROPERTIES", "hunter2", "has no ="),
        (
            "KAFKA_PROPERTIES",
            "acks=1;sasl.password=hunter2",
            "is not free",
        ),
        ("KAFKA_PROPERTIES", "compresion.type=lz4", "compresion.type"),
        ("KAFKA_PARTITION_BY", "sale", "batch or user"),
        ("ACCEPT_AFTER", "never", "logged or reserved"),
        ("KAFKA_CONSUMER_GROUP", "the workers", "1 to 249 characters"),
        ("KAFKA_CONSUMER_GROUP", "a\tb", "1 to 249 characters"),
        (
            "KAFKA_CONSUMER_GROUP",
            &"w".repeat(250),
            "e.g. flash-sale-worker-group",
        ),
    ] {
        let mut command = shop.serve_command("all");
        command.env(setting, value);
        ensure_stops(command, setting, remedy);
    }
}

#[test]
fn servers_that_refuse_us() {
    let shop = Shop::new();
    let postgres = Postgres::with_password();
    let wrong = postgres.url_for("postgres", "hunter2");
    for arguments in [&["serve"][..], &["migrate"], &["sale", "list"]] {
        let mut command = shop.command(arguments);
        command.env("DATABASE_URL", &wrong);
        ensure_stops(command, "DATABASE_URL", "password");
    }
    let mut command = shop.serve_command("all");
    command.env(
        "DATABASE_URL",
        postgres.url().replace("/postgres", "/nowhere"),
    );
    ensure_stops(command, "DATABASE_URL", "nowhere");

    let redis = Redis::with(&["--requirepass", "open sesame"]);
    let mut command = shop.serve_command("all");
    command.env(
        "REDIS_URL",
        format!("redis://:hunter2@127.0.0.1:{}", redis.port()),
    );
    ensure_stops(command, "REDIS_URL", "password");
}

#[test]
fn a_redis_that_would_forget() {
    let shop = Shop::new();
    shop.redis
        .cli(&["config", "set", "maxmemory-policy", "allkeys-lru"]);
    ensure_stops(shop.serve_command("all"), "REDIS_URL", "noeviction");
}

#[test]
fn a_redis_that_is_too_old() {
    // It knows nothing of what the greeting of a newer one asks.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4_096];
            while let Ok(read @ 1..) = client.read(&mut buffer) {
                // Each command begins with its number of words.
                let commands = buffer[..read].iter().filter(|byte| **byte == b'*');
                let answers = b"-ERR unknown command `HELLO`\r\n".repeat(commands.count());
                let _ = client.write_all(&answers);
            }
        }
    });
    let shop = Shop::new();
    let mut command = shop.serve_command("all");
    command.env("REDIS_URL", format!("redis://127.0.0.1:{port}"));
    ensure_stops(command, "REDIS_URL", "use 7.0 or later");
}

#[test]
fn a_postgres_that_is_too_old() {
    let shop = Shop::new();
    // Asked for its version by an unqualified name, the server takes it for that of another one.
    shop.psql(
        "CREATE SCHEMA older;
         CREATE FUNCTION older.current_setting(name text) RETURNS text LANGUAGE sql AS $$
             SELECT CASE name WHEN 'server_version_num' THEN '130018'
                 WHEN 'server_version' THEN '13.18' ELSE pg_catalog.current_setting(name) END $$;
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = older, pg_catalog, public',
             current_database()); END $$",
    );
    for arguments in [&["serve"][..], &["migrate"], &["sale", "list"]] {
        let remedy = "the server is PostgreSQL 13.18: use 14 or newer";
        ensure_stops(shop.command(arguments), "DATABASE_URL", remedy);
    }
}

#[test]
fn a_database_of_a_newer_build() {
    let shop = Shop::new();
    assert!(shop.run(&["migrate"]).status.success());
    shop.psql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99999999, 'from the future', true, '\\x00', 1)",
    );
    for arguments in [&["serve"][..], &["migrate"], &["sale", "list"]] {
        ensure_stops(shop.command(arguments), "DATABASE_URL", "newer");
    }
}

#[test]
fn commands_need_only_the_settings_that_they_use() {
    let shop = Shop::new();
    let mut command = shop.command(&["migrate"]);
    command.env_remove("REDIS_URL").env_remove("KAFKA_BROKERS");
    assert!(command.output().unwrap().status.success());
    let mut command = shop.command(&["sale", "list", "--json"]);
    command.env_remove("KAFKA_BROKERS");
    assert!(command.output().unwrap().status.success());
    let mut command = shop.command(&["sale", "list"]);
    command.env_remove("REDIS_URL");
    ensure_stops(command, "REDIS_URL", "redis://");
}
