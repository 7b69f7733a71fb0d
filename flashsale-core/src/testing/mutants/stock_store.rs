use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::{
    Allocation, ApplyOutcome, Attempt, AttemptId, Decision, FailReason, Levels, OpenOutcome,
    ProductId, ReserveOutcome, ReserveRequest, SaleChange, SaleRef, SaleResult, SettleOutcome,
    Settlement, StockEvent, StockSnapshot, Timestamp, UserId,
};
use crate::error::PortError;
use crate::ports::{StockStore, StockStoreExt};
use crate::testing::MemoryStockStore;

/// What is wrong with a [`MutantStockStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StockMutation {
    /// Nothing: the store is as good as the one inside.
    Nothing,
    /// It has one unit more than it says.
    OversellsByOne,
    /// A user who holds units gets more.
    ForgetsOnePerUser,
    /// A user who holds units is told the id of the retry.
    TellsTheRetrysId,
    /// A user who was refused for want of stock stays refused.
    MarksRefusedUsers,
    /// Units come back with every repetition of a release.
    ReturnsStockTwice,
    /// A failed attempt keeps its units for ever.
    NeverReturnsStock,
    /// It sells on after the end.
    IgnoresTheWindowEnd,
    /// A restock that is repeated adds units again.
    AppliesAnEventTwice,
    /// A change is made although one before it is missing.
    IgnoresGaps,
    /// It sells to callers of any epoch.
    IgnoresTheEpoch,
    /// Undecided attempts come newest first.
    TellsTheNewestFirst,
    /// The last result counts, whatever it is.
    KeepsTheLastResult,
    /// Of two sales, the result of the larger id stays, whenever its units were taken.
    KeepsTheResultOfTheLargerId,
}

impl StockMutation {
    /// All that is wrong with one.
    pub const ALL: [Self; 13] = [
        Self::OversellsByOne,
        Self::ForgetsOnePerUser,
        Self::TellsTheRetrysId,
        Self::MarksRefusedUsers,
        Self::ReturnsStockTwice,
        Self::NeverReturnsStock,
        Self::IgnoresTheWindowEnd,
        Self::AppliesAnEventTwice,
        Self::IgnoresGaps,
        Self::IgnoresTheEpoch,
        Self::TellsTheNewestFirst,
        Self::KeepsTheLastResult,
        Self::KeepsTheResultOfTheLargerId,
    ];
}

/// A [`MemoryStockStore`] with something wrong. For one sale only.
#[derive(Debug)]
pub struct MutantStockStore {
    inner: MemoryStockStore,
    mutation: StockMutation,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    refused: HashSet<UserId>,
    released: HashSet<AttemptId>,
    results: HashMap<(ProductId, UserId), SaleResult>,
    /// How many changes the store inside has seen that nobody has made.
    secret_changes: u64,
    aliases: u64,
}

impl MutantStockStore {
    /// The store with this wrong.
    pub fn new(inner: MemoryStockStore, mutation: StockMutation) -> Self {
        Self {
            inner,
            mutation,
            state: Mutex::default(),
        }
    }

