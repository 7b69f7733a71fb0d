//! A Redis Cluster whose slots move and whose nodes come and go.
#![allow(clippy::unwrap_used)]

mod shop;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use flashsale_core::domain::{Decision, OpenOutcome, ReserveOutcome, SaleRef, SaleResult, UserId};
use flashsale_core::ports::{StockStore, StockStoreExt};
use flashsale_core::{Effect, ErrorKind, PortError};
use flashsale_redis::RedisStockStore;
use flashsale_stack::{Redis, RedisCluster};
use shop::*;
use tokio::task::JoinSet;

/// The node that has the slot of the product 42, and another one.
fn owner_and_other(cluster: &mut RedisCluster) -> (usize, usize) {
    let owner = cluster
        .nodes()
        .iter()
        .position(|node| !node.cli(&["get", "flashsale:stock:{42}"]).contains("MOVED"));
    let owner = owner.unwrap();
    (owner, (owner + 1) % 3)
}

/// A sale of a product that this node does not have.
fn sale_on_another_node(cluster: &mut RedisCluster, node: usize) -> SaleRef {
    let node = &cluster.nodes()[node];
    let is_elsewhere = |product: &i64| {
        let key = format!("flashsale:stock:{{{product}}}");
        node.cli(&["get", &key]).contains("MOVED")
    };
    sale_of(7, (1..).find(is_elsewhere).unwrap())
}

fn id(node: &Redis) -> String {
    node.cli(&["cluster", "myid"]).trim().to_owned()
}

/// What the nodes answered with that a client had to follow.
fn redirections(cluster: &mut RedisCluster, kind: &str) -> u64 {
    let count = |node: &Redis| {
        let stats = node.cli(&["info", "errorstats"]);
        let prefix = format!("errorstat_{kind}:count=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
        line.map_or(0, |count| count.trim().parse::<u64>().unwrap())
    };
    cluster.nodes().iter().map(count).sum()
}

#[tokio::test]
async fn sales_are_spread_and_their_slots_may_move() {
    let mut cluster = RedisCluster::start();
    let store = store(cluster.url());
    open(&store, 100).await;
    reserve(&store, 1).await;
    let (from, to) = owner_and_other(&mut cluster);
    for node in cluster.nodes() {
        node.cli(&["config", "resetstat"]);
    }
    let slot = cluster.nodes()[from].cli(&["cluster", "keyslot", "flashsale:stock:{42}"]);
    let slot = slot.trim().to_owned();
    let (from_id, to_id) = (id(&cluster.nodes()[from]), id(&cluster.nodes()[to]));
    let nodes = cluster.nodes();
    nodes[to].cli(&["cluster", "setslot", &slot, "importing", &from_id]);
    nodes[from].cli(&["cluster", "setslot", &slot, "migrating", &to_id]);
    reserve(&store, 2).await;
    // Half of the keys are here and half there: nobody can do it now.
    let port = nodes[to].port().to_string();
    let moves = |key: &str| nodes[from].cli(&["migrate", "127.0.0.1", &port, key, "0", "1000"]);
    moves("flashsale:stock:{42}");
    let error = store.reserve_one(&sale(), &request(3)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.effect()),
        (ErrorKind::Unavailable, Effect::None)
    );
    for name in ["sale", "users", "outbox"] {
        moves(&format!("flashsale:{name}:{{42}}"));
    }
    // All keys are there, but the slot is not.
    reserve(&store, 3).await;
    for node in [to, from] {
        nodes[node].cli(&["cluster", "setslot", &slot, "node", &to_id]);
    }
    reserve(&store, 4).await;
    assert_eq!(units(&store).await, (96, 4, 0));
    assert!(redirections(&mut cluster, "ASK") > 0);
    assert!(redirections(&mut cluster, "MOVED") > 0);
}

