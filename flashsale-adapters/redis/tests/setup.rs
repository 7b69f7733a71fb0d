//! A Redis that is not set up as it has to be is named in one line, and mended ones are used.
#![allow(clippy::unwrap_used)]

mod shop;

use std::error::Error;

use flashsale_core::ports::{HealthCheck, StockStore, StockStoreExt};
use flashsale_core::testing::{self, HealthChecks};
use flashsale_core::{Effect, ErrorKind, PortError};
use flashsale_redis::{RedisConfig, RedisStockStore};
use flashsale_stack::{Redis, RedisCluster};
use shop::*;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

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
async fn the_health_check_keeps_its_contract() {
    let redis = Redis::start();
    let evicting = Redis::with(&["--maxmemory-policy", "allkeys-lru"]);
    let checks = HealthChecks {
        sound: store(redis.url()),
        away: store("redis://127.0.0.1:1"),
        wrong: store(evicting.url()),
    };
    testing::health_check(&checks).await.assert_passed();
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
        line(&store.reserve_one(&sale(), &request(1)).await.unwrap_err());
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
    line(&store.reserve_one(&sale(), &request(1)).await.unwrap_err());
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
    line(
        &no_cluster
            .reserve_one(&sale(), &request(1))
            .await
            .unwrap_err(),
    );
}

/// Answers as an older Redis does, as far as a check asks it. Returns its address.
async fn older_redis(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve_as(version, client));
        }
    });
    format!("redis://127.0.0.1:{port}")
}

async fn serve_as(version: &str, client: TcpStream) {
    let (read, mut write) = client.into_split();
    let mut lines = BufReader::new(read).lines();
    // A command is *COUNT and then $LENGTH and the word, COUNT times.
    while let Ok(Some(count)) = lines.next_line().await {
        let mut words = Vec::new();
        for _ in 0..count[1..].parse().unwrap() {
            lines.next_line().await.unwrap();
            words.push(lines.next_line().await.unwrap().unwrap());
        }
        let answer = match words[0].to_uppercase().as_str() {
            "HELLO" if version >= "6" => format!(
                "%3\r\n$7\r\nversion\r\n${}\r\n{version}\r\n$5\r\nproto\r\n:3\r\n\
                 $4\r\nrole\r\n$6\r\nmaster\r\n",
                version.len()
            ),
            "INFO" => {
                let info = format!(
                    "redis_version:{version}\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n"
                );
                format!("${}\r\n{info}\r\n", info.len())
            }
            word => format!("-ERR unknown command `{word}`, with args beginning with: \r\n"),
        };
        write.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_redis_before_7_is_refused() {
    // One that knows the protocol, and one that does not.
    for version in ["6.2.14", "5.0.14"] {
        let store = store(older_redis(version).await);
        let told = line(&store.check().await.unwrap_err());
        assert!(
            told.contains("too old: use 7.0 or later"),
            "{version}: {told}"
        );
    }
}

#[test]
fn a_wrong_address_is_refused_without_a_server() {
    for url in [
        "postgres://u:secret@h/d",
        "127.0.0.1:6379",
        "rediss://:secret@h?sslrotcert=/etc/ca.pem",
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

#[tokio::test]
async fn addresses_of_ipv6_and_encoded_passwords_work() {
    let redis = Redis::start();
    let user = [
        "acl",
        "setuser",
        "shop",
        "on",
        ">a#b/c@d,e?f",
        "~*",
        "&*",
        "+@all",
    ];
    redis.cli(&user);
    let mut hosts = vec!["127.0.0.1"];
    // Where there is IPv6.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        hosts.push("[::1]");
    }
    for host in hosts {
        let port = redis.port();
        let url = format!("redis://shop:a%23b%2Fc%40d%2Ce%3Ff@{host}:{port}");
        store(url).check().await.unwrap();
    }
}
