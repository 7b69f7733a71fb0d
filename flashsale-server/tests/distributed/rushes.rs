//! More users than units, at several processes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crowd::{Rush, Told, results};
use crate::shop::Shop;
use crate::support::{self, Client};

const UNITS: usize = 500;

/// Waits until every unit is accounted for, and checks the books of a sale that is sold out.
pub(crate) async fn ensure_sold(shop: &Shop, (sale, product): (i64, i64), units: usize) {
    let since = Instant::now();
    let report = loop {
        let report = shop.audit(sale);
        if report["verdict"] == "EXACT" && report["store"]["reserved"] == 0 {
            break report;
        }
        let waited = since.elapsed();
        assert!(waited < Duration::from_secs(30), "never exact: {report}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(report["orders"], Value::from(units), "{report}");
    let orders = format!("SELECT count(*) FROM orders WHERE sale_id = {sale}");
    let sold = format!("{orders} AND status = 'SUCCESS'");
    assert_eq!(shop.count(&sold), units);
    let buyers = sold.replace("count(*)", "count(DISTINCT user_id)");
    assert_eq!(shop.count(&buyers), units);
    let stock = shop
        .redis
        .cli(&["get", &format!("flashsale:stock:{{{product}}}")]);
    assert_eq!(stock.trim(), "0");
    let accepted =
        format!("FROM purchase_attempts WHERE sale_id = {sale} AND outcome = 'ACCEPTED'");
    let all = shop.count(&format!("SELECT count(*) {accepted}"));
    let different = shop.count(&format!("SELECT count(DISTINCT attempt_id) {accepted}"));
    assert_eq!(
        (all, different),
        (shop.count(&orders), all),
        "the audit trail"
    );
}

/// Nobody may have been refused while units were left: then not all of them would be sold.
pub(crate) fn ensure_told(told: &[Told], units: usize) {
    let accepted: Vec<_> = told.iter().filter(|told| told.accepted()).collect();
    let attempts: HashSet<_> = accepted
        .iter()
        .map(|told| told.answer.data("attemptId"))
        .collect();
    assert_eq!((accepted.len(), attempts.len()), (units, units));
    for refused in told.iter().filter(|told| !told.accepted()) {
        assert_eq!(refused.answer.code(), "SOLD_OUT", "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_apis_and_two_workers_sell_every_unit_once_and_then_again() {
    let shop = Shop::new();
    let processes = ["api", "api", "worker", "worker"].map(|role| shop.serve(role));
    let addresses = vec![processes[0].address, processes[1].address];
    let first = shop.sale("Lamp", UNITS, "now", "+1h");
    for round in [0, 1] {
        let (sale, product) = if round == 0 {
            first
        } else {
            // The next sale of the product takes the place of one that is over.
            let closed = shop.json(&["sale", "close", &first.0.to_string(), "--json"]);
            assert_eq!(closed["status"], "ENDED");
            shop.sale("Lamp", UNITS, "now", "+1h")
        };
        assert_eq!(product, first.1);
        let rush = Rush {
            addresses: addresses.clone(),
            sale,
            users: 5_000,
            connections: 200,
            pace: Duration::ZERO,
        };
        let told = rush.run().await;
        ensure_told(&told, UNITS);
        let succeeded = results(addresses[0], product, &told, Duration::from_secs(30)).await;
        assert_eq!(succeeded, UNITS);
        ensure_sold(&shop, (sale, product), UNITS).await;
    }
    // The first sale is accounted for as before.
    let report = shop.audit(first.0);
    assert_eq!(
        (&report["verdict"], &report["orders"]),
        (&"EXACT".into(), &UNITS.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sales_of_a_product_sell_in_the_order_of_their_windows() {
    let shop = Shop::new();
    let (later, product) = shop.sale("Lamp", 5, "+10m", "+20m");
    let (sooner, same) = shop.sale("Lamp", 5, "now", "+3s");
    let (next, _) = shop.sale("Lamp", 5, "+4s", "+9m");
    assert_eq!(product, same);
    let server = shop.serve("all");
    let mut client = Client::connect(server.address).await.unwrap();
    let token = support::Shop::token("1");
    let mut attempt = async |sale: i64| client.attempt(sale, &token).await.unwrap();
    let early = attempt(later).await;
    assert_eq!((early.status, early.code()), (409, "SALE_NOT_STARTED"));
    let listed = shop.json(&["sale", "show", &later.to_string(), "--json"]);
    assert_eq!(
        (&listed["status"], &listed["available"]),
        (&"UPCOMING".into(), &5.into())
    );
    assert_eq!(attempt(sooner).await.status, 200);
    let since = Instant::now();
    loop {
        let answer = attempt(next).await;
        if answer.status == 200 {
            break;
        }
        assert!(
            ["SALE_NOT_STARTED", "UNAVAILABLE"].contains(&answer.code()),
            "{answer:?}"
        );
        assert!(since.elapsed() < Duration::from_secs(30), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(attempt(sooner).await.code(), "SALE_ENDED");
}