#[tokio::test]
async fn a_node_that_is_away_stops_its_own_sales_only() {
    let mut cluster = RedisCluster::start();
    let store = store(cluster.url());
    for node in cluster.nodes() {
        node.cli(&["config", "set", "cluster-require-full-coverage", "no"]);
    }
    open(&store, 100).await;
    let (lost, _) = owner_and_other(&mut cluster);
    let elsewhere = sale_on_another_node(&mut cluster, lost);
    let opened = store.open(&elsewhere, &snapshot(100)).await.unwrap();
    assert_eq!(opened, OpenOutcome::Opened);
    reserve(&store, 1).await;
    cluster.nodes()[lost].kill();
    until("the loss must be told", || async {
        store.reserve_one(&sale(), &request(2)).await.is_err()
    })
    .await;
    for number in 0..20 {
        let outcome = store
            .reserve_one(&elsewhere, &request(number))
            .await
            .unwrap();
        assert!(
            matches!(outcome, ReserveOutcome::Reserved(_)),
            "{outcome:?}"
        );
    }
    cluster.nodes()[lost].restart();
    let took = until("it must sell again", || async {
        store.reserve_one(&sale(), &request(3)).await.is_ok()
    })
    .await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(matches!(
        buy(&store, 1).await,
        ReserveOutcome::AlreadyAllocated(_)
    ));
}

/// The driver's own cluster client holds up all nodes for this one: `src/cluster.rs` says why.
#[tokio::test]
async fn a_node_that_hangs_while_a_process_starts_holds_up_its_own_sales_only() {
    let mut cluster = RedisCluster::start();
    let url = cluster.url();
    let first = store(&url);
    open(&first, 100).await;
    let (hanging, _) = owner_and_other(&mut cluster);
    let elsewhere = sale_on_another_node(&mut cluster, hanging);
    first.open(&elsewhere, &snapshot(1_000)).await.unwrap();
    cluster.nodes()[hanging].freeze();

    // Whoever waits for a connection to the node is refused before that could end.
    let late = with(&url, |config| {
        (config.budget_ms, config.connect_ms) = (2_000, 10_000);
    });
    let crowd: JoinSet<()> = (0..8)
        .map(|number| {
            let late = Arc::clone(&late);
            async move {
                loop {
                    late.reserve_one(&sale(), &request(number))
                        .await
                        .unwrap_err();
                }
            }
        })
        .collect();
    for number in 0..50 {
        let outcome = late.reserve_one(&elsewhere, &request(number)).await;
        assert!(
            matches!(outcome, Ok(ReserveOutcome::Reserved(_))),
            "{number}: {outcome:?}"
        );
    }
    drop(crowd);
}

#[tokio::test]
async fn a_replica_that_takes_over_is_found() {
    let mut cluster = RedisCluster::start();
    let store = punctual(cluster.url());
    open(&store, 100).await;
    let (lost, _) = owner_and_other(&mut cluster);
    let bus = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bus_port = bus.local_addr().unwrap().port().to_string();
    drop(bus);
    let replica = Redis::with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-port",
        &bus_port,
    ]);
    let primary = &cluster.nodes()[lost];
    let (primary_id, primary_port) = (id(primary), primary.port().to_string());
    replica.cli(&["cluster", "meet", "127.0.0.1", &primary_port]);
    until("they must know each other", || async {
        replica
            .cli(&["cluster", "replicate", &primary_id])
            .contains("OK")
    })
    .await;
    let replica_id = id(&replica);
    let nodes = &*cluster.nodes();
    until("all must know the replica", || async {
        let mut lines = nodes.iter().map(|node| node.cli(&["cluster", "nodes"]));
        lines.all(|lines| {
            let own = lines.lines().find(|line| line.starts_with(&replica_id));
            own.is_some_and(|line| line.contains("slave"))
        })
    })
    .await;
    reserve(&store, 1).await;
    until("the replica must have it", || async {
        let info = replica.cli(&["info", "replication"]);
        info.contains("master_link_status:up") && replica.cli(&["dbsize"]).trim() == "4"
    })
    .await;
    cluster.nodes()[lost].kill();
    let second = request(2);
    until("the replica must sell", || async {
        match store.reserve_one(&sale(), &second).await {
            Ok(outcome) => matches!(
                outcome,
                ReserveOutcome::Reserved(_) | ReserveOutcome::AlreadyAllocated(_)
            ),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                false
            }
        }
    })
    .await;
    assert!(matches!(
        buy(&store, 1).await,
        ReserveOutcome::AlreadyAllocated(_)
    ));
    assert_eq!(units(&store).await, (98, 2, 0));
}

