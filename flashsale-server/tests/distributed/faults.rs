//! A server goes away in the middle of a rush and comes back with its data: no accepted attempt is
//! lost, nobody is locked out, every answer comes in time, and everything is decided soon after.

use std::time::Duration;

use tokio::time::sleep;

use crate::crowd::{ANSWER_MAX, Rush, Told, results};
use crate::rushes::{ensure_sold, ensure_told};
use crate::shop::Shop;

const USERS: usize = 3_000;
const UNITS: usize = 400;
const OUTAGE: Duration = Duration::from_secs(5);
/// How long after the return everything may take to be decided.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// A rush that lasts longer than the outage, during which `stop` and then `start` happen.
async fn rush_with_outage(stop: impl FnOnce(&mut Shop), start: impl FnOnce(&mut Shop)) {
    let mut shop = Shop::alone();
    let processes = ["api", "worker"].map(|role| shop.serve(role));
    let (sale, product) = shop.sale("Lamp", UNITS, "now", "+1h");
    let addresses = vec![processes[0].address];
    let rush = Rush {
        addresses: addresses.clone(),
        sale,
        users: USERS,
        connections: 20,
        // 20 connections with 60 users for each 100 ms: units are left when the server goes away.
        pace: Duration::from_millis(100),
    };
    let rushing = tokio::spawn(rush.run());
    sleep(Duration::from_millis(500)).await;
    stop(&mut shop);
    sleep(OUTAGE).await;
    start(&mut shop);
    let told = rushing.await.unwrap();
    let slowest = told.iter().map(|told| told.slowest).max().unwrap();
    assert!(slowest < ANSWER_MAX, "an answer took {slowest:?}");
    ensure_told(&told, UNITS);
    let succeeded = results(addresses[0], product, &told, SETTLE_MAX).await;
    assert_eq!(succeeded, UNITS);
    ensure_sold(&shop, (sale, product), UNITS).await;
    ensure_same_answer(&told, sale, addresses[0]).await;
}

/// Whoever was accepted gets the same attempt again.
async fn ensure_same_answer(told: &[Told], sale: i64, address: std::net::SocketAddr) {
    let mut client = crate::support::Client::connect(address).await.unwrap();
    for told in told.iter().filter(|told| told.accepted()).take(20) {
        let token = crate::support::Shop::token(&told.user);
        let again = client.attempt(sale, &token).await.unwrap();
        assert_eq!(again.status, 200, "{again:?}");
        assert_eq!(again.data("attemptId"), told.answer.data("attemptId"));
        assert_eq!(again.data("status"), "SUCCESS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_away_in_a_rush() {
    rush_with_outage(
        |shop| shop.own().kafka.kill(),
        |shop| shop.own().kafka.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_away_in_a_rush() {
    rush_with_outage(|shop| shop.redis.kill(), |shop| shop.redis.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_away_in_a_rush() {
    rush_with_outage(
        |shop| shop.own().postgres.kill(),
        |shop| shop.own().postgres.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_frozen_in_a_rush() {
    rush_with_outage(|shop| shop.redis.freeze(), |shop| shop.redis.thaw()).await;
}
