use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{check_batch, lock};
use crate::domain::{
    Allocation, ApplyOutcome, Attempt, Decision, Ledger, Levels, OpenOutcome, OrderId, ProductId,
    ReserveOutcome, ReserveRequest, SaleId, SaleRef, SaleResult, SettleOutcome, Settlement,
    StockEvent, StockSnapshot, UserId,
};
use crate::error::PortError;
use crate::ports::{Clock, StockStore};

mod copies;

/// A stock store that is a [`Ledger`] per sale behind a lock. Keeps nothing across a restart.
#[derive(Debug)]
pub struct MemoryStockStore {
    clock: Arc<dyn Clock>,
    /// The last order decided, if the store decides.
    decides: Option<AtomicI64>,
    sales: Mutex<HashMap<SaleId, Ledger>>,
    results: Mutex<HashMap<(ProductId, UserId), SaleResult>>,
}

impl MemoryStockStore {
    /// A store that knows no sale and judges windows by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            decides: None,
            sales: Mutex::default(),
            results: Mutex::default(),
        }
    }

    /// A store that is the arbiter too: what it reserves is bought in the same step, as order 1, 2,
    /// 3 and so on. Nobody else hears of these orders.
    pub fn deciding(clock: Arc<dyn Clock>) -> Self {
        Self {
            decides: Some(AtomicI64::new(0)),
            ..Self::new(clock)
        }
    }

    /// Turns a reservation into an order, if the store decides.
    fn decide(&self, ledger: &mut Ledger, outcome: ReserveOutcome) -> ReserveOutcome {
        let (Some(last), ReserveOutcome::Reserved(attempt)) = (&self.decides, &outcome) else {
            return outcome;
        };
        let order = last.fetch_add(1, Ordering::SeqCst) + 1;
        let order = OrderId::new(order).expect("counts up from 1");
        ledger.settle(&Settlement {
            user: attempt.user.clone(),
            attempt: attempt.id,
            quantity: attempt.quantity,
            reserved_at: attempt.reserved_at,
            decision: Decision::Success(order),
        });
        ReserveOutcome::Sold(attempt.clone(), order)
    }

    /// Forgets everything, as a hot store does that restarts without its memory.
    pub fn forget(&self) {
        lock(&self.sales).clear();
        lock(&self.results).clear();
    }

    /// What `with` makes of the sale's ledger, if it is loaded.
    fn with<T>(&self, sale: &SaleRef, with: impl FnOnce(&mut Ledger) -> T) -> Option<T> {
        let mut sales = lock(&self.sales);
        sales.get_mut(&sale.id).map(with)
    }
}

#[async_trait]
impl StockStore for MemoryStockStore {
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError> {
        let mut sales = lock(&self.sales);
        let opening = match sales.get(&sale.id) {
            Some(ledger) => ledger.opening(sale.epoch),
            None => OpenOutcome::Opened,
        };
        if opening == OpenOutcome::Opened {
            sales.insert(sale.id, Ledger::open(*sale, snapshot.clone()));
        }
        Ok(opening)
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        check_batch(requests.len(), "reserve")?;
        let now = self.clock.now();
        let reserved = self.with(sale, |ledger| {
            let outcomes = requests.iter().map(|request| {
                let outcome = ledger.reserve(sale.epoch, request, now);
                self.decide(ledger, outcome)
            });
            outcomes.collect()
        });
        Ok(reserved.unwrap_or_else(|| vec![ReserveOutcome::NotLoaded; requests.len()]))
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        check_batch(attempts.len(), "acknowledge")?;
        self.with(sale, |ledger| {
            for attempt in attempts {
                ledger.acknowledge(&attempt.user, attempt.id);
            }
        });
        Ok(())
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError> {
        check_batch(settlements.len(), "settle")?;
        let settled = self.with(sale, |ledger| {
            let settlements = settlements.iter();
            settlements
                .map(|settlement| ledger.settle(settlement))
                .collect()
        });
        Ok(settled.unwrap_or_else(|| vec![SettleOutcome::Unchanged; settlements.len()]))
    }

    async fn allocations(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, PortError> {
        check_batch(users.len(), "allocations")?;
        let allocations = self.with(sale, |ledger| {
            users
                .iter()
                .map(|user| ledger.allocation(user).cloned())
                .collect()
        });
        Ok(allocations.unwrap_or_else(|| vec![None; users.len()]))
    }

    async fn unpublished(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let now = self.clock.now();
        let found = self.with(sale, |ledger| ledger.undecided(now, min_age_ms, true, max));
        Ok(found.unwrap_or_default())
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let now = self.clock.now();
        let found = self.with(sale, |ledger| ledger.undecided(now, min_age_ms, false, max));
        Ok(found.unwrap_or_default())
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        let applied = self.with(sale, |ledger| ledger.apply(event));
        Ok(applied.unwrap_or(ApplyOutcome::NotLoaded))
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        Ok(self.with(sale, |ledger| {
            ledger.fence(sale.epoch);
            ledger.levels()
        }))
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        Ok(self.with(sale, |ledger| ledger.levels()))
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        check_batch(results.len(), "put_results")?;
        let mut kept = lock(&self.results);
        for new in results {
            let place = (new.product, new.user.clone());
            if kept.get(&place).is_none_or(|old| new.supersedes(old)) {
                kept.insert(place, new.clone());
            }
        }
        Ok(())
    }

    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError> {
        check_batch(users.len(), "results")?;
        let kept = lock(&self.results);
        let result = |user: &UserId| kept.get(&(product, user.clone())).cloned();
        Ok(users.iter().map(result).collect())
    }
}
