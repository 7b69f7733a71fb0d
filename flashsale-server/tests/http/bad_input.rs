use poem::http::{HeaderValue, Method, StatusCode};
use poem::test::TestRequestBuilder;
use poem::{Body, Endpoint};
use serde_json::json;

use crate::failure;
use crate::shop::{Client, START, Shop};

const JSON_ROUTES: [&str; 2] = ["/api/auth/register", "/api/auth/login"];
const ALL: [(&str, &str); 10] = [
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"),
    ("GET", "/api/flash-sale/status"),
    ("POST", "/api/flash-sale/attempt/1"),
    ("GET", "/api/orders/status/1"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/api-docs"),
    ("GET", "/api-docs/openapi.json"),
];
const WITH_TOKEN: [(&str, &str); 3] = [
    ("GET", "/api/flash-sale/status"),
    ("POST", "/api/flash-sale/attempt/1"),
    ("GET", "/api/orders/status/1"),
];

fn request<'a>(
    client: &'a Client,
    method: &str,
    path: &str,
) -> TestRequestBuilder<'a, impl Endpoint + 'a> {
    client.request(Method::from_bytes(method.as_bytes()).unwrap(), path)
}

#[tokio::test]
async fn a_body_that_is_not_the_object_asked_for_is_refused() {
    let client = Shop::open().await.client();
    let deep = format!(r#"{{"a":{}}}"#, "[".repeat(8_000));
    let bodies: [&[u8]; 18] = [
        b"",
        b" ",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"42",
        b"\"text\"",
        b"{\"username\":}",
        b"{\"username\":\"ann\",}",
        b"{'username':'ann'}",
        b"{\"username\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{}",
        b"{\"username\":\"\\ud800\"}",
        b"{\"username\":\"ann\"} {}",
        b"[\"ann\",\"ann@example.org\",\"correct horse\",null]",
        b"<user/>",
        deep.as_bytes(),
    ];
    for path in JSON_ROUTES {
        for body in bodies {
            let request = client.post(path).content_type("application/json");
            failure(
                request.body(body.to_vec()).send().await,
                400,
                "VALIDATION_ERROR",
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_field_of_the_wrong_kind_is_named_and_its_value_is_not_repeated() {
    let client = Shop::open().await.client();
    let values = [
        json!(null),
        json!(7_351_924),
        json!(-7_351_924),
        json!(7_351_924.5),
        json!(true),
        json!(["7351924"]),
        json!({ "is": "7351924" }),
    ];
    for path in JSON_ROUTES {
        for field in ["username", "password"] {
            for value in &values {
                let mut body = json!({
                    "username": "ann", "email": "ann@example.org", "password": "correct horse"
                });
                body[field] = value.clone();
                let response = client.post(path).body_json(&body).send().await;
                let body = failure(response, 400, "VALIDATION_ERROR").await;
                let message = body["message"].as_str().unwrap();
                assert!(message.starts_with(field), "{message}");
                assert!(!message.contains("7351924"), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused() {
    let client = Shop::open().await.client();
    for path in JSON_ROUTES {
        for twice in [
            r#"{"username":"ann","username":"bob","email":"a@b.org","password":"correct horse"}"#,
            r#"{"username":"ann","email":"a@b.org","password":"correct horse","password":"x"}"#,
            r#"{"username":"ann","email":"a@b.org","password":"correct horse","a":1,"a":2}"#,
        ] {
            let request = client.post(path).content_type("application/json");
            let body = failure(request.body(twice).send().await, 400, "VALIDATION_ERROR").await;
            assert!(
                body["message"].as_str().unwrap().contains("twice"),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn a_registration_that_breaks_a_rule_is_refused_with_the_rule() {
    let client = Shop::open().await.client();
    let long = "x".repeat(72);
    let cases = [
        ("username", ""),
        ("username", "ab"),
        ("username", "a b c"),
        ("username", "a\u{0}bc"),
        ("username", long.as_str()),
        ("email", ""),
        ("email", "ann"),
        ("email", "@example.org"),
        ("email", "ann@"),
        ("email", "ann@a@b"),
        ("email", "a nn@example.org"),
        ("password", ""),
        ("password", "short"),
        ("password", long.as_str()),
        ("password", "correct\u{0}horse"),
        ("fullName", "line\nbreak"),
    ];
    for (field, value) in cases {
        let mut body = json!({
            "username": "ann", "email": "ann@example.org", "password": "correct horse"
        });
        body[field] = value.into();
        let response = client
            .post("/api/auth/register")
            .body_json(&body)
            .send()
            .await;
        let answer = failure(response, 400, "VALIDATION_ERROR").await;
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with(field), "{field} {value:?}: {message}");
    }
}

#[tokio::test]
async fn a_password_of_71_bytes_is_taken_and_one_of_72_is_not() {
    let client = Shop::open().await.client();
    let register = |length: usize| {
        let body = json!({
            "username": "ann", "email": "ann@example.org", "password": "x".repeat(length)
        });
        client.post("/api/auth/register").body_json(&body).send()
    };
    failure(register(72).await, 400, "VALIDATION_ERROR").await;
    register(71).await.assert_status(StatusCode::CREATED);
}

#[tokio::test]
async fn another_content_type_than_json_is_refused() {
    let client = Shop::open().await.client();
    let body = r#"{"username":"ann","email":"a@b.org","password":"correct horse"}"#;
    for path in JSON_ROUTES {
        let missing = client.post(path).body(body).send().await;
        failure(missing, 415, "UNSUPPORTED_MEDIA_TYPE").await;
        for content_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/xml",
            "application/jsonp",
            "json",
            "multipart/form-data; boundary=x",
        ] {
            let request = client.post(path).content_type(content_type).body(body);
            failure(request.send().await, 415, "UNSUPPORTED_MEDIA_TYPE").await;
        }
    }
    let request = client.post("/api/auth/register");
    let request = request.content_type("Application/JSON; charset=utf-8");
    let response = request.body(body).send().await;
    response.assert_status(StatusCode::CREATED);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_not_found_with_any_method() {
    let client = Shop::open().await.client();
    for path in [
        "/",
        "/api",
        "/api/auth/register/",
        "/api/flash-sale/attempt",
        "/api/flash-sale/attempt/1/2",
        "/api/orders/status",
        "/api/%ff",
        "/%2e%2e/etc/passwd",
        "/api-docs/oauth-receiver.html",
    ] {
        for method in ["GET", "POST", "DELETE", "QUERY"] {
            let response = request(&client, method, path).send().await;
            failure(response, 404, "NOT_FOUND").await;
        }
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused_with_those_it_takes() {
    let client = Shop::open().await.client();
    for (takes, path) in ALL {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY",
        ] {
            if method == takes {
                continue;
            }
            let response = request(&client, method, path).send().await;
            let allow = if takes == "GET" { "GET, HEAD" } else { "POST" };
            response.assert_header("allow", allow);
            failure(response, 405, "METHOD_NOT_ALLOWED").await;
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.sale("Console", START, 1).await;
    for (method, path) in ALL {
        if method == "GET" {
            let request = client
                .head(path)
                .header("authorization", shop.bearer("ann"));
            let response = request.send().await;
            response.assert_status_is_ok();
            response.assert_header_exist("x-request-id");
            response.assert_text("").await;
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_on_every_route() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.sale("Console", START, 1).await;
    for (method, path) in ALL {
        for length in [16 * 1024 + 1, 3 << 20] {
            let body = vec![b' '; length];
            let chunks = body
                .chunks(1_000)
                .map(<[u8]>::to_vec)
                .map(Ok::<_, std::io::Error>);
            let chunked =
                Body::from_bytes_stream(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
            for body in [Body::from(body), chunked] {
                let request = request(&client, method, path)
                    .header("authorization", shop.bearer("ann"))
                    .content_type("application/json");
                failure(request.body(body).send().await, 413, "PAYLOAD_TOO_LARGE").await;
            }
        }
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let client = Shop::open().await.client();
    let start = r#"{"username":"ann","email":"a@b.org","password":"correct horse""#;
    let body = format!("{start}{}}}", " ".repeat(16 * 1024 - start.len() - 1));
    assert_eq!(body.len(), 16 * 1024);
    let request = client
        .post("/api/auth/register")
        .content_type("application/json");
    request
        .body(body)
        .send()
        .await
        .assert_status(StatusCode::CREATED);
}

#[tokio::test]
async fn a_client_that_waits_to_send_too_much_is_told_not_to() {
    let client = Shop::open().await.client();
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = client
        .post("/api/auth/login")
        .content_type("application/json");
    let request = request
        .header("expect", "100-continue")
        .header("content-length", "16385");
    let response = request.body(Body::from_bytes_stream(never)).send().await;
    failure(response, 413, "PAYLOAD_TOO_LARGE").await;
}

#[tokio::test]
async fn an_id_that_is_not_a_positive_integer_is_refused() {
    let shop = Shop::open().await;
    let client = shop.client();
    for id in [
        "0",
        "-1",
        "9223372036854775808",
        "99999999999999999999999999",
        "one",
        "1.0",
        "1e3",
        "+1",
        "%31",
        "%00",
        "1%20",
        "1%2F2",
        "%F0%9F%9B%92",
        "null",
        "1;drop%20table",
    ] {
        for (method, path, name) in [
            ("POST", "/api/flash-sale/attempt/", "saleId"),
            ("GET", "/api/orders/status/", "productId"),
        ] {
            let request = request(&client, method, &format!("{path}{id}"));
            let request = request.header("authorization", shop.bearer("ann"));
            let body = failure(request.send().await, 400, "VALIDATION_ERROR").await;
            assert!(
                body["message"].as_str().unwrap().starts_with(name),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn without_a_valid_token_nobody_gets_in() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.sale("Console", START, 1).await;
    let good = shop.bearer("ann");
    let token = good.strip_prefix("Bearer ").unwrap();
    let bad = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        token.to_owned(),
        format!("Basic {token}"),
        format!("Token {token}"),
        format!("Bearer x{token}"),
        format!("Bearer {token}x"),
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.".to_owned(),
        format!("Bearer {}", "a".repeat(100_000)),
    ];
    for (method, path) in WITH_TOKEN {
        let response = request(&client, method, path).send().await;
        response.assert_header("www-authenticate", "Bearer");
        failure(response, 401, "UNAUTHORIZED").await;
        for bad in &bad {
            let request = request(&client, method, path).header("authorization", bad.as_str());
            let response = request.send().await;
            response.assert_header("www-authenticate", "Bearer");
            failure(response, 401, "UNAUTHORIZED").await;
        }
        let strange = HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
        let request = request(&client, method, path).header("authorization", strange);
        failure(request.send().await, 401, "UNAUTHORIZED").await;
    }
}

#[tokio::test]
async fn the_scheme_of_a_token_may_be_written_in_any_case() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.sale("Console", START, 5).await;
    let token = shop.bearer("ann").split_off("Bearer ".len());
    for (method, path) in WITH_TOKEN {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let request = request(&client, method, path);
            let request = request.header("authorization", format!("{scheme} {token}"));
            request.send().await.assert_status_is_ok();
        }
    }
}

#[tokio::test]
async fn a_token_ends() {
    let shop = Shop::open().await;
    let client = shop.client();
    let bearer = shop.bearer("ann");
    shop.clock.set(START.plus_ms(3_600_000));
    for (method, path) in WITH_TOKEN {
        let request = request(&client, method, path).header("authorization", &bearer);
        failure(request.send().await, 401, "UNAUTHORIZED").await;
    }
}
