use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use flashsale_core::ErrorKind;
use futures_util::FutureExt;
use poem::http::{HeaderValue, Method, StatusCode};
use poem::{Endpoint, Request, Response};

use crate::http_config::{HttpConfig, Network};
use crate::metrics::RequestRecord;
use crate::services::Services;

use super::api_error::{ApiError, Cause, Code};
use super::bearer::authenticate;
use super::body::{self, BodyLimits};
use super::cors::Cors;
use super::door::Door;
use super::readiness::Readiness;
use super::request_id::{RequestIds, X_REQUEST_ID};
use super::route::{Access, Call, Entrance};
use super::router::{Matched, Router};

/// The outermost endpoint: see [`http`](super).
pub(crate) struct ApiEndpoint {
    services: Arc<Services>,
    body: BodyLimits,
    cors: Option<Cors>,
    request_ids: RequestIds,
    readiness: Readiness,
    door: Door,
    trusted_proxies: Vec<Network>,
    service_routes_only: bool,
}

impl ApiEndpoint {
    /// An endpoint over these services.
    pub(crate) fn new(services: Arc<Services>, config: &HttpConfig) -> Self {
        services.metrics.name_routes(|| Router::all().paths());
        let readiness = Readiness::new(services.dependencies.clone(), config.ready_timeout);
        Self {
            services,
            body: BodyLimits {
                max: config.body_max,
                timeout: config.body_timeout,
            },
            cors: Cors::new(&config.cors_origins, &config.cors_headers),
            request_ids: RequestIds::new(),
            readiness,
            door: Door::new(config),
            trusted_proxies: config.trusted_proxies.clone(),
            service_routes_only: config.service_routes_only,
        }
    }

    /// What the path of a request leads to in this process.
    fn find<'a>(&self, request: &'a Request) -> Option<Matched<'a>> {
        let found = Router::all().find(request.uri().path());
        found.filter(|found| !self.service_routes_only || found.resource.is_service())
    }

    async fn answer(&self, mut request: Request) -> Result<Response, ApiError> {
        let body = request.take_body();
        let Matched { resource, id, .. } = self.find(&request).ok_or(Code::NotFound)?;
        let Some(route) = resource.route(request.method()) else {
            let cors = self.cors.as_ref();
            let preflight = cors.and_then(|cors| cors.preflight(&request, resource.allow));
            return preflight.ok_or_else(|| ApiError::method_not_allowed(resource.allow));
        };
        let headers = request.headers();
        let body = body::read(headers, body, self.body).await?;
        let user = match route.access {
            Access::Open => None,
            Access::User => Some(authenticate(&self.services.auth, headers)?),
        };
        let call = Call {
            services: &self.services,
            readiness: &self.readiness,
            entrance: Entrance {
                door: &self.door,
                peer: request.remote_addr(),
                trusted_proxies: &self.trusted_proxies,
            },
            headers,
            body,
            id,
            user,
        };
        (route.handler)(call).await
    }
}

impl Endpoint for ApiEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let start = Instant::now();
        let found = self.find(&request);
        let route = found.map(|found| (found.number, found.resource.path));
        let method = request.method().clone();
        let request_id = self.request_ids.of(request.headers());
        let cors = self.cors.as_ref();
        let origin = cors.and_then(|cors| cors.origin(request.headers()));

        let answered = AssertUnwindSafe(self.answer(request)).catch_unwind().await;
        let mut response = match answered {
            Ok(answer) => answer.unwrap_or_else(ApiError::into_response),
            Err(_) => ApiError::from(Code::Internal).into_response(),
        };

        if let Some(cors) = cors {
            cors.mark(origin, response.headers_mut());
        }
        if method == Method::HEAD {
            response.set_body(());
        }
        let record = RequestRecord {
            route: route.map(|(number, _)| number),
            method: &method,
            status: response.status(),
            took: start.elapsed(),
        };
        self.services.metrics.record(&record);
        if response.status().is_server_error() {
            let path = route.map_or("unmatched", |(_, path)| path);
            log(path, &record, &request_id, &mut response);
        }
        response.headers_mut().insert(X_REQUEST_ID, request_id);
        Ok(response)
    }
}

/// Every request that failed for a reason of ours, once.
fn log(path: &str, record: &RequestRecord<'_>, request_id: &HeaderValue, response: &mut Response) {
    let cause = response.data::<Cause>().map(|cause| &cause.0);
    let source = cause.and_then(std::error::Error::source);
    if cause.is_none_or(|cause| cause.kind() == ErrorKind::Busy) && !is_ours(record) {
        // Being busy or not ready is an answer; the metrics count it, and a crowd would fill the
        // disk with it.
        tracing::debug!(
            request.id = request_id.to_str().unwrap_or_default(),
            http.route = path,
            "told to come back later"
        );
        return;
    }
    tracing::error!(
        request.id = request_id.to_str().unwrap_or_default(),
        http.method = %record.method,
        http.route = path,
        http.status = record.status.as_u16(),
        duration_ms = record.took.as_millis() as u64,
        error = cause.map(tracing::field::display),
        error.source = source.map(tracing::field::display),
        "request failed"
    );
}

/// Whether the fault is in this program.
fn is_ours(record: &RequestRecord<'_>) -> bool {
    record.status == StatusCode::INTERNAL_SERVER_ERROR
}
