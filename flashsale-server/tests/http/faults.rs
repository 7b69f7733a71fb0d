use flashsale_core::ErrorKind;
use serde_json::json;

use crate::shop::{Mood, START, Shop};
use crate::{failure, json};

const AWAY: [ErrorKind; 4] = [
    ErrorKind::Unavailable,
    ErrorKind::Busy,
    ErrorKind::Full,
    ErrorKind::Stopped,
];
const BROKEN: [ErrorKind; 3] = [
    ErrorKind::Invalid,
    ErrorKind::Corrupt,
    ErrorKind::Misconfigured,
];

#[tokio::test]
async fn a_stock_store_that_is_away_is_503_and_the_same_request_succeeds_later() {
    let shop = Shop::open().await;
    let client = shop.client();
    let sale = shop.sale("Console", START, 1).await;
    let attempt = || {
        let request = client.post(format!("/api/flash-sale/attempt/{}", sale.id));
        request.header("authorization", shop.bearer("ann")).send()
    };
    let order_status = || {
        let request = client.get(format!("/api/orders/status/{}", sale.product.id));
        request.header("authorization", shop.bearer("ann")).send()
    };
    for kind in AWAY {
        shop.stock.fail(kind);
        for response in [attempt().await, order_status().await] {
            response.assert_header("retry-after", "1");
            failure(response, 503, "UNAVAILABLE").await;
        }
    }
    for kind in BROKEN {
        shop.stock.fail(kind);
        for response in [attempt().await, order_status().await] {
            failure(response, 500, "INTERNAL").await;
        }
    }
    shop.stock.recover();
    json(attempt().await, 200).await;
}

#[tokio::test]
async fn too_many_passwords_at_a_time_are_503_busy() {
    let shop = Shop::open().await;
    let client = shop.client();
    let body = json!({
        "username": "ann", "email": "ann@example.org", "password": "correct horse"
    });
    for (kind, status, code) in [
        (ErrorKind::Busy, 503, "BUSY"),
        (ErrorKind::Unavailable, 503, "UNAVAILABLE"),
        (ErrorKind::Corrupt, 500, "INTERNAL"),
    ] {
        shop.hasher.be(Mood::Fails(kind));
        for path in ["/api/auth/login", "/api/auth/register"] {
            let response = client.post(path).body_json(&body).send().await;
            if status == 503 {
                response.assert_header("retry-after", "1");
            }
            failure(response, status, code).await;
        }
    }
}

#[tokio::test]
async fn a_panic_is_500_in_the_envelope_and_the_next_request_is_served() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.hasher.be(Mood::Panics);
    let body = json!({ "username": "ann", "password": "correct horse" });
    let response = client.post("/api/auth/login").body_json(&body).send().await;
    failure(response, 500, "INTERNAL").await;
    json(client.get("/health").send().await, 200).await;
}

#[tokio::test]
async fn readiness_names_the_dependency_that_is_down_and_health_does_not_care() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.sale("Console", START, 1).await;
    shop.stock.fail(ErrorKind::Unavailable);

    let body = failure(client.get("/ready").send().await, 503, "UNAVAILABLE").await;
    assert_eq!(body["status"], "unavailable");
    assert_eq!(
        body["checks"],
        json!({ "stock": "down", "orders": "up", "sales": "up" })
    );
    json(client.get("/health").send().await, 200).await;
}
