use flashsale_core::domain::SaleChange;
use serde_json::{Value, json};

use crate::shop::{HOUR_MS, START, START_TEXT, Shop};
use crate::{failure, json};

fn ann() -> Value {
    json!({
        "username": "ann", "email": "ann@example.org", "password": "correct horse",
        "fullName": "Ann Example"
    })
}

#[tokio::test]
async fn a_user_registers_and_logs_in() {
    let client = Shop::open().await.client();

    let register = client.post("/api/auth/register").body_json(&ann());
    let body = json(register.send().await, 201).await;
    let user_id = body["data"]["userId"].as_str().unwrap().to_owned();
    let data = json!({
        "userId": user_id, "username": "ann", "email": "ann@example.org", "fullName": "Ann Example"
    });
    assert_eq!(body, json!({ "success": true, "data": data }));

    let login = json!({ "username": "ann", "password": "correct horse" });
    let response = client
        .post("/api/auth/login")
        .body_json(&login)
        .send()
        .await;
    response.assert_header("cache-control", "no-store");
    let body = json(response, 200).await;
    let token = body["data"]["token"].as_str().unwrap().to_owned();
    let data = json!({ "token": token, "userId": user_id });
    assert_eq!(body, json!({ "success": true, "data": data }));

    let status = client.get("/api/orders/status/1");
    let status = status.header("authorization", format!("Bearer {token}"));
    let body = json(status.send().await, 200).await;
    assert_eq!(body["data"]["userId"], user_id);
}

#[tokio::test]
async fn a_full_name_is_left_out_if_there_is_none() {
    let client = Shop::open().await.client();
    for (username, full_name) in [("bob", None), ("eve", Some(Value::Null))] {
        let mut request = json!({
            "username": username, "email": format!("{username}@example.org"), "password": "secret"
        });
        if let Some(full_name) = full_name {
            request["fullName"] = full_name;
        }
        let response = client.post("/api/auth/register").body_json(&request);
        let body = json(response.send().await, 201).await;
        assert!(body["data"].get("fullName").is_none(), "{body}");
    }
}