    fn is(&self, mutation: StockMutation) -> bool {
        self.mutation == mutation
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sale as the store inside wants to hear of it.
    async fn sale(&self, sale: &SaleRef) -> Result<SaleRef, PortError> {
        let mut sale = *sale;
        if self.is(StockMutation::IgnoresTheEpoch)
            && let Some(levels) = self.inner.levels(&sale).await?
        {
            sale.epoch = levels.epoch;
        }
        Ok(sale)
    }

    async fn reserve_one(
        &self,
        sale: &SaleRef,
        request: &ReserveRequest,
    ) -> Result<ReserveOutcome, PortError> {
        let refused = self.state().refused.contains(&request.user);
        if self.is(StockMutation::MarksRefusedUsers) && refused {
            return Ok(ReserveOutcome::SoldOut);
        }
        let outcome = self.inner.reserve_one(sale, request).await?;
        match outcome {
            ReserveOutcome::SoldOut => {
                self.state().refused.insert(request.user.clone());
            }
            ReserveOutcome::AlreadyAllocated(_) if self.is(StockMutation::ForgetsOnePerUser) => {
                let alias = {
                    let mut state = self.state();
                    state.aliases += 1;
                    format!("alias-{}", state.aliases)
                };
                let second = ReserveRequest {
                    user: UserId::new(alias).expect("visible ASCII"),
                    ..request.clone()
                };
                let second = self.inner.reserve_one(sale, &second).await?;
                if let ReserveOutcome::Reserved(attempt) = second {
                    let user = request.user.clone();
                    return Ok(ReserveOutcome::Reserved(Attempt { user, ..attempt }));
                }
            }
            ReserveOutcome::AlreadyAllocated(allocation)
                if self.is(StockMutation::TellsTheRetrysId) =>
            {
                let attempt = request.attempt;
                return Ok(ReserveOutcome::AlreadyAllocated(Allocation {
                    attempt,
                    ..allocation
                }));
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn settle_one(
        &self,
        sale: &SaleRef,
        settlement: &Settlement,
    ) -> Result<SettleOutcome, PortError> {
        let mut settlement = settlement.clone();
        if self.is(StockMutation::NeverReturnsStock)
            && let Decision::Failed(FailReason::Cancelled | FailReason::Expired) =
                settlement.decision
        {
            settlement.decision = Decision::Failed(FailReason::NoStock);
        }
        let outcome = self.inner.settle_one(sale, &settlement).await?;
        if outcome == SettleOutcome::Released {
            self.state().released.insert(settlement.attempt);
        } else if self.is(StockMutation::ReturnsStockTwice)
            && self.state().released.contains(&settlement.attempt)
        {
            let units = settlement.quantity.units();
            self.change_secretly(sale, SaleChange::Restock(units))
                .await?;
        }
        Ok(outcome)
    }

    /// Makes a change that nobody has made.
    async fn change_secretly(&self, sale: &SaleRef, change: SaleChange) -> Result<(), PortError> {
        if let Some(levels) = self.inner.levels(sale).await? {
            let version = levels.version + 1;
            self.inner
                .apply(sale, &StockEvent { version, change })
                .await?;
            self.state().secret_changes += 1;
        }
        Ok(())
    }

    /// The levels as the store inside shows them, less what is to be hidden.
    fn hide(&self, levels: Option<Levels>) -> Option<Levels> {
        let mut levels = levels?;
        levels.version -= self.state().secret_changes;
        if self.is(StockMutation::OversellsByOne) {
            levels.available = levels.available.saturating_sub(1);
        }
        Some(levels)
    }

    fn in_order(&self, mut attempts: Vec<Attempt>) -> Vec<Attempt> {
        if self.is(StockMutation::TellsTheNewestFirst) {
            attempts.reverse();
        }
        attempts
    }
}

#[async_trait]
impl StockStore for MutantStockStore {
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError> {
        let mut snapshot = snapshot.clone();
        if self.is(StockMutation::OversellsByOne) {
            snapshot.remaining += 1;
        }
        if self.is(StockMutation::IgnoresTheWindowEnd) {
            snapshot.window.end = Timestamp::from_millis(i64::MAX);
        }
        let opened = self.inner.open(sale, &snapshot).await?;
        if opened == OpenOutcome::Opened {
            self.state().secret_changes = 0;
        }
        Ok(opened)
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        if requests.len() > crate::ports::BATCH_MAX {
            return self.inner.reserve(sale, requests).await;
        }
        let sale = self.sale(sale).await?;
        let mut outcomes = Vec::new();
        for request in requests {
            outcomes.push(self.reserve_one(&sale, request).await?);
        }
        Ok(outcomes)
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        self.inner.acknowledge(sale, attempts).await
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError> {
        if settlements.len() > crate::ports::BATCH_MAX {
            return self.inner.settle(sale, settlements).await;
        }
        let mut outcomes = Vec::new();
        for settlement in settlements {
            outcomes.push(self.settle_one(sale, settlement).await?);
        }
        Ok(outcomes)
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
        Ok(self.in_order(self.inner.unpublished(sale, min_age_ms, max).await?))
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        Ok(self.in_order(self.inner.overdue(sale, min_age_ms, max).await?))
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        let event = StockEvent {
            version: event.version + self.state().secret_changes,
            change: event.change,
        };
        let outcome = self.inner.apply(sale, &event).await?;
        match outcome {
            ApplyOutcome::Stale if self.is(StockMutation::AppliesAnEventTwice) => {
                self.change_secretly(sale, event.change).await?;
            }
            ApplyOutcome::Gap { expected } if self.is(StockMutation::IgnoresGaps) => {
                let version = expected;
                let event = StockEvent { version, ..event };
                return self.inner.apply(sale, &event).await;
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        Ok(self.hide(self.inner.fence(sale).await?))
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        Ok(self.hide(self.inner.levels(sale).await?))
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        self.inner.put_results(results).await?;
        let mut state = self.state();
        for new in results {
            let place = (new.product, new.user.clone());
            let stays = self.is(StockMutation::KeepsTheResultOfTheLargerId)
                && state.results.get(&place).is_some_and(|old| {
                    if old.sale == new.sale {
                        !new.supersedes(old)
                    } else {
                        old.sale > new.sale
                    }
                });
            if !stays {
                state.results.insert(place, new.clone());
            }
        }
        Ok(())
    }

    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError> {
        let results = self.inner.results(product, users).await?;
        if !self.is(StockMutation::KeepsTheLastResult)
            && !self.is(StockMutation::KeepsTheResultOfTheLargerId)
        {
            return Ok(results);
        }
        let kept = &self.state().results;
        let result = |user: &UserId| kept.get(&(product, user.clone())).cloned();
        Ok(users.iter().map(result).collect())
    }
}
