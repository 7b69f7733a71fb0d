//! A Redis that is not set up as it has to be is named in one line, and mended ones are used.
#![allow(clippy::unwrap_used)]

mod shop;

use std::error::Error;

use flashsale_core::ports::{HealthCheck, StockStore, StockStoreExt};
use flashsale_core::{Effect, ErrorKind, PortError};
use flashsale_redis::{RedisConfig, RedisStockStore};
use flashsale_stack::{Redis, RedisCluster};
use shop::*;

/// The one line that says what is wrong.
fn line(error: &PortError) -> String {
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert_eq!(error.effect(), Effect::None);
    let line = error.source().unwrap().to_string();
    assert!(!line.contains('\n') && !line.contains("secret"), "{line}");
    line
}

#[tokio::test]
async fn a_good_redis_passes() {
    let redis = Redis::start();
    store(redis.url()).check().await.unwrap();
    let cluster = RedisCluster::start();
    store(cluster.url()).check().await.unwrap();
}

#[tokio::test]
async fn a_policy_that_evicts_is_refused() {
    let redis = Redis::with(&["--maxmemory-policy", "allkeys-lru"]);
    let store = store(redis.url());
    let line = line(&store.check().await.unwrap_err());
    assert!(line.contains("set maxmemory-policy noeviction"), "{line}");
    redis.cli(&["config", "set", "maxmemory-policy", "noeviction"]);
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_replica_is_refused() {
    let primary = Redis::start();
    let replica = Redis::replica_of(&primary);
    let line = line(&store(replica.url()).check().await.unwrap_err());
    assert!(line.contains("name the primary"), "{line}");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_a_corrected_one_used() {
    let redis = Redis::start();
    redis.cli(&["config", "set", "requirepass", "secret"]);
    let port = redis.port();
    for credentials in ["", ":secret-not@", "nobody:secret@"] {
        let store = store(format!("redis://{credentials}127.0.0.1:{port}"));
        line(&store.check().await.unwrap_err());
        line(&store.levels(&sale()).await.unwrap_err());
        line(&store.reserve_one(&sale(), &wish(1)).await.unwrap_err());
    }
    let store = store(format!("redis://:secret2@127.0.0.1:{port}"));
    line(&store.check().await.unwrap_err());
    let mut mend = std::process::Command::new("redis-cli");
    mend.args(["-p", &port.to_string(), "-a", "secret", "--no-auth-warning"]);
    mend.args(["config", "set", "requirepass", "secret2"]);
    assert!(mend.status().unwrap().success());
    until("it must be used", || async { store.check().await.is_ok() }).await;
}

#[tokio::test]
async fn a_user_without_rights_is_told() {
    let redis = Redis::start();
    redis.cli(&["acl", "setuser", "weak", "on", ">secret", "~*", "+ping"]);
    let store = store(format!("redis://weak:secret@127.0.0.1:{}", redis.port()));
    line(&store.check().await.unwrap_err());
    line(&store.reserve_one(&sale(), &wish(1)).await.unwrap_err());
}

#[tokio::test]
async fn one_node_is_no_cluster_and_a_cluster_is_not_one_node() {
    let mut cluster = RedisCluster::start();
    let node = store(cluster.nodes()[0].url());
    let told = line(&node.check().await.unwrap_err());
    assert!(told.contains("separated by commas"), "{told}");

    let (one, other) = (Redis::start(), Redis::start());
    let no_cluster = store(format!("{},{}", one.url(), other.url()));
    let told = line(&no_cluster.check().await.unwrap_err());
    assert!(told.contains("give one address"), "{told}");
    line(&no_cluster.reserve_one(&sale(), &wish(1)).await.unwrap_err());
}

#[test]
fn a_wrong_address_is_refused_without_a_server() {
    for url in [
        "postgres://u:secret@h/d",
        "127.0.0.1:6379",
        "rediss://:secret@h",
    ] {
        let error = RedisStockStore::new(RedisConfig::new(url))
            .unwrap_err()
            .to_string();
        assert!(
            !error.contains('\n') && !error.contains("secret"),
            "{error}"
        );
    }
}
