//! The HTTP contract, driven without a socket except where the socket is the subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod api_endpoint;
mod bad_input;
mod connections;
mod contract;
mod crowd;
mod document;
mod faults;
mod logs;
mod shop;

use poem::http::StatusCode;
use poem::test::TestResponse;
use serde_json::Value;

/// The body of a response, after a look at what every response has.
async fn json(response: TestResponse, status: u16) -> Value {
    response.assert_status(StatusCode::from_u16(status).unwrap());
    response.assert_header_exist("x-request-id");
    response.assert_content_type("application/json");
    serde_json::from_slice(&response.0.into_body().into_bytes().await.unwrap()).unwrap()
}

/// The body of a failure, after a look at its envelope.
async fn failure(response: TestResponse, status: u16, code: &str) -> Value {
    let body = json(response, status).await;
    assert_eq!(body["success"], false, "{body}");
    assert_eq!(body["code"], code, "{body}");
    for text in ["error", "message"] {
        assert!(
            body[text].as_str().is_some_and(|it| !it.is_empty()),
            "{body}"
        );
    }
    let text = body.to_string();
    for secret in ["SELECT", "/var", "/home", "db.internal", "panicked", "src/"] {
        assert!(!text.contains(secret), "{text} tells {secret}");
    }
    body
}
