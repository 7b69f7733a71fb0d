use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{AttemptId, SaleId};
use flashsale_core::ports::{HealthCheck, OrderRepo, SaleRepo};
use flashsale_core::services::{EngineServices, FlashSaleService};
use uuid::Uuid;

/// Something that the engine depends on, as `GET /ready` asks it.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// What `checks` calls it.
    pub name: &'static str,
    /// Asks it.
    pub health: Arc<dyn HealthCheck>,
    /// Whether this process is of no use without it. One that is not needed can be away for a
    /// while: the process then is `degraded`, and ready all the same.
    pub needed: bool,
}

impl Dependency {
    /// What this process is of no use without.
    pub fn needed(name: &'static str, health: Arc<dyn HealthCheck>) -> Self {
        Self {
            name,
            health,
            needed: true,
        }
    }

    /// What this process can do without for a while.
    pub fn spared(name: &'static str, health: Arc<dyn HealthCheck>) -> Self {
        Self {
            needed: false,
            ..Self::needed(name, health)
        }
    }

    /// The stock store, the orders and the sales of an engine, each asked a small question through
    /// its port. For adapters without a health check of their own.
    pub fn of_engine(engine: &EngineServices) -> Vec<Self> {
        vec![
            Self::needed("stock", Arc::new(StockAnswers(engine.flash_sale.clone()))),
            Self::needed(
                "orders",
                Arc::new(OrdersAnswer(Arc::clone(&engine.auditor.orders))),
            ),
            Self::needed(
                "sales",
                Arc::new(SalesAnswer(Arc::clone(&engine.auditor.sales))),
            ),
        ]
    }
}

#[derive(Debug)]
struct StockAnswers(FlashSaleService);

#[async_trait]
impl HealthCheck for StockAnswers {
    async fn check(&self) -> Result<(), PortError> {
        self.0.ping().await
    }
}

#[derive(Debug)]
struct OrdersAnswer(Arc<dyn OrderRepo>);

#[async_trait]
impl HealthCheck for OrdersAnswer {
    async fn check(&self) -> Result<(), PortError> {
        let nobody = AttemptId::from_uuid(Uuid::nil());
        self.0.find(&[nobody]).await.map(|_| ())
    }
}

#[derive(Debug)]
struct SalesAnswer(Arc<dyn SaleRepo>);

#[async_trait]
impl HealthCheck for SalesAnswer {
    async fn check(&self) -> Result<(), PortError> {
        let first = SaleId::new(1).expect("1 is positive");
        self.0.find(first).await.map(|_| ())
    }
}
