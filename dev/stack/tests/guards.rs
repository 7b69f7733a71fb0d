//! The guards do what they say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use flashsale_stack::{Kafka, Postgres, Redis, RedisCluster};

fn is_there(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_redis_keeps_its_data_when_it_is_killed() {
    let mut redis = Redis::start();
    redis.cli(&["set", "a", "1"]);
    redis.kill();
    redis.restart();
    assert_eq!(redis.cli(&["get", "a"]).trim(), "1");
    let replica = Redis::replica_of(&redis);
    assert_eq!(replica.cli(&["get", "a"]).trim(), "1");
}

#[test]
fn a_frozen_redis_answers_after_the_thaw() {
    let redis = Redis::start();
    redis.freeze();
    redis.thaw();
    assert_eq!(redis.cli(&["ping"]).trim(), "PONG");
}

#[test]
fn a_cluster_knows_all_its_slots() {
    let mut cluster = RedisCluster::start();
    assert_eq!(cluster.url().split(',').count(), 3);
    let info = cluster.nodes()[0].cli(&["cluster", "info"]);
    assert!(info.contains("cluster_slots_ok:16384"), "{info}");
}

#[test]
fn a_postgres_keeps_its_data_when_it_is_killed() {
    let mut postgres = Postgres::start();
    let url = postgres.fresh_database();
    postgres.psql(&url, "CREATE TABLE t (a int); INSERT INTO t VALUES (7)");
    postgres.kill();
    postgres.restart();
    assert_eq!(postgres.psql(&url, "SELECT a FROM t").trim(), "7");
}

#[test]
fn a_postgres_can_ask_for_a_password() {
    let postgres = Postgres::with_password();
    assert_eq!(postgres.psql(&postgres.url(), "SELECT 1").trim(), "1");
}

#[test]
fn a_kafka_comes_back_on_its_port() {
    let mut kafka = Kafka::reserve();
    kafka.start_now();
    let id = kafka.id().unwrap();
    kafka.kill();
    assert!(!is_there(id));
    kafka.restart();
}

#[test]
fn a_guard_that_is_dropped_leaves_nothing() {
    let ids = {
        let (redis, postgres) = (Redis::start(), Postgres::start());
        [redis.id().unwrap(), postgres.id().unwrap()]
    };
    for id in ids {
        assert!(!is_there(id));
    }
}

/// Not a test by itself: the next one runs it in a process of its own and kills that.
#[test]
fn hold_a_redis() {
    if std::env::var_os("HOLD_A_REDIS").is_some() {
        let redis = Redis::start();
        println!("redis {}", redis.id().unwrap());
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[test]
fn a_server_ends_with_the_process_that_held_it() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_redis", "--nocapture"])
        .env("HOLD_A_REDIS", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let id = lines
        .find_map(|line| line.unwrap().split("redis ").nth(1)?.parse().ok())
        .unwrap();
    assert!(is_there(id));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let since = Instant::now();
    while is_there(id) {
        assert!(since.elapsed() < Duration::from_secs(10), "it lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}
