//! The OpenAPI document: what poem-openapi knows of the operations, completed with everything that
//! can go wrong, with examples, and with limits that it cannot express.

use std::time::Duration;

use poem_openapi::OpenApiService;
use serde_json::{Map, Value, json};

use super::Route;
use super::api::Api;
use super::failure::Code;

/// The service that answers the documented operations.
pub(super) fn service(ready_timeout: Duration) -> OpenApiService<Api, ()> {
    OpenApiService::new(
        Api { ready_timeout },
        "Flash sale",
        env!("CARGO_PKG_VERSION"),
    )
    .description(
        "Sells a limited number of units to a crowd, exactly once. Every failure has the same \
         envelope; its `code` is stable. Every answer to a request that can be read as HTTP carries \
         `x-request-id`: the caller's, if it is 1 to 64 visible ASCII characters, else a new one.",
    )
}

/// The document as JSON.
pub(crate) fn json() -> String {
    let spec = service(Duration::ZERO).spec();
    let mut document: Value = serde_json::from_str(&spec).unwrap_or_default();
    let schemas = &mut document["components"]["schemas"];
    schemas["Failure"] = failure_schema();
    schemas["RegisterRequest"]["properties"]["fullName"]["nullable"] = true.into();
    for route in Route::ALL {
        let item = document["paths"].get_mut(route.pattern());
        let operations = item.and_then(Value::as_object_mut);
        for operation in operations.into_iter().flat_map(Map::values_mut) {
            complete(route, operation);
        }
    }
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// The Swagger UI, with all that it needs in it.
pub(crate) fn page() -> String {
    let service = service(Duration::ZERO);
    // The page carries the document inside; give it the complete one.
    service.swagger_ui_html().replace(&service.spec(), &json())
}

fn complete(route: Route, operation: &mut Value) {
    let responses = &mut operation["responses"];
    if let Some((status, description, example)) = success(route) {
        let response = &mut responses[status];
        response["description"] = description.into();
        response["headers"] = json!({ "x-request-id": request_id_header() });
        if let Some(content) = response["content"].as_object_mut() {
            let described = std::mem::take(content).into_iter();
            content.extend(described.map(|(content_type, mut media)| {
                if !example.is_null() {
                    media["example"] = example.clone();
                }
                // poem-openapi adds a charset, which JSON does not have.
                let json = content_type.starts_with("application/json");
                let content_type = if json {
                    "application/json".to_owned()
                } else {
                    content_type
                };
                (content_type, media)
            }));
        }
    }
    for code in failures(route) {
        let response = &mut responses[code.status().to_string()];
        if response.is_null() {
            *response = failure_response(*code);
        }
        response["content"]["application/json"]["examples"][code.name()] =
            json!({ "value": failure_example(route, *code) });
    }
    for status in [
        "400", "401", "404", "408", "409", "413", "415", "500", "503",
    ] {
        let Some(response) = responses.get_mut(status) else {
            continue;
        };
        let codes = failures(route).iter();
        let codes = codes.filter(|code| code.status().to_string() == status);
        let codes: Vec<_> = codes
            .map(|code| format!("`{}`: {}", code.name(), code.title()))
            .collect();
        response["description"] = codes.join(". ").into();
    }
    let parameters = operation.get_mut("parameters").map(Value::as_array_mut);
    for parameter in parameters.flatten().into_iter().flatten() {
        let schema = &mut parameter["schema"];
        schema["minimum"] = 1.into();
        schema["maximum"] = i64::MAX.into();
        parameter["example"] = 1.into();
    }
    if let Some(example) = request_example(route) {
        operation["requestBody"]["content"]["application/json"]["example"] = example;
    }
}

/// Status, description and example of the answer when all goes well.
fn success(route: Route) -> Option<(&'static str, &'static str, Value)> {
    let user = "42";
    Some(match route {
        Route::Register => (
            "201",
            "The user is made.",
            json!({ "success": true, "data": {
                "userId": user, "username": "ann", "email": "ann@example.org", "fullName": "Ann Example"
            }}),
        ),
        Route::Login => (
            "200",
            "The token.",
            json!({ "success": true, "data": { "token": "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "userId": user }}),
        ),
        Route::SaleStatus => (
            "200",
            "The sale.",
            json!({ "success": true, "data": {
                "id": 1, "status": "ACTIVE",
                "startTime": "2026-01-01T00:00:00.000Z", "endTime": "2026-01-01T01:00:00.000Z",
                "currentTime": "2026-01-01T00:00:07.125Z",
                "productId": 1, "productName": "Console", "productDescription": "One per buyer."
            }}),
        ),
        Route::Attempt => (
            "200",
            "The attempt is kept durably, now or from an earlier request.",
            json!({ "success": true, "message": "Your attempt is accepted; its result follows.", "data": {
                "attemptId": "0193e3a6-0b5c-7f2e-8a44-5d1c9f0e7b21", "saleId": 1, "productId": 1,
                "userId": user, "status": "PENDING", "durability": "LOGGED"
            }}),
        ),
        Route::OrderStatus => (
            "200",
            "How the user stands with the product.",
            json!({ "success": true, "data": {
                "productId": 1, "userId": user, "status": "SUCCESS", "attempted": true
            }}),
        ),
        Route::Health => (
            "200",
            "The process lives.",
            json!({ "status": "ok", "timestamp": "2026-01-01T00:00:00.000Z" }),
        ),
        Route::Ready => (
            "200",
            "All dependencies answer.",
            json!({ "status": "ok", "checks": { "orders": "up", "sales": "up", "stock": "up" } }),
        ),
        Route::Metrics => (
            "200",
            "The measurements.",
            "flashsale_events_total{event=\"accepted\"} 3\n".into(),
        ),
        Route::ApiDocs => ("200", "The page; it needs no network.", Value::Null),
        Route::OpenApi => ("200", "The document.", json!({ "openapi": "3.0.0" })),
        Route::Unmatched => return None,
    })
}

/// Everything that a route can answer instead, except 405, which a described method never gets.
pub(super) fn failures(route: Route) -> &'static [Code] {
    match route {
        Route::Register => &[
            Code::Validation,
            Code::RequestTimeout,
            Code::UsernameTaken,
            Code::EmailTaken,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
            Code::Internal,
            Code::Busy,
            Code::Unavailable,
        ],
        Route::Login => &[
            Code::Validation,
            Code::InvalidCredentials,
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
            Code::Internal,
            Code::Busy,
            Code::Unavailable,
        ],
        Route::SaleStatus => &[
            Code::Validation,
            Code::Unauthorized,
            Code::NoSale,
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::Internal,
        ],
        Route::Attempt => &[
            Code::Validation,
            Code::Unauthorized,
            Code::SaleNotFound,
            Code::RequestTimeout,
            Code::SoldOut,
            Code::SaleNotStarted,
            Code::SaleEnded,
            Code::SalePaused,
            Code::PayloadTooLarge,
            Code::Internal,
            Code::Unavailable,
        ],
        Route::OrderStatus => &[
            Code::Validation,
            Code::Unauthorized,
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::Internal,
            Code::Unavailable,
        ],
        Route::Ready => &[
            Code::Validation,
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::Internal,
            Code::Unavailable,
        ],
        Route::Health | Route::Metrics | Route::ApiDocs | Route::OpenApi => &[
            Code::Validation,
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::Internal,
        ],
        Route::Unmatched => &[],
    }
}

fn request_example(route: Route) -> Option<Value> {
    match route {
        Route::Register => Some(json!({
            "username": "ann", "email": "ann@example.org", "password": "correct horse",
            "fullName": "Ann Example"
        })),
        Route::Login => Some(json!({ "username": "ann", "password": "correct horse" })),
        _ => None,
    }
}

fn failure_response(code: Code) -> Value {
    let mut headers = Map::new();
    headers.insert("x-request-id".to_owned(), request_id_header());
    if code.status() == 401 {
        let header = json!({ "schema": { "type": "string" }, "example": "Bearer" });
        headers.insert("WWW-Authenticate".to_owned(), header);
    }
    if code.retry_after().is_some() {
        let header = json!({
            "description": "Seconds to wait.", "schema": { "type": "integer" }, "example": 1
        });
        headers.insert("Retry-After".to_owned(), header);
    }
    json!({
        "headers": headers,
        "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Failure" }, "examples": {}
        }}
    })
}

fn failure_example(route: Route, code: Code) -> Value {
    let mut example: Value = serde_json::from_str(code.envelope()).unwrap_or_default();
    match (route, code) {
        (Route::Ready, Code::Unavailable) => {
            example["status"] = "unavailable".into();
            example["checks"] = json!({ "orders": "up", "sales": "up", "stock": "down" });
        }
        (Route::Attempt, Code::SaleNotStarted) => {
            example["message"] = "The sale starts at 2026-01-01T00:00:00.000Z.".into();
        }
        (Route::Register, Code::Validation) => {
            example["message"] =
                "password must have at least 6 characters and at most 71 bytes.".into();
        }
        _ => {}
    }
    example
}

fn request_id_header() -> Value {
    json!({ "description": "Names the request in logs.", "schema": { "type": "string" } })
}

fn failure_schema() -> Value {
    json!({
        "type": "object",
        "description": "What every failure looks like.",
        "required": ["success", "error", "code", "message"],
        "properties": {
            "success": { "type": "boolean", "enum": [false] },
            "error": { "type": "string", "description": "A short title." },
            "code": { "type": "string", "description": "Stable; act on this." },
            "message": { "type": "string", "description": "What happened and what to do." }
        }
    })
}
