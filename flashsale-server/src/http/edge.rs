use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderValue, Method, StatusCode, Uri};
use poem::{Body, Endpoint, IntoEndpoint, Request, Response};

use crate::app::{HttpConfig, Services};
use crate::metrics::Exchange;

use super::bearer::authenticate;
use super::body::{self, BodyLimits};
use super::cors::Cors;
use super::failure::{Cause, Code, Failure};
use super::request_id::{RequestIds, X_REQUEST_ID};
use super::route::{Matched, Route};
use super::{buyers, document};

/// The outermost endpoint: see [`http`](super).
pub(crate) struct Edge {
    services: Arc<Services>,
    documented: BoxEndpoint<'static, Response>,
    body: BodyLimits,
    cors: Option<Cors>,
    request_ids: RequestIds,
    service_routes_only: bool,
}

impl Edge {
    /// An edge over these services.
    pub(crate) fn new(services: Arc<Services>, config: &HttpConfig) -> Self {
        Self {
            services,
            documented: documented(config.ready_timeout),
            body: BodyLimits {
                max: config.body_max,
                timeout: config.body_timeout,
            },
            cors: Cors::new(&config.cors_origins),
            request_ids: RequestIds::new(),
            service_routes_only: config.service_routes_only,
        }
    }

    async fn dispatch(&self, matched: Matched, mut request: Request) -> Result<Response, Failure> {
        let Matched { route, id } = matched;
        if !route.takes(request.method()) {
            return self.refuse_method(route, &request);
        }
        let body = body::read(&mut request, self.body).await?;
        let services = &*self.services;
        match route {
            Route::Attempt => {
                let buyer = authenticate(&services.auth, request.headers())?;
                buyers::attempt(services, &buyer.user, id).await
            }
            Route::OrderStatus => {
                let buyer = authenticate(&services.auth, request.headers())?;
                buyers::order_status(services, &buyer.user, id).await
            }
            Route::SaleStatus => {
                authenticate(&services.auth, request.headers())?;
                buyers::sale_status(services)
            }
            Route::ApiDocs => {
                // Some clients add a slash.
                *request.uri_mut() = Uri::from_static(Route::ApiDocs.pattern());
                Ok(self.through_openapi(request).await)
            }
            Route::Register
            | Route::Login
            | Route::Health
            | Route::Ready
            | Route::Metrics
            | Route::OpenApi
            | Route::Unmatched => {
                request.set_body(Body::from(body));
                Ok(self.through_openapi(request).await)
            }
        }
    }

    /// Answers through the documented operations. Boxed, so that the hot routes do not carry its
    /// state along.
    fn through_openapi(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(self.documented_answer(request))
    }

    async fn documented_answer(&self, mut request: Request) -> Response {
        if request.method() == Method::HEAD {
            request.set_method(Method::GET);
        }
        request.set_data(Arc::clone(&self.services));
        Failure::adopt(self.documented.get_response(request).await)
    }

    fn refuse_method(&self, route: Route, request: &Request) -> Result<Response, Failure> {
        let allow = route.allow().ok_or(Code::NotFound)?;
        let preflight = self.cors.as_ref();
        let preflight = preflight.and_then(|cors| cors.preflight(request, allow));
        preflight.ok_or_else(|| Failure::method_not_allowed(allow))
    }
}

/// The documented operations as an endpoint. It expects the services as data of the request.
fn documented(ready_timeout: Duration) -> BoxEndpoint<'static, Response> {
    document::service(ready_timeout).into_endpoint()
}

impl Endpoint for Edge {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let start = Instant::now();
        let mut matched = Route::of(request.uri().path());
        if self.service_routes_only && matched.route.is_api() {
            matched.route = Route::Unmatched;
        }
        let method = request.method().clone();
        let request_id = self.request_ids.of(request.headers());
        let cors = self.cors.as_ref();
        let origin = cors.and_then(|cors| cors.origin(request.headers()));

        let answered = AssertUnwindSafe(self.dispatch(matched, request))
            .catch_unwind()
            .await;
        let mut response = match answered {
            Ok(answer) => answer.unwrap_or_else(Failure::into_response),
            Err(_) => Failure::from(Code::Internal).into_response(),
        };

        if let Some(cors) = cors {
            cors.mark(origin, response.headers_mut());
        }
        if method == Method::HEAD {
            response.set_body(());
        }
        let exchange = Exchange {
            route: matched.route,
            method: &method,
            status: response.status(),
            took: start.elapsed(),
        };
        self.services.metrics.exchange(&exchange);
        if response.status().is_server_error() {
            log(&exchange, &request_id, &mut response);
        }
        response.headers_mut().insert(X_REQUEST_ID, request_id);
        Ok(response)
    }
}

/// Every request that failed for a reason of ours, once.
fn log(exchange: &Exchange<'_>, request_id: &HeaderValue, response: &mut Response) {
    let cause = response.data::<Cause>().map(|cause| &cause.0);
    let source = cause.and_then(std::error::Error::source);
    if cause.is_none_or(|cause| cause.kind() == ErrorKind::Busy) && !is_ours(exchange) {
        // Being busy or not ready is an answer; the metrics count it, and a crowd would fill the
        // disk with it.
        tracing::debug!(
            request.id = request_id.to_str().unwrap_or_default(),
            http.route = exchange.route.pattern(),
            "told to come back later"
        );
        return;
    }
    tracing::error!(
        request.id = request_id.to_str().unwrap_or_default(),
        http.method = %exchange.method,
        http.route = exchange.route.pattern(),
        http.status = exchange.status.as_u16(),
        duration_ms = exchange.took.as_millis() as u64,
        error = cause.map(tracing::field::display),
        error.source = source.map(tracing::field::display),
        "request failed"
    );
}

/// Whether the fault is in this program.
fn is_ours(exchange: &Exchange<'_>) -> bool {
    exchange.status == StatusCode::INTERNAL_SERVER_ERROR
}

#[cfg(test)]
mod tests;
