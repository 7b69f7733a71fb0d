#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use flashsale_core::ErrorKind;
use flashsale_core::domain::SaleChange;
use poem::http::{StatusCode, header};

use super::*;
use shop::{HOUR_MS, START, Shop};

#[path = "../../../tests/http/shop.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the tests of the routes"
)]
mod shop;

const ROUTES: [(Method, &str); 3] = [
    (Method::POST, "/api/flash-sale/attempt/"),
    (Method::GET, "/api/orders/status/"),
    (Method::GET, "/api/flash-sale/status"),
];

/// Sends every hot request both ways and compares status, headers and body.
async fn assert_alike(edge: &Edge, authorization: &str, id: &str) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for (method, path) in ROUTES {
        let id = if path.ends_with('/') { id } else { "" };
        let path = format!("{path}{id}");
        let request = || {
            Request::builder()
                .method(method.clone())
                .uri(path.parse().unwrap())
                .header(header::AUTHORIZATION, authorization)
                .finish()
        };
        let matched = Route::of(&path);
        let lean = edge.dispatch(matched, request()).await;
        let lean = lean.unwrap_or_else(Failure::into_response);
        let documented = edge.through_openapi(request()).await;

        assert_eq!(lean.status(), documented.status(), "{path}");
        assert_eq!(lean.headers(), documented.headers(), "{path}");
        statuses.push(lean.status());
        let lean = lean.into_body().into_string().await.unwrap();
        let documented = documented.into_body().into_string().await.unwrap();
        assert_eq!(lean, documented, "{path}");
    }
    statuses
}

#[tokio::test]
async fn the_direct_way_and_the_documented_way_answer_alike() {
    let shop = Shop::open().await;
    let edge = Edge::new(shop.services.clone(), &HttpConfig::default());
    let ann = shop.bearer("ann");
    let bob = shop.bearer("bob");
    let mut seen = assert_alike(&edge, &ann, "1").await;

    let sale = shop.sale("Console", START, 1).await;
    for id in ["1", "2", "0", "-1", "+1", "x", "9223372036854775808"] {
        seen.extend(assert_alike(&edge, &ann, id).await);
    }
    seen.extend(assert_alike(&edge, &bob, "1").await);
    for credentials in ["", "Bearer", "Basic x", "Bearer x", "bearer"] {
        seen.extend(assert_alike(&edge, credentials, "1").await);
    }
    shop.work().await;
    seen.extend(assert_alike(&edge, &ann, "1").await);
    for kind in [ErrorKind::Unavailable, ErrorKind::Corrupt] {
        shop.stock.fail(kind);
        seen.extend(assert_alike(&edge, &ann, "1").await);
    }
    shop.stock.recover();
    let change = shop
        .services
        .engine
        .sales
        .change(sale.id, SaleChange::Pause);
    change.await.unwrap();
    for at in [-1, 0, HOUR_MS] {
        shop.clock.set(START.plus_ms(at));
        seen.extend(assert_alike(&edge, &bob, "1").await);
    }

    for status in [200, 400, 401, 404, 409, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        assert!(seen.contains(&status), "no case gave {status}");
    }
}
