//! A client that was written for the service this one replaces: its paths, fields and envelope.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::shop::Shop;
use crate::support::{Client, ServerProcess, past};

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == "2026-01-01T00:00:00.000Z".len() && text.ends_with('Z')
}

#[tokio::test]
async fn an_old_client_registers_logs_in_buys_and_reads_its_result() {
    let shop = Shop::new();
    let (sale, product) = shop.sale("Lamp", 3, "now", "+1h");
    let server = shop.serve("all");
    let mut client = Client::connect(server.address).await.unwrap();

    let ann = r#"{"username":"ann","email":"ann@example.org","password":"correct horse","fullName":"Ann A"}"#;
    let registered = client.post("/api/auth/register", "", ann).await.unwrap();
    assert_eq!(registered.status, 201, "{registered:?}");
    assert_eq!(registered.body["success"], true);
    assert_eq!(registered.data("username"), "ann");
    let user = registered.data("userId").to_owned();
    let again = client.post("/api/auth/register", "", ann).await.unwrap();
    assert_eq!((again.status, again.code()), (409, "USERNAME_TAKEN"));

    let login = r#"{"username":"ann","password":"correct horse"}"#;
    let login = client.post("/api/auth/login", "", login).await.unwrap();
    assert_eq!(login.status, 200, "{login:?}");
    assert_eq!(login.data("userId"), user);
    let token = login.data("token").to_owned();

    let status = client.get("/api/flash-sale/status", &token).await.unwrap();
    let data = &status.body["data"];
    assert_eq!(
        (&data["id"], &data["productId"]),
        (&sale.into(), &product.into())
    );
    assert_eq!(
        (data["status"].as_str(), data["productName"].as_str()),
        (Some("ACTIVE"), Some("Lamp"))
    );
    for time in ["startTime", "endTime", "currentTime"] {
        assert!(is_time(&data[time]), "{status:?}");
    }

    let before = client
        .get(&format!("/api/orders/status/{product}"), &token)
        .await
        .unwrap();
    assert_eq!(
        (before.data("status"), &before.body["data"]["attempted"]),
        ("PENDING", &false.into())
    );
    // Old clients send an empty object.
    let path = format!("/api/flash-sale/attempt/{sale}");
    let attempt = client.post(&path, &token, "{}").await.unwrap();
    assert_eq!(attempt.status, 200, "{attempt:?}");
    assert!(attempt.body["message"].is_string());
    assert_eq!(attempt.data("status"), "PENDING");
    // The first message to a new topic may take longer than an answer may.
    assert!(["LOGGED", "RESERVED"].contains(&attempt.data("durability")));
    assert_eq!(attempt.data("userId"), user);

    let since = Instant::now();
    loop {
        let order = client
            .get(&format!("/api/orders/status/{product}"), &token)
            .await
            .unwrap();
        assert_eq!((order.status, order.data("userId")), (200, user.as_str()));
        if order.data("status") == "SUCCESS" {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{order:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = client.attempt(sale, &token).await.unwrap();
    assert_eq!(again.data("attemptId"), attempt.data("attemptId"));
    assert_eq!(again.data("status"), "SUCCESS");
    assert_eq!(again.data("durability"), "LOGGED");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_the_service_before_this_one_go_on() {
    let shop = Shop::new();
    let (sale, _) = shop.sale("Lamp", 3, "now", "+1h");
    shop.psql(past::USERS);
    let mut command = shop.serve_command("all");
    let origin = "https://shop.example";
    command.env("CORS_ORIGINS", origin);
    let server = ServerProcess::start(&mut command);
    past::ensure_lives_on(server.address, sale).await;
    let headers = "authorization,baggage,traceparent,x-requested-with";
    past::ensure_pages_may_call(server.address, origin, headers).await;
}
