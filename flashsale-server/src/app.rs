use std::sync::Arc;

use poem::{Endpoint, Response};

use crate::http::{ApiEndpoint, document};
use crate::http_config::{HttpConfig, HttpConfigInvalid};
use crate::services::Services;

/// The whole contract as one endpoint: every route, and an answer in the error envelope for
/// everything else.
///
/// It needs no socket (`poem::test::TestClient` can drive it) and can be nested in another poem
/// application; paths are then below the prefix.
///
/// ```
/// use std::sync::Arc;
/// use flashsale_server::{HttpConfig, HttpConfigInvalid, Services, app};
/// use poem::Route;
///
/// fn my_site(services: Services) -> Result<Route, HttpConfigInvalid> {
///     let config = HttpConfig {
///         cors_origins: vec!["https://shop.example".to_owned()],
///         ..HttpConfig::default()
///     };
///     Ok(Route::new().nest("/shop", app(Arc::new(services), &config)?))
/// }
/// ```
///
/// # Errors
/// If the configuration cannot be used.
pub fn app(
    services: Arc<Services>,
    config: &HttpConfig,
) -> Result<impl Endpoint<Output = Response> + use<>, HttpConfigInvalid> {
    config.validate()?;
    Ok(ApiEndpoint::new(services, config))
}

/// The OpenAPI document as JSON: every route, status code and body, with examples.
///
/// ```
/// assert!(flashsale_server::openapi().contains("/api/flash-sale/attempt/{saleId}"));
/// ```
pub fn openapi() -> String {
    document::json()
}
