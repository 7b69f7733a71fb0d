use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Allocation, AllocationState, ApplyOutcome, Attempt, Decision, FailReason, Levels, OpenOutcome,
    ProductId, ReserveOutcome, ReserveRequest, SaleId, SaleRef, SaleResult, SettleOutcome,
    Settlement, StockEvent, StockSnapshot, UserId,
};
use flashsale_core::ports::{Clock, StockStore};
use flashsale_core::testing::MemoryStockStore;

use super::Bug;
use crate::world::World;

/// The stock store as a process reaches it, with a bug between.
pub(crate) struct BuggyStockStore {
    bug: Bug,
    world: Arc<World>,
    inner: Arc<dyn StockStore>,
    /// Results that are kept back until their attempts are settled.
    later: Mutex<Vec<SaleResult>>,
}

impl std::fmt::Debug for BuggyStockStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.bug)
    }
}

impl BuggyStockStore {
    pub(crate) fn new(bug: Bug, world: &Arc<World>, inner: Arc<dyn StockStore>) -> Self {
        Self {
            bug,
            world: Arc::clone(world),
            inner,
            later: Mutex::default(),
        }
    }

    /// The sale as the store is told of it.
    fn sale(&self, sale: &SaleRef) -> SaleRef {
        let mut sale = *sale;
        if self.bug == Bug::KeepsByProduct {
            sale.id = SaleId::new(sale.product.get()).expect("products are positive");
        }
        sale
    }

    fn outcome(&self, request: &ReserveRequest, outcome: ReserveOutcome) -> ReserveOutcome {
        let barred = self.world.books().barred.contains(&request.user);
        match outcome {
            ReserveOutcome::AlreadyAllocated(Allocation {
                state: AllocationState::Reserved { .. },
                ..
            }) if self.bug == Bug::RefusesRetries => ReserveOutcome::SoldOut,
            _ if barred => ReserveOutcome::SoldOut,
            outcome => outcome,
        }
    }
}

#[async_trait]
impl StockStore for BuggyStockStore {
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError> {
        self.inner.open(&self.sale(sale), snapshot).await
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        let outcomes = self.inner.reserve(&self.sale(sale), requests).await?;
        let outcomes = requests.iter().zip(outcomes);
        Ok(outcomes
            .map(|(request, outcome)| self.outcome(request, outcome))
            .collect())
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        self.inner.acknowledge(&self.sale(sale), attempts).await
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError> {
        let mut settlements = settlements.to_vec();
        if self.bug == Bug::MakesGhostStock {
            for settlement in &mut settlements {
                if settlement.decision == Decision::Failed(FailReason::NoStock) {
                    settlement.decision = Decision::Failed(FailReason::Expired);
                }
            }
        }
        let settled = self.inner.settle(&self.sale(sale), &settlements).await?;
        let later = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        if !later.is_empty() {
            self.inner.put_results(&later).await?;
        }
        Ok(settled)
    }

    async fn allocations(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, PortError> {
        self.inner.allocations(&self.sale(sale), users).await
    }

    async fn unpublished(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        if !self.bug.has_outbox() {
            return Ok(Vec::new());
        }
        self.inner
            .unpublished(&self.sale(sale), min_age_ms, max)
            .await
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let mut overdue = self
            .inner
            .overdue(&self.sale(sale), min_age_ms, max)
            .await?;
        if !self.bug.has_completer() {
            let books = self.world.books();
            overdue.retain(|attempt| books.is_decided(attempt.id));
        }
        Ok(overdue)
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        self.inner.apply(&self.sale(sale), event).await
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        self.inner.fence(&self.sale(sale)).await
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        self.inner.levels(&self.sale(sale)).await
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        if self.bug == Bug::SettlesBeforeTheResult {
            let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
            later.extend_from_slice(results);
            return Ok(());
        }
        let put = self.inner.put_results(results).await;
        if put.is_err() && self.bug == Bug::WritesAFailureOverASuccess {
            let decision = Decision::Failed(FailReason::Cancelled);
            for result in results {
                let failed = SaleResult {
                    decision,
                    ..result.clone()
                };
                let Some(sale) = self.world.sale(result.sale) else {
                    continue;
                };
                let settlement = Settlement {
                    user: result.user.clone(),
                    attempt: result.attempt,
                    quantity: flashsale_core::domain::Quantity::ONE,
                    reserved_at: self.world.now(),
                    decision,
                };
                let _ = self.inner.settle(&sale.key(), &[settlement]).await;
                let _ = self.inner.put_results(&[failed]).await;
            }
        }
        put
    }

    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError> {
        self.inner.results(product, users).await
    }
}

/// A store that starts anew whenever somebody opens it.
#[derive(Debug)]
pub(crate) struct ReopeningStockStore {
    inner: MemoryStockStore,
    clock: Arc<dyn Clock>,
}

impl ReopeningStockStore {
    pub(crate) fn new(inner: MemoryStockStore, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock }
    }
}

#[async_trait]
impl StockStore for ReopeningStockStore {
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError> {
        let opened = self.inner.open(sale, snapshot).await?;
        if opened == OpenOutcome::AlreadyOpen {
            let empty = MemoryStockStore::new(Arc::clone(&self.clock));
            self.inner.go_on_with(&empty);
            return self.inner.open(sale, snapshot).await;
        }
        Ok(opened)
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        self.inner.reserve(sale, requests).await
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        self.inner.acknowledge(sale, attempts).await
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError> {
        self.inner.settle(sale, settlements).await
    }

    async fn allocations(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, PortError> {
        self.inner.allocations(sale, users).await
    }

    async fn unpublished(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        self.inner.unpublished(sale, min_age_ms, max).await
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        self.inner.overdue(sale, min_age_ms, max).await
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        self.inner.apply(sale, event).await
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        self.inner.fence(sale).await
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        self.inner.levels(sale).await
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        self.inner.put_results(results).await
    }

    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError> {
        self.inner.results(product, users).await
    }
}
