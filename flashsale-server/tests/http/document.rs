use serde_json::{Value, json};

use crate::shop::{START, Shop};

fn document() -> Value {
    serde_json::from_str(&flashsale_server::openapi()).unwrap()
}

const OPERATIONS: [(&str, &str, &[u16]); 10] = [
    (
        "/api/auth/register",
        "post",
        &[201, 400, 408, 409, 413, 415, 500, 503],
    ),
    (
        "/api/auth/login",
        "post",
        &[200, 400, 401, 408, 413, 415, 500, 503],
    ),
    (
        "/api/flash-sale/status",
        "get",
        &[200, 400, 401, 404, 408, 413, 500],
    ),
    (
        "/api/flash-sale/attempt/{saleId}",
        "post",
        &[200, 400, 401, 404, 408, 409, 413, 500, 503],
    ),
    (
        "/api/orders/status/{productId}",
        "get",
        &[200, 400, 401, 408, 413, 500, 503],
    ),
    ("/health", "get", &[200, 400, 408, 413, 500]),
    ("/ready", "get", &[200, 400, 408, 413, 500, 503]),
    ("/metrics", "get", &[200, 400, 408, 413, 500]),
    ("/api-docs", "get", &[200, 400, 408, 413, 500]),
    ("/api-docs/openapi.json", "get", &[200, 400, 408, 413, 500]),
];

#[test]
fn every_route_is_described_with_every_status() {
    let document = document();
    assert_eq!(
        document["paths"].as_object().unwrap().len(),
        OPERATIONS.len()
    );
    for (path, method, statuses) in OPERATIONS {
        let operations = document["paths"][path].as_object().unwrap();
        assert_eq!(operations.keys().collect::<Vec<_>>(), [method], "{path}");
        let described = operations[method]["responses"].as_object().unwrap();
        let expected: Vec<_> = statuses.iter().map(u16::to_string).collect();
        assert_eq!(
            described.keys().collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>(),
            "{path}"
        );
    }
}

#[test]
fn nothing_in_the_document_is_null() {
    fn assert_no_null(value: &Value, at: &str) {
        match value {
            Value::Null => panic!("{at} is null"),
            Value::Array(items) => items.iter().for_each(|item| assert_no_null(item, at)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    assert_no_null(value, &format!("{at}/{name}"));
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    assert_no_null(&document(), "");
}

#[test]
fn every_body_has_an_example_and_every_answer_a_description() {
    let document = document();
    for (path, method, _) in OPERATIONS {
        let operation = &document["paths"][path][method];
        assert!(operation["summary"].is_string(), "{path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let description = response["description"].as_str().unwrap();
            assert!(!description.is_empty(), "{path} {status}");
            assert!(
                response["headers"]["x-request-id"].is_object(),
                "{path} {status}"
            );
            for (content_type, media) in response["content"].as_object().unwrap() {
                let shown = media.get("example").is_some() || media.get("examples").is_some();
                assert!(
                    shown || content_type.starts_with("text/html"),
                    "{path} {status}"
                );
            }
        }
        if let Some(body) = operation.get("requestBody") {
            assert!(
                body["content"]["application/json"]["example"].is_object(),
                "{path}"
            );
        }
    }
}

#[test]
fn ids_have_their_limits_and_tokens_their_scheme() {
    let document = document();
    for (path, method) in [
        ("/api/flash-sale/attempt/{saleId}", "post"),
        ("/api/orders/status/{productId}", "get"),
    ] {
        let operation = &document["paths"][path][method];
        let schema = &operation["parameters"][0]["schema"];
        assert_eq!(schema["type"], "integer");
        assert_eq!(schema["minimum"], 1);
        assert_eq!(schema["maximum"], i64::MAX);
        assert_eq!(operation["security"], json!([{ "bearer": [] }]));
    }
    let status = &document["paths"]["/api/flash-sale/status"]["get"];
    assert_eq!(status["security"], json!([{ "bearer": [] }]));
    assert!(
        document["paths"]["/health"]["get"]
            .get("security")
            .is_none()
    );
    let bearer = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!(bearer["scheme"], "bearer");
}

#[tokio::test]
async fn the_document_and_its_page_are_served_and_need_no_network() {
    let client = Shop::open().await.client();
    let response = client.get("/api-docs/openapi.json").send().await;
    response.assert_content_type("application/json");
    let served: Value =
        serde_json::from_str(&response.0.into_body().into_string().await.unwrap()).unwrap();
    assert_eq!(served, document());

    for path in ["/api-docs", "/api-docs/"] {
        let response = client.get(path).send().await;
        response.assert_status_is_ok();
        response.assert_content_type("text/html; charset=utf-8");
        let page = response.0.into_body().into_string().await.unwrap();
        assert!(page.contains("SwaggerUIBundle"));
        assert!(
            page.contains("SALE_NOT_STARTED"),
            "the page shows the complete document"
        );
        assert!(!page.contains("<script src=") && !page.contains("<link "));
    }
}

/// Whether `value` has the fields that the schema asks for, with the right types, and no other.
fn assert_fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(&reference[1..]).unwrap();
        return assert_fits(document, schema, value, at);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return assert_fits(document, &parts[0], value, at);
    }
    match schema["type"].as_str().unwrap() {
        "object" => {
            let object = value.as_object().unwrap_or_else(|| panic!("{at}: {value}"));
            let Some(properties) = schema["properties"].as_object() else {
                return;
            };
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    object.contains_key(name.as_str().unwrap()),
                    "{at}: {name} in {value}"
                );
            }
            for (name, value) in object {
                let schema = properties.get(name);
                let schema = schema.unwrap_or_else(|| panic!("{at}: {name} is not described"));
                assert_fits(document, schema, value, &format!("{at}.{name}"));
            }
        }
        "string" => assert!(value.is_string(), "{at}: {value}"),
        "integer" => assert!(value.is_i64(), "{at}: {value}"),
        "boolean" => assert!(value.is_boolean(), "{at}: {value}"),
        other => panic!("{at}: {other}"),
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
}

#[tokio::test]
async fn what_is_answered_is_what_is_described() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.sale("Console", START, 1).await;
    let document = document();
    let register = json!({
        "username": "ann", "email": "ann@example.org", "password": "correct horse", "fullName": "A"
    });
    let mut seen = 0;
    for (path, method, statuses) in OPERATIONS {
        let answer = &document["paths"][path][method]["responses"][statuses[0].to_string()];
        let Some(media) = answer["content"].get("application/json") else {
            continue;
        };
        let url = path.replace("{saleId}", "1").replace("{productId}", "1");
        let request = if method == "get" {
            client.get(url)
        } else {
            client.post(url)
        };
        let request = request.header("authorization", shop.bearer("ann"));
        let response = request.body_json(&register).send().await;
        assert_eq!(response.0.status().as_u16(), statuses[0], "{path}");
        let body = response.0.into_body().into_string().await.unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        if path != "/api-docs/openapi.json" {
            assert_fits(&document, &media["schema"], &body, path);
            assert_fits(&document, &media["schema"], &media["example"], path);
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
}
