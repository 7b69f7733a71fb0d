use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Response};
use poem_openapi::{Enum, Object};
use serde::Serialize;

use crate::rfc3339::rfc3339;

use super::api_error::{ApiError, Code};
use super::document;
use super::json::{answer, json_response};
use super::readiness::Check;
use super::route::Call;

/// The process lives.
#[derive(Object, Serialize)]
pub(super) struct HealthAnswer {
    status: HealthStatus,
    timestamp: String,
}

#[derive(Enum, Serialize)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
enum HealthStatus {
    Ok,
}

/// Everything answers that this process is of no use without.
#[derive(Object, Serialize)]
pub(super) struct ReadyAnswer {
    status: ReadyStatus,
    checks: BTreeMap<String, Check>,
}

/// `degraded` if something does not answer that this process can do without for a while.
#[derive(Enum, Serialize)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
enum ReadyStatus {
    Ok,
    Degraded,
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
pub(super) async fn health(call: Call<'_>) -> Result<Response, ApiError> {
    let timestamp = rfc3339(call.services.auth.clock.now());
    let status = HealthStatus::Ok;
    answer(StatusCode::OK, &HealthAnswer { status, timestamp })
}

/// `GET /ready`.
pub(super) async fn ready(call: Call<'_>) -> Result<Response, ApiError> {
    let answers = call.readiness.checks().await;
    let down = |needed_only: bool| {
        answers
            .iter()
            .any(|(dependency, check)| *check == Check::Down && (dependency.needed || !needed_only))
    };
    let (unusable, degraded) = (down(true), down(false));
    let named = answers.iter();
    let named = named.map(|(dependency, check)| (dependency.name.to_owned(), *check));
    let checks: BTreeMap<_, _> = named.collect();
    let leaving = call.services.is_leaving();
    if !unusable && !leaving {
        let status = if degraded {
            ReadyStatus::Degraded
        } else {
            ReadyStatus::Ok
        };
        return answer(StatusCode::OK, &ReadyAnswer { status, checks });
    }
    let not_ready = NotReady {
        success: false,
        error: Code::Unavailable.title(),
        code: Code::Unavailable.name(),
        message: if leaving {
            "This process is about to stop; send requests to another one."
        } else {
            "A dependency does not answer; checks says which."
        },
        status: "unavailable",
        checks: &checks,
    };
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &not_ready)?;
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    Ok(response)
}

/// `GET /metrics`.
pub(super) async fn metrics(call: Call<'_>) -> Result<Response, ApiError> {
    let mut response = Response::from(call.services.metrics.render());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    Ok(response)
}

/// `GET /api-docs`. The page is 1.6 MB and made once.
pub(super) async fn api_docs(_: Call<'_>) -> Result<Response, ApiError> {
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
pub(super) async fn openapi(_: Call<'_>) -> Result<Response, ApiError> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| document::json().into());
    Ok(json_response(StatusCode::OK, Body::from(document.clone())))
}
