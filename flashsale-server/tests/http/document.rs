use poem::http::StatusCode;
use serde_json::{Value, json};

use crate::shop::{START, Shop};

fn document() -> Value {
    serde_json::from_str(&flashsale_server::openapi()).unwrap()
}

/// A described operation: its path, its method and the statuses that it can answer with, in order.
struct Operation {
    path: String,
    method: String,
    statuses: Vec<u16>,
    described: Value,
}

/// All of them: the list of routes that these tests go through is the document's own.
fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, described)| {
            let responses = described["responses"].as_object().unwrap();
            Operation {
                path: path.clone(),
                method: method.clone(),
                statuses: responses.keys().map(|key| key.parse().unwrap()).collect(),
                described: described.clone(),
            }
        })
    });
    operations.collect()
}

#[test]
fn every_route_is_described_with_every_status() {
    let document = document();
    let operations = operations(&document);
    assert!(operations.len() >= 10);
    for Operation {
        path,
        method,
        statuses,
        described,
    } in operations
    {
        let (success, failures): (Vec<u16>, Vec<u16>) = statuses.iter().partition(|at| **at < 400);
        assert_eq!(success.len(), 1, "{method} {path}");
        for every in [400, 408, 413, 500] {
            assert!(failures.contains(&every), "{method} {path} {every}");
        }
        let secured = described.get("security").is_some();
        assert!(!secured || failures.contains(&401), "{method} {path}");
        let has_body = described.get("requestBody").is_some();
        assert_eq!(failures.contains(&415), has_body, "{method} {path}");
        let has_id = path.contains('{');
        let parameters = described.get("parameters").is_some();
        assert_eq!(parameters, has_id, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_described_is_there_and_takes_no_other_method() {
    let client = Shop::open().await.client();
    let document = document();
    for Operation { path, method, .. } in operations(&document) {
        let url = path.replace("{saleId}", "1").replace("{productId}", "1");
        assert!(!url.contains('{'), "{url}: say what stands for the id");
        let response = client.delete(url).send().await;
        assert_eq!(response.0.status().as_u16(), 405, "{path}");
        let allow = response.0.header("allow").unwrap();
        let allow: Vec<_> = allow.split(", ").map(str::to_lowercase).collect();
        assert!(allow.contains(&method), "{path}: {allow:?}");
        assert_eq!(
            allow.contains(&"head".to_owned()),
            method == "get",
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
    for Operation {
        path,
        described: operation,
        ..
    } in operations(&document)
    {
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
    let register = |name: &str| {
        json!({
            "username": name, "email": format!("{name}@example.org"),
            "password": "correct horse", "fullName": "A"
        })
    };
    let ann = register("ann");
    let made = client.post("/api/auth/register").body_json(&ann);
    made.send().await.assert_status(StatusCode::CREATED);
    let mut seen = 0;
    for Operation {
        path,
        method,
        statuses,
        described,
    } in operations(&document)
    {
        let answer = &described["responses"][statuses[0].to_string()];
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
        let registers = path == "/api/auth/register";
        let body = if registers {
            register("bob")
        } else {
            ann.clone()
        };
        let response = request.body_json(&body).send().await;
        assert_eq!(response.0.status().as_u16(), statuses[0], "{path}");
        let body = response.0.into_body().into_string().await.unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        if path != "/api-docs/openapi.json" {
            assert_fits(&document, &media["schema"], &body, &path);
            assert_fits(&document, &media["schema"], &media["example"], &path);
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
}
