//! Each server starts, suffers what it is made to suffer, and keeps its data.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::catch_unwind;
use std::time::Duration;

use flashsale_stack::{Kafka, Postgres, Redis, RedisCluster, Server};

fn connect(server: &Server) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", server.port()))
}

/// The states of a process and its children, as letters.
fn states(server: &Server) -> String {
    let id = server.id().unwrap().to_string();
    let stats = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let state = |stat: String| {
        let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
        let (state, parent) = (fields.next()?.to_owned(), fields.next()?);
        (stat.split(' ').next()? == id || parent == id).then_some(state)
    };
    stats.filter_map(state).collect()
}

#[test]
fn a_redis_keeps_its_data_when_it_is_killed_or_stopped() {
    let mut redis = Redis::start();
    redis.cli(&["set", "a", "1"]);
    redis.kill();
    redis.restart();
    assert_eq!(redis.cli(&["get", "a"]).trim(), "1");
    redis.stop();
    assert!(connect(&redis).is_err());
    redis.restart();
    assert_eq!(redis.cli(&["get", "a"]).trim(), "1");
}

#[test]
fn a_redis_goes_back_to_what_it_had() {
    let mut redis = Redis::start();
    redis.cli(&["set", "a", "1"]);
    let copy = redis.copy();
    redis.cli(&["set", "a", "2"]);
    for _ in 0..2 {
        redis.go_back_to(&copy);
        assert_eq!(redis.cli(&["get", "a"]).trim(), "1");
        redis.cli(&["set", "a", "3"]);
    }
}

#[test]
fn a_redis_takes_further_options() {
    let redis = Redis::with(&["--maxmemory", "2mb"]);
    assert!(
        redis
            .cli(&["config", "get", "maxmemory"])
            .contains("2097152")
    );
}

#[test]
fn a_replica_has_what_the_primary_has() {
    let redis = Redis::start();
    redis.cli(&["set", "a", "1"]);
    let replica = Redis::replica_of(&redis);
    assert_eq!(replica.cli(&["get", "a"]).trim(), "1");
}

#[test]
fn a_frozen_redis_accepts_connections_and_answers_after_the_thaw() {
    let redis = Redis::start();
    redis.freeze();
    let mut stream = connect(&redis).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut answer = [0; 7];
    let error = stream.read_exact(&mut answer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    redis.thaw();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[test]
fn a_frozen_redis_can_be_stopped() {
    let mut redis = Redis::start();
    redis.freeze();
    redis.stop();
    assert!(!redis.is_running());
}

#[test]
fn what_is_reserved_does_not_run_yet() {
    let mut redis = Redis::reserve();
    assert!(connect(&redis).is_err());
    redis.start_now();
    assert_eq!(redis.cli(&["ping"]).trim(), "PONG");
}

#[test]
fn a_server_that_cannot_start_shows_its_log() {
    let result = catch_unwind(|| Redis::with(&["--maxmemory", "a lot"]));
    let text = result.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("Redis has ended"), "{text}");
    assert!(text.contains("argument must be a memory value"), "{text}");
}

#[test]
fn a_cluster_knows_all_its_slots() {
    let mut cluster = RedisCluster::start();
    assert_eq!(cluster.url().split(',').count(), 3);
    let info = cluster.nodes()[0].cli(&["cluster", "info"]);
    assert!(info.contains("cluster_slots_ok:16384"), "{info}");
}

#[test]
fn a_postgres_keeps_its_data_when_it_is_killed_or_stopped() {
    let mut postgres = Postgres::start();
    let url = postgres.fresh_database();
    postgres.psql(&url, "CREATE TABLE t (a int); INSERT INTO t VALUES (7)");
    postgres.kill();
    postgres.restart();
    assert_eq!(postgres.psql(&url, "SELECT a FROM t").trim(), "7");
    postgres.stop();
    postgres.restart();
    assert_eq!(postgres.psql(&url, "SELECT a FROM t").trim(), "7");
}

#[test]
fn a_postgres_freezes_with_all_its_children() {
    let postgres = Postgres::start();
    postgres.freeze();
    let states = states(&postgres);
    assert!(states.len() > 3, "{states}");
    // The last client's child may have ended before, unnoticed.
    assert_eq!(states.replace(['T', 'Z'], ""), "");
    postgres.thaw();
    assert_eq!(postgres.psql(&postgres.url(), "SELECT 1").trim(), "1");
}

#[test]
fn a_postgres_can_ask_for_a_password() {
    let postgres = Postgres::with_password();
    assert_eq!(postgres.psql(&postgres.url(), "SELECT 1").trim(), "1");
    let wrong = postgres.url_for("postgres", "wrong");
    let result = catch_unwind(|| postgres.psql(&wrong, "SELECT 1"));
    let text = result.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("password authentication failed"), "{text}");
}

#[test]
fn databases_are_made_once() {
    let postgres = Postgres::start();
    assert_ne!(postgres.fresh_database(), postgres.fresh_database());
    assert_eq!(postgres.database("shop"), postgres.database("shop"));
}

#[test]
fn a_kafka_comes_back_on_its_port() {
    let mut kafka = Kafka::reserve();
    assert!(connect(&kafka).is_err());
    kafka.start_now();
    let port = kafka.port();
    kafka.kill();
    assert!(connect(&kafka).is_err());
    kafka.restart();
    kafka.freeze();
    assert_eq!(states(&kafka), "T");
    kafka.thaw();
    kafka.restart();
    assert_eq!(kafka.brokers(), format!("127.0.0.1:{port}"));
}
