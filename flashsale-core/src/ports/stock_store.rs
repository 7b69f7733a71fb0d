use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::{
    Allocation, ApplyOutcome, Attempt, Levels, OpenOutcome, ProductId, ReserveOutcome,
    ReserveRequest, SaleRef, SaleResult, SettleOutcome, Settlement, StockEvent, StockSnapshot,
    UserId,
};
use crate::error::PortError;

/// The hot store: it admits attempts by taking units, and answers buyers.
///
/// Its rules are those of [`Ledger`](crate::domain::Ledger); an adapter that answers otherwise is
/// wrong. It never decides: units come back only through [`settle`](StockStore::settle) or a
/// [`StockEvent`]. It has its own clock, and windows are judged by that clock alone.
///
/// If a call is dropped or fails with an unknown effect, repeating it with the same attempt id is
/// safe: the user then holds that attempt or is refused, and never holds units twice.
///
/// A store that can lose what it has confirmed, for example by a failover, notices when it has gone
/// back behind what this adapter has seen of it, and then sells nothing
/// ([`Recovering`](ReserveOutcome::Recovering)) until it is opened under a new epoch.
#[async_trait]
pub trait StockStore: Debug + Send + Sync + 'static {
    /// Makes the snapshot the stock of the sale under `sale.epoch`.
    ///
    /// Repeating it changes nothing, an older epoch changes nothing, and a newer epoch replaces
    /// everything: attempts of older epochs that are undecided are forgotten.
    ///
    /// A store may have one place per product. It then answers
    /// [`Occupied`](OpenOutcome::Occupied) as long as another sale of the product sells, may still
    /// sell, or has undecided attempts; after that the sale takes the place over, and the other one
    /// is not loaded any more. So that a sale never keeps the place from one that sells before it,
    /// such a store answers [`TooEarly`](OpenOutcome::TooEarly) until shortly before the start.
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError>;

    /// Takes units, one outcome per request, in order.
    ///
    /// Taking the units, marking the user and recording the attempt are one atomic and durable
    /// step. Refused users are not marked. A user who holds units already gets that allocation back
    /// ([`ReserveOutcome::AlreadyAllocated`]), and only once it is as durable as when it was first told.
    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError>;

    /// Notes that the attempt queue has these attempts. Repeating it changes nothing; attempts
    /// that are unknown or decided are passed over.
    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError>;

    /// Mirrors decisions of the order repository, one outcome per settlement, in order. Repeating
    /// a settlement gives [`SettleOutcome::Unchanged`].
    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError>;

    /// What these users hold in the sale, in order. Nobody holds anything in a sale that is not
    /// loaded.
    async fn allocations(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, PortError>;

    /// Undecided attempts that the queue does not have and whose units were taken at least
    /// `min_age_ms` ago; the oldest first, `max` at most.
    ///
    /// The age is judged by the clock that stamped them, the store's, and is never below 0: with
    /// `min_age_ms` 0 all of them come.
    async fn unpublished(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError>;

    /// The same of all undecided attempts, whether the queue has them or not.
    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError>;

    /// Makes a change of the sale in its stock. Each version is applied once, and in order. Units
    /// that somebody holds are not withdrawn.
    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError>;

    /// Stops all selling under epochs older than `sale.epoch`, until [`open`](StockStore::open).
    ///
    /// Returns the levels after it, or nothing if the sale is not loaded. A store at a newer epoch
    /// is left as it is; the levels tell.
    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError>;

    /// The stock at one moment, or nothing if the sale is not loaded.
    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError>;

    /// Keeps results for their buyers, in order: of two results of a user and a product, the one
    /// that [supersedes](SaleResult::supersedes) the other.
    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError>;

    /// The latest results of these users for a product, in order.
    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError>;
}

/// Single-item forms of [`StockStore`].
#[async_trait]
pub trait StockStoreExt: StockStore {
    /// [`StockStore::reserve`] for one request.
    async fn reserve_one(
        &self,
        sale: &SaleRef,
        request: &ReserveRequest,
    ) -> Result<ReserveOutcome, PortError> {
        let mut outcomes = self.reserve(sale, std::slice::from_ref(request)).await?;
        Ok(outcomes.pop().expect("one outcome per request"))
    }

    /// [`StockStore::settle`] for one settlement.
    async fn settle_one(
        &self,
        sale: &SaleRef,
        settlement: &Settlement,
    ) -> Result<SettleOutcome, PortError> {
        let mut outcomes = self.settle(sale, std::slice::from_ref(settlement)).await?;
        Ok(outcomes.pop().expect("one outcome per settlement"))
    }

    /// [`StockStore::allocations`] for one user.
    async fn allocation(
        &self,
        sale: &SaleRef,
        user: &UserId,
    ) -> Result<Option<Allocation>, PortError> {
        let mut allocations = self.allocations(sale, std::slice::from_ref(user)).await?;
        Ok(allocations.pop().expect("one answer per user"))
    }

    /// [`StockStore::results`] for one user.
    async fn result(
        &self,
        product: ProductId,
        user: &UserId,
    ) -> Result<Option<SaleResult>, PortError> {
        let mut results = self.results(product, std::slice::from_ref(user)).await?;
        Ok(results.pop().expect("one answer per user"))
    }
}

impl<T: StockStore + ?Sized> StockStoreExt for T {}
