use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use flashsale_core::PortError;
use flashsale_core::domain::{AttemptId, SaleId};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Response};
use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use crate::app::Services;

use super::document;
use super::failure::{Code, Failure};
use super::json::{answer, json_response};
use super::rfc3339::rfc3339;

/// The process lives.
#[derive(Object, Serialize)]
pub(super) struct HealthAnswer {
    status: Fine,
    timestamp: String,
}

#[derive(Enum, Serialize)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
enum Fine {
    Ok,
}

/// All dependencies answer.
#[derive(Object, Serialize)]
pub(super) struct ReadyAnswer {
    status: Fine,
    checks: BTreeMap<String, Check>,
}

/// Whether a dependency answers.
#[derive(Clone, Copy, Enum, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
enum Check {
    Up,
    Down,
}

/// Some dependency does not answer: the envelope of every failure, and which one it is.
#[derive(Serialize)]
struct NotReady<'a> {
    success: bool,
    error: &'a str,
    code: &'a str,
    message: &'a str,
    status: &'a str,
    checks: &'a BTreeMap<String, Check>,
}

/// `GET /health`.
pub(super) fn health(services: &Services) -> Result<Response, Failure> {
    let timestamp = rfc3339(services.auth.clock.now());
    let status = Fine::Ok;
    answer(StatusCode::OK, &HealthAnswer { status, timestamp })
}

/// `GET /ready`.
pub(super) async fn ready(services: &Services, timeout: Duration) -> Result<Response, Failure> {
    let nobody = AttemptId::from_uuid(Uuid::nil());
    let any_order = [nobody];
    let first_sale = SaleId::new(1).map_err(|_| Code::Internal)?;
    let (stock, orders, sales) = tokio::join!(
        check("stock", timeout, services.engine.flash_sale.ping()),
        check(
            "orders",
            timeout,
            services.engine.auditor.orders.find(&any_order)
        ),
        check(
            "sales",
            timeout,
            services.engine.auditor.sales.find(first_sale)
        ),
    );
    let checks: BTreeMap<_, _> = [stock, orders, sales].into_iter().collect();
    if checks.values().all(|check| *check == Check::Up) {
        let status = Fine::Ok;
        return answer(StatusCode::OK, &ReadyAnswer { status, checks });
    }
    let not_ready = NotReady {
        success: false,
        error: Code::Unavailable.title(),
        code: Code::Unavailable.name(),
        message: "A dependency does not answer; checks says which.",
        status: "unavailable",
        checks: &checks,
    };
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &not_ready)?;
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    Ok(response)
}

async fn check<T>(
    name: &'static str,
    timeout: Duration,
    question: impl Future<Output = Result<T, PortError>>,
) -> (String, Check) {
    let check = match tokio::time::timeout(timeout, question).await {
        Ok(Ok(_)) => Check::Up,
        Ok(Err(error)) => {
            tracing::warn!(dependency = name, error = %error, "dependency is down");
            Check::Down
        }
        Err(_) => {
            tracing::warn!(dependency = name, "dependency does not answer in time");
            Check::Down
        }
    };
    (name.to_owned(), check)
}

/// `GET /metrics`.
pub(super) fn metrics(services: &Services) -> Result<Response, Failure> {
    let mut response = Response::from(services.metrics.render());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    Ok(response)
}

/// `GET /api-docs`. The page is 1.6 MB and made once.
pub(super) fn api_docs() -> Result<Response, Failure> {
    static PAGE: OnceLock<Bytes> = OnceLock::new();
    let page = PAGE.get_or_init(|| document::page().into());
    let mut response = Response::from(page.clone());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=600"),
    );
    Ok(response)
}

/// `GET /api-docs/openapi.json`.
pub(super) fn openapi() -> Result<Response, Failure> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| document::json().into());
    Ok(json_response(StatusCode::OK, Body::from(document.clone())))
}
