//! The OpenAPI document: the table of routes as poem-openapi writes it, with everything that can go
//! wrong, with examples, and with limits that it cannot express.

use std::collections::HashMap;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::registry::{
    MetaApi, MetaMediaType, MetaOperation, MetaOperationParam, MetaParamIn, MetaPath, MetaRequest,
    MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, MetaSecurityScheme, MetaTag, Registry,
};
use poem_openapi::{OpenApi, OpenApiService};
use serde_json::{Map, Value, json};

use super::api_error::Code;
use super::route::{Access, Content, Route, Tag};
use super::routes::ROUTES;

/// The name of the security scheme of tokens.
const BEARER: &str = "bearer";

/// The table of routes as poem-openapi describes it.
struct Contract;

impl OpenApi for Contract {
    fn meta() -> Vec<MetaApi> {
        let mut paths: Vec<MetaPath> = Vec::new();
        for route in &ROUTES {
            let operation = operation(route);
            match paths.iter_mut().find(|known| known.path == route.path) {
                Some(known) => known.operations.push(operation),
                None => paths.push(MetaPath {
                    path: route.path.to_owned(),
                    operations: vec![operation],
                }),
            }
        }
        vec![MetaApi { paths }]
    }

    fn register(registry: &mut Registry) {
        for route in &ROUTES {
            (route.answer.2.register)(registry);
            if let Some(body) = &route.body {
                (body.register)(registry);
            }
            registry.create_tag(MetaTag {
                name: route.tag.name(),
                description: Some(route.tag.description()),
                external_docs: None,
            });
        }
        registry.create_security_scheme(
            BEARER,
            MetaSecurityScheme {
                ty: "http",
                description: Some("The token that `POST /api/auth/login` returns."),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    /// None: requests are answered from the same table, without it.
    fn add_routes(self, _: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

impl Tag {
    fn name(self) -> &'static str {
        match self {
            Self::Auth => "Auth",
            Self::FlashSale => "Flash sale",
            Self::Service => "Service",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Auth => "Users and their tokens.",
            Self::FlashSale => "The sale and the attempts to buy in it.",
            Self::Service => "For operators.",
        }
    }
}

fn operation(route: &Route) -> MetaOperation {
    let content = |content: &Content| {
        vec![MetaMediaType {
            content_type: content.content_type,
            schema: (content.schema)(),
        }]
    };
    let name = route.path.split_once('{').map(|(_, rest)| rest);
    let name = name.and_then(|rest| rest.split_once('}'));
    let params = name.map(|(name, _)| MetaOperationParam {
        name: name.to_owned(),
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("integer", "int64"))),
        in_type: MetaParamIn::Path,
        description: route.id.map(str::to_owned),
        required: true,
        deprecated: false,
        explode: true,
        style: None,
    });
    let security = match route.access {
        Access::Open => None,
        Access::User => Some(HashMap::from([(BEARER, vec![])])),
    };
    let (status, _, answer) = &route.answer;
    MetaOperation {
        method: route.method.clone(),
        tags: vec![route.tag.name()],
        summary: Some(route.summary),
        description: route.description,
        external_docs: None,
        params: params.into_iter().collect(),
        request: route.body.as_ref().map(|body| MetaRequest {
            description: None,
            content: content(body),
            required: true,
        }),
        responses: MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(*status),
                status_range: None,
                content: content(answer),
                headers: vec![],
            }],
        },
        deprecated: false,
        security: security.into_iter().collect(),
        operation_id: Some(route.name),
        code_samples: vec![],
    }
}

fn service() -> OpenApiService<Contract, ()> {
    OpenApiService::new(Contract, "Flash sale", env!("CARGO_PKG_VERSION")).description(
        "Sells a limited number of units to a crowd, exactly once. Every failure has the same \
         envelope; its `code` is stable. Every answer to a request that can be read as HTTP carries \
         `x-request-id`: the caller's, if it is 1 to 64 visible ASCII characters, else a new one.",
    )
}

/// The document as JSON.
pub(crate) fn json() -> String {
    let mut document: Value = serde_json::from_str(&service().spec()).unwrap_or_default();
    let schemas = &mut document["components"]["schemas"];
    schemas["Failure"] = failure_schema();
    schemas["RegisterRequest"]["properties"]["fullName"]["nullable"] = true.into();
    for route in &ROUTES {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = document["paths"][route.path].get_mut(method);
        if let Some(operation) = operation {
            complete(route, operation);
        }
    }
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// The Swagger UI, with all that it needs in it.
pub(super) fn page() -> String {
    let service = service();
    // The page carries the document inside; give it the complete one.
    service.swagger_ui_html().replace(&service.spec(), &json())
}

fn complete(route: &Route, operation: &mut Value) {
    let responses = &mut operation["responses"];
    let (status, description, content) = &route.answer;
    let response = &mut responses[status.to_string()];
    response["description"] = (*description).into();
    response["headers"] = json!({ "x-request-id": request_id_header() });
    let example = (content.example)();
    if !example.is_null() {
        response["content"][content.content_type]["example"] = example;
    }
    for code in route.failures() {
        let response = &mut responses[code.status().to_string()];
        if response.is_null() {
            *response = failure_response(code);
        }
        let line = format!("`{}`: {}", code.name(), code.title());
        response["description"] = match response["description"].as_str() {
            None | Some("") => line,
            Some(before) => format!("{before}. {line}"),
        }
        .into();
        response["content"]["application/json"]["examples"][code.name()] =
            json!({ "value": failure_example(route, code) });
    }
    let parameters = operation.get_mut("parameters").map(Value::as_array_mut);
    for parameter in parameters.flatten().into_iter().flatten() {
        let schema = &mut parameter["schema"];
        schema["minimum"] = 1.into();
        schema["maximum"] = i64::MAX.into();
        parameter["example"] = 1.into();
    }
    if let Some(body) = &route.body {
        operation["requestBody"]["content"][body.content_type]["example"] = (body.example)();
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

fn failure_example(route: &Route, code: Code) -> Value {
    let mut example: Value = serde_json::from_str(code.envelope()).unwrap_or_default();
    match (route.name, code) {
        ("ready", Code::Unavailable) => {
            example["status"] = "unavailable".into();
            example["checks"] = json!({ "orders": "up", "sales": "up", "stock": "down" });
        }
        (_, Code::SaleNotStarted) => {
            example["message"] = "The sale starts at 2026-01-01T00:00:00.000Z.".into();
        }
        ("register", Code::Validation) => {
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
