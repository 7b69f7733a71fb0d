//! Puts the services on top of an engine's adapters, and runs what has to run beside the requests.

mod background;
mod chores;

use std::sync::Arc;

use flashsale_core::ports::{
    AttemptQueue, Clock, IdSource, OrderRepo, PasswordHasher, SaleRepo, StockStore, TokenIssuer,
    UserRepo,
};
use flashsale_core::services::{
    Auditor, AuthService, Catalogue, FlashSalePorts, FlashSaleService, SaleService,
};
use flashsale_embedded::{EmbeddedEngine, UuidV7};

pub use background::Background;

use crate::{Metrics, Services};

/// The adapters of an engine.
///
/// ```
/// # async fn wire() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
/// use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, SystemClock};
/// use flashsale_server::{Adapters, Background, HttpConfig, Metrics};
///
/// let config = EmbeddedConfig::new("shop.db");
/// let engine = EmbeddedEngine::open(config, Arc::new(SystemClock))?;
/// let hasher = Arc::new(BcryptPasswordHasher::new(BcryptConfig::default())?);
/// let key = JwtKey::hs256("1", *b"32 bytes, and better random ones");
/// let tokens = Arc::new(JwtTokenIssuer::new(JwtConfig::new([key]))?);
///
/// let adapters = Adapters::embedded(&engine, hasher, tokens);
/// let services = Arc::new(adapters.services(Metrics::default()));
/// let background = Background::start(&adapters, &services).await?;
/// let app = flashsale_server::app(services, &HttpConfig::default())?;
/// // … serve `app`, then:
/// background.stop(Duration::from_secs(1)).await;
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Adapters {
    /// Admits attempts.
    pub stock: Arc<dyn StockStore>,
    /// Carries them to the worker.
    pub queue: Arc<dyn AttemptQueue>,
    /// Decides about them.
    pub orders: Arc<dyn OrderRepo>,
    /// Keeps the sales.
    pub sales: Arc<dyn SaleRepo>,
    /// Keeps the users.
    pub users: Arc<dyn UserRepo>,
    /// Checks passwords.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Makes and checks tokens.
    pub tokens: Arc<dyn TokenIssuer>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Names attempts.
    pub ids: Arc<dyn IdSource>,
}

impl Adapters {
    /// Those of the embedded engine, with random attempt ids that grow with time.
    pub fn embedded(
        engine: &EmbeddedEngine,
        hasher: Arc<dyn PasswordHasher>,
        tokens: Arc<dyn TokenIssuer>,
    ) -> Self {
        Self {
            stock: engine.stock(),
            queue: engine.queue(),
            orders: engine.orders(),
            sales: engine.sales(),
            users: engine.users(),
            hasher,
            tokens,
            clock: engine.clock(),
            ids: Arc::new(UuidV7),
        }
    }

    /// The services over these adapters, with an empty catalogue: [`Background`] fills it.
    pub fn services(&self, metrics: Metrics) -> Services {
        let catalogue = Arc::new(Catalogue::new(Arc::clone(&self.sales)));
        Services {
            flash_sale: FlashSaleService::new(FlashSalePorts {
                catalogue: Arc::clone(&catalogue),
                stock: Arc::clone(&self.stock),
                queue: Arc::clone(&self.queue),
                clock: Arc::clone(&self.clock),
                ids: Arc::clone(&self.ids),
                recorder: Arc::new(metrics.clone()),
            }),
            auth: AuthService {
                users: Arc::clone(&self.users),
                hasher: Arc::clone(&self.hasher),
                tokens: Arc::clone(&self.tokens),
                clock: Arc::clone(&self.clock),
            },
            sales: SaleService {
                repo: Arc::clone(&self.sales),
                orders: Arc::clone(&self.orders),
                stock: Arc::clone(&self.stock),
                catalogue: Arc::clone(&catalogue),
            },
            auditor: Auditor {
                sales: Arc::clone(&self.sales),
                orders: Arc::clone(&self.orders),
                stock: Arc::clone(&self.stock),
            },
            catalogue,
            metrics,
        }
    }
}

/// An error and what caused it.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.replace('\n', " ")
}
