use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

/// Lets browsers call from the configured origins, and from no other.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<HeaderValue>,
    /// The request headers that a page may send.
    headers: HeaderValue,
}

/// Those that the API reads, and those that the clients and tracing of browsers add.
const HEADERS: &str =
    "authorization, content-type, x-request-id, x-requested-with, traceparent, tracestate, baggage";

impl Cors {
    /// Nothing if no origin is configured.
    pub(super) fn new(origins: &[String], more_headers: &[String]) -> Option<Self> {
        let origins: Vec<_> = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok())
            .collect();
        if origins.is_empty() {
            return None;
        }
        let more = more_headers.iter().map(String::as_str);
        let headers: Vec<_> = std::iter::once(HEADERS).chain(more).collect();
        let headers = HeaderValue::from_str(&headers.join(", ")).ok()?;
        Some(Self { origins, headers })
    }

    /// The origin of a request, if it is one of ours.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.origins.contains(origin).then(|| origin.clone())
    }

    /// The answer to a preflight request from one of our origins.
    pub(super) fn preflight(&self, request: &Request, allow: &'static str) -> Option<Response> {
        let headers = request.headers();
        let asks = request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || self.origin(headers).is_none() {
            return None;
        }
        let mut response = Response::from(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(allow),
        );
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("600"),
        );
        Some(response)
    }

    /// Lets a page of `origin` read the response.
    pub(super) fn mark(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            // Nothing here depends on cookies, but pages that include them get no answer without.
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("x-request-id, retry-after"),
            );
        }
    }
}
