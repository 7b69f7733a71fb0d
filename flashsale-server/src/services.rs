use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flashsale_core::ports::{PasswordHasher, TokenIssuer};
use flashsale_core::services::{AuthService, EngineServices};
use flashsale_embedded::EmbeddedEngine;

use crate::dependency::Dependency;
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
    /// Whether this process is about to stop; see [`leave`](Self::leave).
    pub leaving: Arc<AtomicBool>,
}

impl Services {
    /// Those of an engine, with [`Dependency::of_engine`].
    pub fn new(engine: EngineServices, auth: AuthService, metrics: Metrics) -> Self {
        Self {
            dependencies: Dependency::of_engine(&engine),
            engine,
            auth,
            metrics,
            leaving: Arc::default(),
        }
    }

    /// From now on `GET /ready` says no, so that a balancer sends nobody here any more; everything
    /// else is answered as before.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether [`leave`](Self::leave) was called.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
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
