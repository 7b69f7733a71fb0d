use async_trait::async_trait;

use super::Faulty;
use crate::domain::{
    Allocation, ApplyOutcome, Attempt, Levels, OpenOutcome, ProductId, ReserveOutcome,
    ReserveRequest, SaleRef, SaleResult, SettleOutcome, Settlement, StockEvent, StockSnapshot,
    UserId,
};
use crate::error::PortError;
use crate::ports::StockStore;

#[async_trait]
impl StockStore for Faulty<dyn StockStore> {
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError> {
        let call = || self.inner.open(sale, snapshot);
        self.faults.around("open", call).await
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        let call = || self.inner.reserve(sale, requests);
        self.faults.around("reserve", call).await
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        let call = || self.inner.acknowledge(sale, attempts);
        self.faults.around("acknowledge", call).await
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError> {
        let call = || self.inner.settle(sale, settlements);
        self.faults.around("settle", call).await
    }

    async fn allocations(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, PortError> {
        let call = || self.inner.allocations(sale, users);
        self.faults.around("allocations", call).await
    }

    async fn unpublished(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let call = || self.inner.unpublished(sale, min_age_ms, max);
        self.faults.around("unpublished", call).await
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let call = || self.inner.overdue(sale, min_age_ms, max);
        self.faults.around("overdue", call).await
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        let call = || self.inner.apply(sale, event);
        self.faults.around("apply", call).await
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let call = || self.inner.fence(sale);
        self.faults.around("fence", call).await
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let call = || self.inner.levels(sale);
        self.faults.around("levels", call).await
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        let call = || self.inner.put_results(results);
        self.faults.around("put_results", call).await
    }

    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError> {
        let call = || self.inner.results(product, users);
        self.faults.around("results", call).await
    }
}
