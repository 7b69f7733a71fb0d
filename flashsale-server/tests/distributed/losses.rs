//! A Redis that loses what it had: whoever has bought keeps it, and every unit is sold once.

use std::collections::HashMap;
use std::time::Duration;

use crate::crowd::{Rush, Told, results};
use crate::rushes::{ensure_sold, ensure_told};
use crate::shop::Shop;
use crate::support::ServerProcess;

const UNITS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// A sale, with the processes that it needs.
struct Selling {
    shop: Shop,
    api: ServerProcess,
    _worker: ServerProcess,
    sale: i64,
    product: i64,
}

impl Selling {
    fn start() -> Self {
        let shop = Shop::new();
        let [api, worker] = ["api", "worker"].map(|role| shop.serve(role));
        let (sale, product) = shop.sale("Lamp", UNITS, "now", "+1h");
        Self {
            shop,
            api,
            _worker: worker,
            sale,
            product,
        }
    }

    /// Lets the first so many users come, also those who have been here before, until all is
    /// decided.
    async fn to(&self, users: usize) -> Vec<Told> {
        let rush = Rush {
            addresses: vec![self.api.address],
            sale: self.sale,
            users,
            connections: 10,
            pace: Duration::ZERO,
        };
        let told = rush.run().await;
        let units = users.min(UNITS);
        ensure_told(&told, units);
        let succeeded = results(self.api.address, self.product, &told, PATIENCE).await;
        assert_eq!(succeeded, units);
        told
    }

    /// Sells the rest to a crowd; the earlier buyers come again and have what they had.
    async fn sell_out(&self, earlier: &[Told]) {
        let told = self.to(400).await;
        let attempts: HashMap<_, _> = told
            .iter()
            .filter(|told| told.accepted())
            .map(|told| (&told.user, told.answer.data("attemptId")))
            .collect();
        for earlier in earlier {
            let attempt = earlier.answer.data("attemptId");
            assert_eq!(attempts[&earlier.user], attempt, "{earlier:?}");
        }
        ensure_sold(&self.shop, (self.sale, self.product), UNITS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_emptied_costs_no_order_and_no_unit() {
    let selling = Selling::start();
    let bought = selling.to(40).await;
    selling.shop.redis.cli(&["flushall"]);
    selling.sell_out(&bought).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_older_costs_no_order_and_no_unit() {
    let mut selling = Selling::start();
    selling.to(20).await;
    let copy = selling.shop.redis.copy();
    let bought = selling.to(40).await;
    selling.shop.redis.go_back_to(&copy);
    selling.sell_out(&bought).await;
}
