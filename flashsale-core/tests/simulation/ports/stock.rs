use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Allocation, ApplyOutcome, Attempt, Levels, OpenOutcome, ProductId, ReserveOutcome,
    ReserveRequest, SaleId, SaleRef, SaleResult, SettleOutcome, Settlement, StockEvent,
    StockSnapshot, UserId,
};
use flashsale_core::ports::StockStore;

use crate::books::broken;
use crate::bugs::Bug;
use crate::executor::at_once;
use crate::line::Line;
use crate::stock_side::{Seen, seen, stop_if_behind};
use crate::trace::About;

/// The stock store as one process reaches it. It remembers how far the store's numbers had come,
/// and a store that is behind them when a call arrives sells no more.
#[derive(Debug)]
pub(crate) struct SimStockStore {
    line: Line,
    seen: Mutex<BTreeMap<SaleId, Seen>>,
}

impl SimStockStore {
    pub(crate) fn new(line: Line) -> Self {
        Self {
            line,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<SaleId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call about a sale.
    async fn call<T, A>(
        &self,
        operation: &'static str,
        about: About,
        sale: &SaleRef,
        arguments: A,
        run: impl Fn(&dyn StockStore, &SaleRef, &A) -> Result<T, PortError> + Send + Sync + 'static,
    ) -> Result<T, PortError>
    where
        T: Send + 'static,
        A: Send + Sync + 'static,
    {
        let (world, process, sale) = (Arc::clone(&self.line.world), self.line.process, *sale);
        let fences = world.bug.is_none_or(Bug::fences);
        let known = self.seen().get(&sale.id).copied().filter(|_| fences);
        let run = move || {
            // Which copy of the store answers is known when the call arrives.
            let store = world.stock.answering(process);
            stop_if_behind(&*store, &sale, known);
            let answer = run(&*store, &sale, &arguments)?;
            Ok((answer, seen(&*store, &sale)))
        };
        let (answer, now) = self.line.call(operation, about, run).await?;
        if let Some(now) = now {
            let mut seen = self.seen();
            let last = seen.entry(sale.id).or_insert(now);
            *last = now.max(*last);
        }
        Ok(answer)
    }
}

/// What a call about a sale and some attempts or users is about.
fn about(sale: &SaleRef, first: Option<u64>, items: usize) -> About {
    About {
        sale: sale.id.get() as u64,
        attempt: first.unwrap_or_default(),
        items: items as u64,
    }
}

pub(crate) fn number(attempt: flashsale_core::domain::AttemptId) -> u64 {
    attempt.as_uuid().as_u128() as u64
}

#[async_trait]
impl StockStore for SimStockStore {
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError> {
        let about = about(sale, None, snapshot.buyers.len());
        let arguments = snapshot.clone();
        let world = Arc::clone(&self.line.world);
        let run = move |store: &dyn StockStore, sale: &SaleRef, snapshot: &StockSnapshot| {
            if let Some(before) = world.occupies(store, sale) {
                return Ok(OpenOutcome::Occupied(before));
            }
            at_once(store.open(sale, snapshot))
        };
        self.call("open", about, sale, arguments, run).await
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        let first = requests.first().map(|request| number(request.attempt));
        let about = about(sale, first, requests.len());
        let arguments = requests.to_vec();
        let before = self.seen().get(&sale.id).copied();
        let outcomes = self
            .call(
                "reserve",
                about,
                sale,
                arguments,
                |store, sale, requests| at_once(store.reserve(sale, requests)),
            )
            .await?;
        let forgives = self.line.world.bug.is_some_and(Bug::forgives);
        for outcome in outcomes.iter().filter(|_| !forgives) {
            if let ReserveOutcome::Reserved(attempt) = outcome
                && before >= Some((attempt.epoch.get(), attempt.seq))
            {
                let how = format!("{attempt:?} was reserved after {before:?} had been seen");
                let rule = "a store that has gone back sells nothing";
                self.line.world.must_hold(broken(rule, how));
            }
        }
        Ok(outcomes)
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        let first = attempts.first().map(|attempt| number(attempt.id));
        let about = about(sale, first, attempts.len());
        let arguments = attempts.to_vec();
        self.call(
            "acknowledge",
            about,
            sale,
            arguments,
            |store, sale, attempts| at_once(store.acknowledge(sale, attempts)),
        )
        .await
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError> {
        let first = settlements.first().map(|one| number(one.attempt));
        let about = about(sale, first, settlements.len());
        let arguments = settlements.to_vec();
        self.call(
            "settle",
            about,
            sale,
            arguments,
            |store, sale, settlements| at_once(store.settle(sale, settlements)),
        )
        .await
    }

    async fn allocations(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, PortError> {
        let about = about(sale, None, users.len());
        let arguments = users.to_vec();
        self.call(
            "allocations",
            about,
            sale,
            arguments,
            |store, sale, users| at_once(store.allocations(sale, users)),
        )
        .await
    }

    async fn unpublished(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let arguments = (min_age_ms, max);
        self.call(
            "unpublished",
            about(sale, None, 1),
            sale,
            arguments,
            |store, sale, (age, max)| at_once(store.unpublished(sale, *age, *max)),
        )
        .await
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let arguments = (min_age_ms, max);
        self.call(
            "overdue",
            about(sale, None, 1),
            sale,
            arguments,
            |store, sale, (age, max)| at_once(store.overdue(sale, *age, *max)),
        )
        .await
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        let about = about(sale, Some(event.version), 1);
        self.call("apply", about, sale, *event, |store, sale, event| {
            at_once(store.apply(sale, event))
        })
        .await
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let about = about(sale, None, 1);
        self.call("fence", about, sale, (), |store, sale, ()| {
            at_once(store.fence(sale))
        })
        .await
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let about = about(sale, None, 1);
        self.call("levels", about, sale, (), |store, sale, ()| {
            at_once(store.levels(sale))
        })
        .await
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        let about = About {
            sale: results.first().map_or(0, |one| one.sale.get() as u64),
            attempt: results.first().map_or(0, |one| number(one.attempt)),
            items: results.len() as u64,
        };
        let (world, process) = (Arc::clone(&self.line.world), self.line.process);
        let results = results.to_vec();
        let run = move || at_once(world.stock.answering(process).put_results(&results));
        self.line.call("put_results", about, run).await
    }

    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError> {
        let about = About {
            items: users.len() as u64,
            ..About::default()
        };
        let (world, process) = (Arc::clone(&self.line.world), self.line.process);
        let users = users.to_vec();
        let run = move || at_once(world.stock.answering(process).results(product, &users));
        self.line.call("results", about, run).await
    }
}
