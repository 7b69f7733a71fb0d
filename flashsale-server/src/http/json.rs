use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Response};
use serde::Serialize;

use super::api_error::{ApiError, Code};

/// The content type of every JSON answer.
const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A response with this JSON text.
pub(super) fn json_response(status: StatusCode, body: Body) -> Response {
    let mut response = Response::default();
    response.set_status(status);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, APPLICATION_JSON);
    response.set_body(body);
    response
}

/// A response with `value` as JSON.
pub(super) fn answer(status: StatusCode, value: &impl Serialize) -> Result<Response, ApiError> {
    let mut text = Vec::with_capacity(384);
    serde_json::to_writer(&mut text, value).map_err(|_| Code::Internal)?;
    Ok(json_response(status, Body::from(text)))
}