#[tokio::test]
async fn a_name_and_an_address_belong_to_one_user() {
    let client = Shop::open().await.client();
    let register = |request: Value| client.post("/api/auth/register").body_json(&request).send();
    json(register(ann()).await, 201).await;

    let mut other_address = ann();
    other_address["email"] = "other@example.org".into();
    failure(register(other_address).await, 409, "USERNAME_TAKEN").await;
    let mut other_name = ann();
    other_name["username"] = "other".into();
    failure(register(other_name).await, 409, "EMAIL_TAKEN").await;
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let client = Shop::open().await.client();
    let register = client.post("/api/auth/register").body_json(&ann());
    json(register.send().await, 201).await;

    let mut answers = Vec::new();
    for username in ["ann", "nobody"] {
        let login = json!({ "username": username, "password": "wrong" });
        let response = client
            .post("/api/auth/login")
            .body_json(&login)
            .send()
            .await;
        answers.push(failure(response, 401, "INVALID_CREDENTIALS").await);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn the_status_shows_the_featured_sale_and_the_time() {
    let shop = Shop::open().await;
    let client = shop.client();
    let status = || {
        let request = client.get("/api/flash-sale/status");
        request.header("authorization", shop.bearer("ann")).send()
    };
    failure(status().await, 404, "NO_SALE").await;

    let sale = shop.sale("Console", START, 5).await;
    let body = json(status().await, 200).await;
    let data = json!({
        "id": sale.id.get(), "status": "ACTIVE",
        "startTime": START_TEXT, "endTime": "2026-01-01T01:00:00.000Z",
        "currentTime": START_TEXT,
        "productId": sale.product.id.get(), "productName": "Console",
        "productDescription": "One per buyer",
    });
    assert_eq!(body, json!({ "success": true, "data": data }));

    for (at, expected) in [
        (-1, "UPCOMING"),
        (HOUR_MS - 1, "ACTIVE"),
        (HOUR_MS, "ENDED"),
    ] {
        shop.clock.set(START.plus_ms(at));
        let body = json(status().await, 200).await;
        assert_eq!(body["data"]["status"], expected, "{at} ms after the start");
    }
}

#[tokio::test]
async fn an_attempt_is_accepted_once_and_becomes_an_order() {
    let shop = Shop::open().await;
    let client = shop.client();
    let sale = shop.sale("Console", START, 1).await;
    let attempt = |user: &str| {
        let request = client.post(format!("/api/flash-sale/attempt/{}", sale.id));
        request.header("authorization", shop.bearer(user)).send()
    };
    let order_status = |user: &str| {
        let request = client.get(format!("/api/orders/status/{}", sale.product.id));
        request.header("authorization", shop.bearer(user)).send()
    };

    let first = json(attempt("ann").await, 200).await;
    let data = json!({
        "attemptId": first["data"]["attemptId"], "saleId": sale.id.get(),
        "productId": sale.product.id.get(), "userId": "ann",
        "status": "PENDING", "durability": "LOGGED",
    });
    assert_eq!(first["success"], true);
    assert_eq!(first["data"], data);
    assert_eq!(first["data"]["attemptId"].as_str().map(str::len), Some(36));
    assert!(first["message"].as_str().is_some_and(|it| !it.is_empty()));
    failure(attempt("bob").await, 409, "SOLD_OUT").await;

    let again = json(attempt("ann").await, 200).await;
    assert_eq!(again["data"], first["data"]);
    let data = json(order_status("ann").await, 200).await["data"].take();
    assert_eq!(data["status"], "PENDING");
    assert_eq!(data["attempted"], true);

    shop.work().await;
    let decided = json(attempt("ann").await, 200).await;
    assert_eq!(decided["data"]["attemptId"], first["data"]["attemptId"]);
    assert_eq!(decided["data"]["status"], "SUCCESS");
    let body = json(order_status("ann").await, 200).await;
    let data = json!({
        "productId": sale.product.id.get(), "userId": "ann", "status": "SUCCESS", "attempted": true
    });
    assert_eq!(body, json!({ "success": true, "data": data }));

    let body = json(order_status("bob").await, 200).await;
    assert_eq!(body["data"]["status"], "PENDING");
    assert_eq!(body["data"]["attempted"], false);
}

#[tokio::test]
async fn a_sale_sells_only_in_its_window_and_while_it_is_open() {
    let shop = Shop::open().await;
    let client = shop.client();
    let sale = shop.sale("Console", START, 5).await;
    let attempt = || {
        let request = client.post(format!("/api/flash-sale/attempt/{}", sale.id));
        request.header("authorization", shop.bearer("ann")).send()
    };

    shop.clock.set(START.plus_ms(-1));
    let body = failure(attempt().await, 409, "SALE_NOT_STARTED").await;
    assert!(
        body["message"].as_str().unwrap().contains(START_TEXT),
        "{body}"
    );

    shop.clock.set(START);
    shop.services
        .engine
        .sales
        .change(sale.id, SaleChange::Pause)
        .await
        .unwrap();
    failure(attempt().await, 409, "SALE_PAUSED").await;
    shop.services
        .engine
        .sales
        .change(sale.id, SaleChange::Resume)
        .await
        .unwrap();

    shop.clock.set(START.plus_ms(HOUR_MS));
    failure(attempt().await, 409, "SALE_ENDED").await;
}

#[tokio::test]
async fn an_unknown_sale_is_not_found() {
    let shop = Shop::open().await;
    let client = shop.client();
    let request = client.post("/api/flash-sale/attempt/9223372036854775807");
    let request = request.header("authorization", shop.bearer("ann"));
    failure(request.send().await, 404, "SALE_NOT_FOUND").await;
}

#[tokio::test]
async fn an_attempt_ignores_its_body() {
    let shop = Shop::open().await;
    let client = shop.client();
    let sale = shop.sale("Console", START, 5).await;
    for (user, body) in [("ann", "{}"), ("bob", "not json"), ("eve", "")] {
        let request = client.post(format!("/api/flash-sale/attempt/{}", sale.id));
        let request = request.header("authorization", shop.bearer(user));
        json(
            request
                .content_type("application/json")
                .body(body)
                .send()
                .await,
            200,
        )
        .await;
    }
}

#[tokio::test]
async fn user_ids_of_any_visible_characters_survive_the_way_through_json() {
    let shop = Shop::open().await;
    let client = shop.client();
    let sale = shop.sale("Console", START, 5).await;
    let user = r#"a"b\c<d>"#;
    let request = client.post(format!("/api/flash-sale/attempt/{}", sale.id));
    let request = request.header("authorization", shop.bearer(user));
    let body = json(request.send().await, 200).await;
    assert_eq!(body["data"]["userId"], user);
}

#[tokio::test]
async fn health_and_readiness_need_no_token() {
    let shop = Shop::open().await;
    let client = shop.client();
    let body = json(client.get("/health").send().await, 200).await;
    assert_eq!(body, json!({ "status": "ok", "timestamp": START_TEXT }));
    let body = json(client.get("/ready").send().await, 200).await;
    let checks = json!({ "stock": "up", "orders": "up", "sales": "up" });
    assert_eq!(body, json!({ "status": "ok", "checks": checks }));
}

#[tokio::test]
async fn metrics_count_answers_by_route_and_what_the_services_report() {
    let shop = Shop::open().await;
    let client = shop.client();
    let sale = shop.sale("Console", START, 1).await;
    for user in ["ann", "bob", "eve"] {
        let request = client.post(format!("/api/flash-sale/attempt/{}", sale.id));
        request
            .header("authorization", shop.bearer(user))
            .send()
            .await;
    }
    client.get("/no/such/path").send().await;

    let response = client.get("/metrics").send().await;
    response.assert_status_is_ok();
    response.assert_content_type("text/plain; version=0.0.4; charset=utf-8");
    let text = response.0.into_body().into_string().await.unwrap();
    let route = "route=\"/api/flash-sale/attempt/{saleId}\",method=\"POST\"";
    for line in [
        "flashsale_events_total{event=\"accepted\"} 1".to_owned(),
        "flashsale_events_total{event=\"sold_out\"} 2".to_owned(),
        format!("http_requests_total{{{route},status=\"200\"}} 1"),
        format!("http_requests_total{{{route},status=\"409\"}} 2"),
        "http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"} 1".to_owned(),
        "http_request_duration_seconds_count{route=\"/api/flash-sale/attempt/{saleId}\"} 3"
            .to_owned(),
    ] {
        assert!(
            text.lines().any(|it| it == line),
            "{line} is not in\n{text}"
        );
    }
}

#[tokio::test]
async fn the_routes_can_be_mounted_below_a_prefix() {
    let shop = Shop::open().await;
    let app = flashsale_server::app(shop.services.clone(), &Default::default()).unwrap();
    let mine = poem::Route::new()
        .at("/mine", poem::endpoint::make_sync(|_| "mine"))
        .nest("/shop", app);
    let client = poem::test::TestClient::new(mine);
    client.get("/mine").send().await.assert_text("mine").await;
    json(client.get("/shop/health").send().await, 200).await;
    failure(client.get("/shop/nothing").send().await, 404, "NOT_FOUND").await;
}
