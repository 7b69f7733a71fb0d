use flashsale_server::HttpConfig;
use poem::http::Method;
use poem::test::TestResponse;

use crate::failure;
use crate::shop::Shop;

#[tokio::test]
async fn the_callers_request_id_comes_back_if_it_is_sane() {
    let client = Shop::open().await.client();
    let longest = "x".repeat(64);
    for id in ["7", "req-42/a~!", &longest] {
        for path in ["/health", "/nothing", "/api/flash-sale/status"] {
            let request = client.get(path).header("x-request-id", id);
            request.send().await.assert_header("x-request-id", id);
        }
    }
    let too_long = "x".repeat(65);
    for id in ["", "two words", "tab\tbed", &too_long] {
        let request = client.get("/health").header("x-request-id", id);
        let response = request.send().await;
        let given = response.0.header("x-request-id").unwrap();
        assert!(
            !given.is_empty() && given.len() <= 64 && given != id,
            "{given}"
        );
    }
}

#[tokio::test]
async fn request_ids_of_ours_differ() {
    let client = Shop::open().await.client();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let response = client.get("/health").send().await;
        ids.insert(response.0.header("x-request-id").unwrap().to_owned());
    }
    assert_eq!(ids.len(), 100);
}

fn for_the_shop() -> HttpConfig {
    HttpConfig {
        cors_origins: vec![
            "https://shop.example".to_owned(),
            "http://localhost:3000".to_owned(),
        ],
        cors_headers: vec!["x-shop-version".to_owned()],
        ..HttpConfig::default()
    }
}

#[tokio::test]
async fn without_configured_origins_there_is_no_cors() {
    let client = Shop::open().await.client();
    for (method, path) in [
        (Method::OPTIONS, "/api/auth/login"),
        (Method::GET, "/health"),
    ] {
        let request = client
            .request(method, path)
            .header("origin", "https://shop.example");
        let response = request
            .header("access-control-request-method", "POST")
            .send()
            .await;
        ensure_no_cors(&response);
    }
}

fn ensure_no_cors(response: &TestResponse) {
    for name in response.0.headers().keys() {
        assert!(!name.as_str().starts_with("access-control"), "{name}");
    }
}

#[tokio::test]
async fn a_page_of_a_configured_origin_may_read_every_answer() {
    let client = Shop::open().await.client_with(&for_the_shop());
    for path in ["/health", "/nothing", "/api/flash-sale/status"] {
        for origin in ["https://shop.example", "http://localhost:3000"] {
            let response = client.get(path).header("origin", origin).send().await;
            response.assert_header("access-control-allow-origin", origin);
            // Without it a page that includes credentials gets no answer.
            response.assert_header("access-control-allow-credentials", "true");
            response.assert_header("vary", "origin");
            response.assert_header("access-control-expose-headers", "x-request-id, retry-after");
        }
    }
}

#[tokio::test]
async fn a_preflight_from_a_configured_origin_is_answered() {
    let client = Shop::open().await.client_with(&for_the_shop());
    for (path, method) in [
        ("/api/auth/login", "POST"),
        ("/api/flash-sale/attempt/1", "POST"),
        ("/api/flash-sale/status", "GET"),
    ] {
        let request = client
            .options(path)
            .header("origin", "https://shop.example")
            .header("access-control-request-method", method)
            .header(
                "access-control-request-headers",
                "authorization,baggage,content-type,traceparent,x-requested-with,x-shop-version",
            );
        let response = request.send().await;
        response.assert_status(poem::http::StatusCode::NO_CONTENT);
        response.assert_header("access-control-allow-origin", "https://shop.example");
        response.assert_header("access-control-allow-credentials", "true");
        let allowed = response.0.header("access-control-allow-headers").unwrap();
        let allowed: Vec<_> = allowed.split(", ").collect();
        for header in [
            "authorization",
            "content-type",
            "x-request-id",
            "x-requested-with",
            "traceparent",
            "tracestate",
            "baggage",
            "x-shop-version",
        ] {
            assert!(allowed.contains(&header), "{header} is not in {allowed:?}");
        }
        let allowed = response.0.header("access-control-allow-methods").unwrap();
        assert!(allowed.contains(method), "{allowed}");
    }
}

#[tokio::test]
async fn another_origin_gets_nothing_from_cors() {
    let client = Shop::open().await.client_with(&for_the_shop());
    for origin in [
        "https://evil.example",
        "https://shop.example.evil",
        "null",
        "http://shop.example",
    ] {
        let request = client
            .options("/api/auth/login")
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        let response = request.send().await;
        ensure_no_cors(&response);
        failure(response, 405, "METHOD_NOT_ALLOWED").await;
        ensure_no_cors(&client.get("/health").header("origin", origin).send().await);
    }
}

#[test]
fn a_wrong_setting_is_named_with_what_is_allowed() {
    let with_origin = |origin: &str| HttpConfig {
        cors_origins: vec![origin.to_owned()],
        ..HttpConfig::default()
    };
    for origin in [
        "",
        "*",
        "shop.example",
        "https://",
        "https://shop.example/",
        "ftp://a",
        "https://a,https://b",
    ] {
        let problem = with_origin(origin).validate().unwrap_err().to_string();
        assert!(problem.starts_with("cors_origins: "), "{problem}");
    }
    for header in ["", "*", "two words", "x:y", "ä"] {
        let config = HttpConfig {
            cors_headers: vec![header.to_owned()],
            ..HttpConfig::default()
        };
        let problem = config.validate().unwrap_err().to_string();
        assert!(problem.starts_with("cors_headers: "), "{problem}");
    }
    let body_max = |body_max| HttpConfig {
        body_max,
        ..HttpConfig::default()
    };
    for (bytes, fits) in [
        (1_023, false),
        (1_024, true),
        (1 << 20, true),
        ((1 << 20) + 1, false),
    ] {
        assert_eq!(body_max(bytes).validate().is_ok(), fits, "{bytes}");
    }
    let none = HttpConfig {
        connections_max: 0,
        ..HttpConfig::default()
    };
    assert!(none.validate().is_err());
    let none = HttpConfig {
        idle_timeout: std::time::Duration::ZERO,
        ..HttpConfig::default()
    };
    assert!(
        none.validate()
            .unwrap_err()
            .to_string()
            .starts_with("idle_timeout: ")
    );
}
