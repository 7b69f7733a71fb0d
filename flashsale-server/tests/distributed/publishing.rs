//! What becomes of an attempt that Kafka does not take, by `ON_PUBLISH_FAILURE`.

use std::time::Duration;

use crate::shop::Shop;
use crate::starting::until;
use crate::support::{self, Answer, ServerProcess};

/// A shop on which Kafka was killed after it had taken an attempt.
async fn without_kafka(what: &str) -> (Shop, [ServerProcess; 2]) {
    let mut shop = Shop::alone();
    let start = |role| {
        let mut command = shop.serve_command(role);
        ServerProcess::start(command.env("ON_PUBLISH_FAILURE", what))
    };
    let processes = [start("api"), start("worker")];
    let (sale, _) = shop.sale("Chair", 1_000, "now", "+1h");
    let path = format!("/api/flash-sale/attempt/{sale}");
    let logged = |answer: &Answer| answer.status == 200 && answer.data("durability") == "LOGGED";
    let token = support::Shop::token("first");
    until("logged", &processes[0], ("POST", &path, &token), logged).await;
    shop.own().kafka.kill();
    (shop, processes)
}

fn success(answer: &Answer) -> bool {
    answer.status == 200 && answer.data("status") == "SUCCESS"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kafka_does_not_take_is_decided_all_the_same() {
    let (shop, [api, _worker]) = without_kafka("complete").await;
    let (sale, product) = shop.sale("Lamp", 1, "now", "+1h");
    let path = format!("/api/flash-sale/attempt/{sale}");
    let token = support::Shop::token("ann");
    let accepted = |answer: &Answer| answer.status == 200;
    let answer = until("a unit", &api, ("POST", &path, &token), accepted).await;
    assert_eq!(answer.data("durability"), "RESERVED");
    // Kafka stays away.
    let path = format!("/api/orders/status/{product}");
    until("an order", &api, ("GET", &path, &token), success).await;
    let orders = format!("SELECT count(*) FROM orders WHERE sale_id = {sale}");
    assert_eq!(shop.count(&orders), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kafka_does_not_take_fails_and_gives_its_unit_back_if_that_is_wanted() {
    let (mut shop, [api, _worker]) = without_kafka("release").await;
    let (sale, product) = shop.sale("Lamp", 1, "now", "+1h");
    let path = format!("/api/flash-sale/attempt/{sale}");
    let token = support::Shop::token("ann");
    let refused = |answer: &Answer| (answer.status, answer.code()) == (503, "UNAVAILABLE");
    let orders = format!("SELECT count(*) FROM orders WHERE sale_id = {sale}");
    let failed = format!("{orders} AND status = 'FAILED' AND reason = 'CANCELLED'");
    let since = std::time::Instant::now();
    while shop.count(&failed) == 0 {
        until("released", &api, ("POST", &path, &token), refused).await;
        assert!(since.elapsed() < support::DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stock = format!("flashsale:stock:{{{product}}}");
    assert_eq!(shop.redis.cli(&["get", &stock]).trim(), "1");
    assert_eq!(shop.count(&format!("{orders} AND status = 'SUCCESS'")), 0);

    shop.own().kafka.restart();
    let accepted = |answer: &Answer| answer.status == 200;
    until("a unit", &api, ("POST", &path, &token), accepted).await;
    let path = format!("/api/orders/status/{product}");
    until("an order", &api, ("GET", &path, &token), success).await;
    assert_eq!(shop.count(&format!("{orders} AND status = 'SUCCESS'")), 1);
    assert_eq!(shop.redis.cli(&["get", &stock]).trim(), "0");
}
