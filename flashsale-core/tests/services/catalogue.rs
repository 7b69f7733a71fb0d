//! The sales in memory.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{NewSale, Sale, SaleChange, SaleId, SaleRef, StockEvent};
use flashsale_core::ports::{ChangeOutcome, CreateSaleOutcome, Revision, SaleRepo};
use flashsale_core::services::Catalogue;
use flashsale_core::testing::{MemoryDatabase, MemorySaleRepo};

use crate::shop::lamps;

/// Answers the question after all sales a moment after it has read them.
#[derive(Debug)]
struct SlowToTell(MemorySaleRepo);

#[async_trait]
impl SaleRepo for SlowToTell {
    async fn create(&self, sale: &NewSale) -> Result<CreateSaleOutcome, PortError> {
        self.0.create(sale).await
    }

    async fn opened(&self, sale: &SaleRef, version: u64) -> Result<(), PortError> {
        self.0.opened(sale, version).await
    }

    async fn recover(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        self.0.recover(sale).await
    }

    async fn seal(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        self.0.seal(sale).await
    }

    async fn change(
        &self,
        sale: SaleId,
        change: SaleChange,
        from: Option<&Sale>,
    ) -> Result<ChangeOutcome, PortError> {
        self.0.change(sale, change, from).await
    }

    async fn events(&self, sale: SaleId, after: u64) -> Result<Vec<StockEvent>, PortError> {
        self.0.events(sale, after).await
    }

    async fn find(&self, sale: SaleId) -> Result<Option<Sale>, PortError> {
        self.0.find(sale).await
    }

    async fn list(&self) -> Result<Vec<Sale>, PortError> {
        let sales = self.0.list().await;
        tokio::task::yield_now().await;
        sales
    }

    async fn changed(&self, seen: Revision) -> Result<Revision, PortError> {
        self.0.changed(seen).await
    }
}

#[tokio::test]
async fn a_slow_refresh_does_not_take_back_what_a_later_one_has_shown() {
    let repo = Arc::new(SlowToTell(MemorySaleRepo::new(MemoryDatabase::new())));
    let catalogue = Catalogue::new(repo.clone());
    let mut slow = pin!(catalogue.refresh());
    let mut context = Context::from_waker(Waker::noop());
    assert!(slow.as_mut().poll(&mut context).is_pending());

    repo.create(&lamps(1)).await.unwrap();
    catalogue.refresh().await.unwrap();
    assert_eq!(catalogue.all().len(), 1);
    slow.await.unwrap();
    assert_eq!(catalogue.all().len(), 1);
}
