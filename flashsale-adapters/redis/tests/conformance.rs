//! The stock store keeps its contract, on one Redis and on a Redis Cluster, and answers random
//! commands as the ledger does.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::testing::{self, Fixture, ManualClock, StockStoreRig, Task};
use flashsale_redis::{RedisConfig, RedisStockStore};
use flashsale_stack::{Redis, RedisCluster};

/// Places are prefixes of one server.
#[derive(Debug)]
struct Prefixes {
    url: String,
    sold_out_ms: u32,
    random_sales: u64,
}

#[async_trait]
impl Fixture<StockStoreRig> for Prefixes {
    async fn open(&self, place: &str) -> Result<StockStoreRig, PortError> {
        let clock = Arc::new(ManualClock::default());
        let mut config = RedisConfig::new(&self.url);
        config.prefix = place.to_owned();
        config.sold_out_ms = self.sold_out_ms;
        // A busy machine is no fault.
        (config.budget_ms, config.response_ms) = (5_000, 2_000);
        config.work_budget_ms = 20_000;
        config.clock = Some(clock.clone());
        Ok(StockStoreRig {
            store: Arc::new(RedisStockStore::new(config).unwrap()),
            clock,
            sales: None,
            decides_at_once: false,
        })
    }

    fn durable(&self) -> bool {
        true
    }

    /// `RANDOM_SALES=2000` makes it a long run.
    fn random_sales(&self) -> u64 {
        let wished = std::env::var("RANDOM_SALES");
        let wished = wished.ok().and_then(|count| count.parse().ok());
        wished.unwrap_or(self.random_sales)
    }

    async fn together(&self, tasks: Vec<Task>) {
        let mut set = tokio::task::JoinSet::new();
        for task in tasks {
            set.spawn(task);
        }
        set.join_all().await;
    }
}

async fn check(prefixes: Prefixes) {
    let report = testing::stock_store(&prefixes).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redis_keeps_the_contract() {
    let redis = Redis::start();
    check(Prefixes {
        url: redis.url(),
        sold_out_ms: 0,
        random_sales: 60,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redis_keeps_the_contract_while_it_remembers_what_is_sold_out() {
    let redis = Redis::start();
    check(Prefixes {
        url: redis.url(),
        sold_out_ms: RedisConfig::new("").sold_out_ms,
        random_sales: 60,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_contract() {
    let cluster = RedisCluster::start();
    check(Prefixes {
        url: cluster.url(),
        sold_out_ms: 0,
        random_sales: 30,
    })
    .await;
}
