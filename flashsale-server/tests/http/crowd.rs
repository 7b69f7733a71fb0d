use std::collections::HashSet;
use std::sync::Arc;

use flashsale_core::services::Verdict;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::shop::{START, Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_gets_every_unit_and_not_one_more() {
    const STOCK: usize = 20;
    const USERS: usize = 200;
    let shop = Shop::open().await;
    let client = Arc::new(shop.client());
    let sale = shop.sale("Console", START, STOCK as u64).await;

    // Everybody asks twice at the same time.
    let attempts = (0..2 * USERS).map(|number| {
        let client = Arc::clone(&client);
        let path = format!("/api/flash-sale/attempt/{}", sale.id);
        let bearer = shop.bearer(&format!("user-{}", number % USERS));
        tokio::spawn(async move {
            let response = client
                .post(path)
                .header("authorization", bearer)
                .send()
                .await;
            let status = response.0.status().as_u16();
            let body = response.0.into_body().into_bytes().await.unwrap();
            (status, serde_json::from_slice::<Value>(&body).unwrap())
        })
    });
    let mut winners = HashSet::new();
    let mut ids = HashSet::new();
    for answer in join_all(attempts).await {
        let (status, body) = answer.unwrap();
        if status == 200 {
            winners.insert(body["data"]["userId"].as_str().unwrap().to_owned());
            ids.insert(body["data"]["attemptId"].as_str().unwrap().to_owned());
        } else {
            assert_eq!((status, &body["code"]), (409, &json!("SOLD_OUT")));
        }
    }
    assert_eq!((winners.len(), ids.len()), (STOCK, STOCK));

    shop.work().await;
    let account = shop
        .services
        .engine
        .auditor
        .reconcile(sale.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(account.verdict(), Verdict::Exact, "{:?}", account.findings);
    assert_eq!(account.totals.sold, STOCK as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_registrations_of_one_name_one_wins() {
    let shop = Shop::open().await;
    let client = Arc::new(shop.client());
    let registrations = (0..20).map(|number| {
        let client = Arc::clone(&client);
        let request = json!({
            "username": "ann", "email": format!("{number}@example.org"), "password": "secret"
        });
        tokio::spawn(async move {
            let response = client
                .post("/api/auth/register")
                .body_json(&request)
                .send()
                .await;
            response.0.status().as_u16()
        })
    });
    let mut statuses: Vec<_> = join_all(registrations)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(
        statuses[1..].iter().all(|status| *status == 409),
        "{statuses:?}"
    );
}
