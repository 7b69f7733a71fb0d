use std::sync::Arc;
use std::time::Duration;

use flashsale_core::ports::{PasswordHasher, TokenIssuer};
use flashsale_core::services::{AuthService, EngineServices};
use flashsale_embedded::EmbeddedEngine;
use poem::http::HeaderValue;
use poem::{Endpoint, Response};

use crate::dependency::Dependency;
use crate::http::{Edge, document};
use crate::metrics::Metrics;

/// Everything the routes need.
///
/// ```
/// # async fn wire() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
/// use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, SystemClock};
/// use flashsale_server::{Background, BackgroundConfig, HttpConfig, Services};
///
/// let config = EmbeddedConfig::new("shop.db");
/// let engine = EmbeddedEngine::open(config, Arc::new(SystemClock))?;
/// let hasher = Arc::new(BcryptPasswordHasher::new(BcryptConfig::default())?);
/// let key = JwtKey::hs256("1", *b"32 bytes, and better random ones");
/// let tokens = Arc::new(JwtTokenIssuer::new(JwtConfig::new([key]))?);
///
/// let services = Arc::new(Services::embedded(&engine, hasher, tokens));
/// let background = Background::start(&services, &BackgroundConfig::default()).await;
/// let app = flashsale_server::app(services, &HttpConfig::default())?;
/// // … serve `app`, then:
/// background.stop(Duration::from_secs(1)).await;
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Services {
    /// Takes attempts, manages sales, accounts for units. [`Background`](crate::Background) keeps
    /// its catalogue fresh.
    pub engine: EngineServices,
    /// Registers and recognises users.
    pub auth: AuthService,
    /// Counts requests, and what the engine reports if it is the engine's recorder.
    pub metrics: Metrics,
    /// What `GET /ready` asks.
    pub dependencies: Vec<Dependency>,
}

impl Services {
    /// Those of an engine, with [`Dependency::of_engine`].
    pub fn new(engine: EngineServices, auth: AuthService, metrics: Metrics) -> Self {
        Self {
            dependencies: Dependency::of_engine(&engine),
            engine,
            auth,
            metrics,
        }
    }

    /// Those of the embedded engine.
    pub fn embedded(
        engine: &EmbeddedEngine,
        hasher: Arc<dyn PasswordHasher>,
        tokens: Arc<dyn TokenIssuer>,
    ) -> Self {
        let metrics = Metrics::default();
        let auth = AuthService {
            users: engine.users(),
            hasher,
            tokens,
            clock: engine.clock(),
        };
        let engine = engine.ports(Arc::new(metrics.clone())).services();
        Self::new(engine, auth, metrics)
    }
}

/// No process gets more sockets than that.
const CONNECTIONS_MAX: usize = 1_000_000;

/// How requests are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The browser origins that may call, e.g. `https://shop.example`; none by default, and then no
    /// CORS header is ever sent.
    pub cors_origins: Vec<String>,
    /// The longest request body in bytes; 16 KiB by default.
    pub body_max: usize,
    /// The longest wait for a whole request body; 10 s by default.
    pub body_timeout: Duration,
    /// The longest wait for one dependency when `GET /ready` asks; 2 s by default.
    pub ready_timeout: Duration,
    /// The most connections at a time; 10,000 by default. More wait in the system's queue.
    pub connections_max: usize,
    /// From the first byte of a request (or from connecting) to the first byte of its answer; 30 s
    /// by default. Slower connections are cut, up to a quarter of the time late.
    pub request_timeout: Duration,
    /// The longest silence between two requests, and while an answer is not taken; 75 s by default.
    /// Longer ones end the connection, up to a quarter of the time late.
    pub idle_timeout: Duration,
    /// Whether only the service routes are answered (`/health`, `/ready`, `/metrics` and the
    /// documentation), as a process without an API does; not by default.
    pub service_routes_only: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new(),
            body_max: 16 * 1024,
            body_timeout: Duration::from_secs(10),
            ready_timeout: Duration::from_secs(2),
            connections_max: 10_000,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            service_routes_only: false,
        }
    }
}

/// Why an [`HttpConfig`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpConfigInvalid {
    /// An origin is scheme, host and, if it is not the usual one, port.
    #[error(
        "cors_origins: {0:?} is not an origin; write it like https://shop.example or http://localhost:3000, without a path"
    )]
    Origin(String),
    /// A login has to fit.
    #[error("body_max: {0} bytes is out of range; allowed are 1024 to 1048576")]
    BodyMax(usize),
    /// Somebody must be able to connect.
    #[error("connections_max: {0} is out of range; allowed are 1 to {max}", max = CONNECTIONS_MAX)]
    ConnectionsMax(usize),
    /// A wait of no length would refuse everything.
    #[error("{0}: must be longer than 0")]
    NoTime(&'static str),
}

impl HttpConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), HttpConfigInvalid> {
        for origin in &self.cors_origins {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            let fits = host.is_some_and(|host| {
                !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ',', ' '])
            });
            if !fits || HeaderValue::from_str(origin).is_err() {
                return Err(HttpConfigInvalid::Origin(origin.clone()));
            }
        }
        if !(1024..=1 << 20).contains(&self.body_max) {
            return Err(HttpConfigInvalid::BodyMax(self.body_max));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            return Err(HttpConfigInvalid::ConnectionsMax(self.connections_max));
        }
        for (name, wait) in [
            ("body_timeout", self.body_timeout),
            ("ready_timeout", self.ready_timeout),
            ("request_timeout", self.request_timeout),
            ("idle_timeout", self.idle_timeout),
        ] {
            if wait.is_zero() {
                return Err(HttpConfigInvalid::NoTime(name));
            }
        }
        Ok(())
    }
}

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
    Ok(Edge::new(services, config))
}

/// The OpenAPI document as JSON: every route, status code and body, with examples.
///
/// ```
/// assert!(flashsale_server::openapi().contains("/api/flash-sale/attempt/{saleId}"));
/// ```
pub fn openapi() -> String {
    document::json()
}
