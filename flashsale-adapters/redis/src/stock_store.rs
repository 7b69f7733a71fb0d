mod acknowledging;
mod changing;
mod opening;
mod repairing;
mod reserving;
mod results;
mod settling;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Allocation, ApplyOutcome, Attempt, Levels, OpenOutcome, ProductId, ReserveOutcome,
    ReserveRequest, SaleRef, SaleResult, SettleOutcome, Settlement, StockEvent, StockSnapshot,
    UserId,
};
use flashsale_core::ports::{BATCH_MAX, Clock, HealthCheck, StockStore};
use redis::Value;
use tokio::time::Instant;

use crate::batcher::Batcher;
use crate::config::{InvalidRedisConfig, RedisConfig};
use crate::connection::IfDown;
use crate::error::Fault;
use crate::health;
use crate::limiter::Limiter;
use crate::request::Request;
use crate::sale_state::{SaleState, SaleStates};
use crate::topology::Topology;
use repairing::Wanted;

/// A [`StockStore`] in Redis or Redis Cluster, shared by all processes that use the same one.
///
/// Making it needs neither the server nor a runtime: it connects when it is first used, and goes on
/// connecting in the background for ever. While there is no connection, calls fail at once.
/// It has to be used on a Tokio runtime with time and network.
///
/// ```no_run
/// use flashsale_core::ports::HealthCheck;
/// use flashsale_redis::{RedisConfig, RedisStockStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStockStore::new(RedisConfig::new("redis://127.0.0.1:6379"))?;
/// store.check().await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisStockStore {
    core: Arc<Core>,
}

/// What the calls share.
#[derive(Debug)]
struct Core {
    topology: Topology,
    prefix: String,
    budget: Duration,
    work_budget: Duration,
    response_timeout: Duration,
    result_ttl_s: u32,
    clock: Option<Arc<dyn Clock>>,
    sales: SaleStates,
    results: Batcher<(ProductId, UserId), results::Found>,
    reserve_limiter: Limiter,
    acknowledge_limiter: Limiter,
    read_limiter: Limiter,
}

impl RedisStockStore {
    /// A store with this configuration.
    ///
    /// # Errors
    /// If the configuration is not [valid](RedisConfig::validate).
    pub fn new(config: RedisConfig) -> Result<Self, InvalidRedisConfig> {
        config.validate()?;
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let core = Core {
            topology: Topology::new(&config)?,
            budget: ms(config.budget_ms),
            work_budget: ms(config.work_budget_ms),
            response_timeout: ms(config.response_ms),
            result_ttl_s: config.result_ttl_s,
            clock: config.clock,
            sales: SaleStates::new(config.prefix.clone(), ms(config.sold_out_ms)),
            prefix: config.prefix,
            results: Batcher::default(),
            reserve_limiter: Limiter::new(config.waiting_max),
            acknowledge_limiter: Limiter::new(config.waiting_max),
            read_limiter: Limiter::new(config.waiting_max),
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }
}

impl fmt::Debug for RedisStockStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Core {
            prefix, topology, ..
        } = &*self.core;
        f.debug_struct("RedisStockStore")
            .field("prefix", prefix)
            .field("cluster", &!topology.is_single())
            .finish_non_exhaustive()
    }
}

impl Core {
    /// The present moment as the scripts take it: empty for the clock of the server.
    fn now(&self) -> String {
        let now = self.clock.as_ref().map(|clock| clock.now());
        now.map_or_else(String::new, |now| now.as_millis().to_string())
    }

    /// The state of a sale.
    fn sale(&self, sale: &SaleRef) -> Arc<SaleState> {
        self.sales.get(sale, Instant::now())
    }

    /// Makes a call that is not on a buyer's path: once, within the time that such calls have.
    async fn work(&self, request: &Request, deadline: Instant) -> Result<Value, Fault> {
        self.topology.call(request, IfDown::Fail, deadline).await
    }

    /// When a call that begins now has to be done.
    fn work_deadline(&self) -> Instant {
        Instant::now() + self.work_budget
    }
}

/// Refuses more items than a batch may have.
fn check_batch(items: usize, operation: &'static str) -> Result<(), PortError> {
    if items > BATCH_MAX {
        return Err(Fault::invalid("a batch has at most 1,024 items").of(operation));
    }
    Ok(())
}

/// Refuses a number that Lua cannot count exactly with.
fn check_exact(number: u64, problem: &'static str) -> Result<(), Fault> {
    if number > 1 << 52 {
        return Err(Fault::invalid(problem));
    }
    Ok(())
}

#[async_trait]
impl StockStore for RedisStockStore {
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError> {
        let opened = self.core.open(sale, snapshot).await;
        opened.map_err(|fault| fault.of("open"))
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        check_batch(requests.len(), "reserve")?;
        let reserved = self.core.reserve(sale, requests).await;
        reserved.map_err(|fault| fault.of("reserve"))
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        check_batch(attempts.len(), "acknowledge")?;
        let noted = self.core.acknowledge(sale, attempts).await;
        noted.map_err(|fault| fault.of("acknowledge"))
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError> {
        check_batch(settlements.len(), "settle")?;
        let settled = self.core.settle(sale, settlements).await;
        settled.map_err(|fault| fault.of("settle"))
    }

    async fn allocations(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, PortError> {
        check_batch(users.len(), "allocations")?;
        let allocations = self.core.allocations(sale, users).await;
        allocations.map_err(|fault| fault.of("allocations"))
    }

    async fn unpublished(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let unpublished = self
            .core
            .undecided(sale, Wanted::Unpublished, min_age_ms, max);
        unpublished.await.map_err(|fault| fault.of("unpublished"))
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let overdue = self.core.undecided(sale, Wanted::All, min_age_ms, max);
        overdue.await.map_err(|fault| fault.of("overdue"))
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        let applied = self.core.apply(sale, event).await;
        applied.map_err(|fault| fault.of("apply"))
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let fenced = self.core.fence(sale).await;
        fenced.map_err(|fault| fault.of("fence"))
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let levels = self.core.levels(sale).await;
        levels.map_err(|fault| fault.of("levels"))
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        check_batch(results.len(), "put_results")?;
        let put = self.core.put_results(results).await;
        put.map_err(|fault| fault.of("put_results"))
    }

    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError> {
        check_batch(users.len(), "results")?;
        let results = self.core.results(product, users).await;
        results.map_err(|fault| fault.of("results"))
    }
}

#[async_trait]
impl HealthCheck for RedisStockStore {
    /// Asks every primary for its version, role and settings, for 2 seconds at most (by default).
    async fn check(&self) -> Result<(), PortError> {
        let checked = health::check(&self.core.topology, self.core.work_deadline()).await;
        checked.map_err(|fault| fault.of("check"))
    }
}