/// That each of these users has bought.
fn results_of(users: &[UserId]) -> Vec<SaleResult> {
    let result = |user: &UserId| SaleResult {
        user: user.clone(),
        product: sale().product,
        sale: sale().id,
        attempt: fresh_id(),
        decision: Decision::Success(order(1)),
        reserved_at: ALWAYS.start,
    };
    users.iter().map(result).collect()
}

/// Asks for the results of all these users at the same time.
async fn each_by_himself(
    store: &Arc<RedisStockStore>,
    users: &[UserId],
) -> Vec<(UserId, Result<Option<SaleResult>, PortError>)> {
    let mut calls = JoinSet::new();
    for user in users {
        let (store, user) = (store.clone(), user.clone());
        calls.spawn(async move {
            let result = store.result(sale().product, &user).await;
            (user, result)
        });
    }
    calls.join_all().await
}

#[tokio::test]
async fn a_node_that_is_away_costs_only_its_own_users_their_results() {
    let mut cluster = RedisCluster::start();
    let store = punctual(cluster.url());
    for node in cluster.nodes() {
        node.cli(&["config", "set", "cluster-require-full-coverage", "no"]);
    }
    let users: Vec<UserId> = (0..60).map(user).collect();
    let (early, late): (Vec<_>, Vec<_>) = results_of(&users)
        .into_iter()
        .enumerate()
        .partition(|(number, _)| number % 2 == 0);
    let plain = |results: Vec<(usize, SaleResult)>| -> Vec<SaleResult> {
        results.into_iter().map(|(_, result)| result).collect()
    };
    let (early, late) = (plain(early), plain(late));
    store.put_results(&early).await.unwrap();
    let lost = |user: &UserId, node: &Redis| {
        let key = format!("flashsale:result:{{{user}}}:{{{}}}", sale().product);
        !node.cli(&["get", &key]).contains("MOVED")
    };
    let node = &cluster.nodes()[0];
    let away: BTreeSet<String> = users
        .iter()
        .filter(|user| lost(user, node))
        .map(ToString::to_string)
        .collect();
    assert!((1..users.len()).contains(&away.len()), "{away:?}");
    let is_away = |user: &UserId| away.contains(&user.to_string());
    for frozen in [true, false] {
        match frozen {
            true => cluster.nodes()[0].freeze(),
            false => cluster.nodes()[0].kill(),
        }
        let error = store.put_results(&late).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.effect(), Effect::Unknown, "others are written");
        let bought = early.iter().chain(&late);
        let bought: HashMap<_, _> = bought.map(|result| (result.user.clone(), result)).collect();
        for (user, result) in each_by_himself(&store, &users).await {
            match is_away(&user) {
                true => assert_eq!(result.unwrap_err().effect(), Effect::None, "{user}"),
                false => assert_eq!(result.unwrap().as_ref(), Some(bought[&user]), "{user}"),
            }
        }
        // A batch has one outcome.
        store.results(sale().product, &users).await.unwrap_err();
    }
}

#[tokio::test]
async fn results_of_many_users_are_on_many_nodes() {
    let mut cluster = RedisCluster::start();
    let store = store(cluster.url());
    let users: Vec<UserId> = (0..500).map(user).collect();
    let results = results_of(&users);
    store.put_results(&results).await.unwrap();
    let found = store.results(sale().product, &users).await.unwrap();
    let expected: Vec<_> = results.into_iter().map(Some).collect();
    assert_eq!(found, expected);
    let sizes: BTreeSet<_> = cluster
        .nodes()
        .iter()
        .map(|node| node.cli(&["dbsize"]))
        .collect();
    assert!(!sizes.contains("0"), "{sizes:?}");
}

#[tokio::test]
async fn a_cluster_is_found_by_any_of_its_addresses() {
    let mut cluster = RedisCluster::start();
    let nobody = Redis::reserve();
    let url = format!("{},{}", nobody.url(), cluster.nodes()[2].url());
    let store = store(url);
    open(&store, 1).await;
    reserve(&store, 1).await;
}
