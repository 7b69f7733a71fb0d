use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    ApplyOutcome, Attempt, Hold, Levels, OpenOutcome, ProductId, Reservation, ReserveOutcome,
    SaleRef, SaleResult, SettleOutcome, Settlement, StockEvent, StockSnapshot, Timestamp, UserId,
};
use flashsale_core::ports::StockStore;

use crate::executor::at_once;
use crate::line::Line;
use crate::trace::About;

/// The stock store as one process reaches it.
#[derive(Debug)]
pub(crate) struct SimStockStore {
    pub(crate) line: Line,
}

impl SimStockStore {
    /// What the store does when the call arrives there: which copy of it answers is known then.
    async fn call<T, A>(
        &self,
        operation: &'static str,
        about: About,
        arguments: A,
        run: impl Fn(&dyn StockStore, &A) -> Result<T, PortError> + Send + Sync + 'static,
    ) -> Result<T, PortError>
    where
        T: Send + 'static,
        A: Send + Sync + 'static,
    {
        let (world, process) = (Arc::clone(&self.line.world), self.line.process);
        let run = move || run(&*world.stock.answering(&world, process), &arguments);
        self.line.call(operation, about, run).await
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
        let arguments = (*sale, snapshot.clone());
        self.call("open", about, arguments, |store, (sale, snapshot)| {
            at_once(store.open(sale, snapshot))
        })
        .await
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        wishes: &[Reservation],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        let first = wishes.first().map(|wish| number(wish.attempt));
        let about = about(sale, first, wishes.len());
        let arguments = (*sale, wishes.to_vec());
        self.call("reserve", about, arguments, |store, (sale, wishes)| {
            at_once(store.reserve(sale, wishes))
        })
        .await
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        let first = attempts.first().map(|attempt| number(attempt.id));
        let about = about(sale, first, attempts.len());
        let arguments = (*sale, attempts.to_vec());
        self.call(
            "acknowledge",
            about,
            arguments,
            |store, (sale, attempts)| at_once(store.acknowledge(sale, attempts)),
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
        let arguments = (*sale, settlements.to_vec());
        self.call("settle", about, arguments, |store, (sale, settlements)| {
            at_once(store.settle(sale, settlements))
        })
        .await
    }

    async fn holds(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Hold>>, PortError> {
        let about = about(sale, None, users.len());
        let arguments = (*sale, users.to_vec());
        self.call("holds", about, arguments, |store, (sale, users)| {
            at_once(store.holds(sale, users))
        })
        .await
    }

    async fn unlogged(
        &self,
        sale: &SaleRef,
        before: Timestamp,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let arguments = (*sale, before, max);
        self.call(
            "unlogged",
            about(sale, None, 1),
            arguments,
            |store, (sale, before, max)| at_once(store.unlogged(sale, *before, *max)),
        )
        .await
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        before: Timestamp,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        let arguments = (*sale, before, max);
        self.call(
            "overdue",
            about(sale, None, 1),
            arguments,
            |store, (sale, before, max)| at_once(store.overdue(sale, *before, *max)),
        )
        .await
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        let about = about(sale, Some(event.version), 1);
        self.call("apply", about, (*sale, *event), |store, (sale, event)| {
            at_once(store.apply(sale, event))
        })
        .await
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let about = about(sale, None, 1);
        self.call("fence", about, *sale, |store, sale| {
            at_once(store.fence(sale))
        })
        .await
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let about = about(sale, None, 1);
        self.call("levels", about, *sale, |store, sale| {
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
        self.call("put_results", about, results.to_vec(), |store, results| {
            at_once(store.put_results(results))
        })
        .await
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
        let arguments = (product, users.to_vec());
        self.call("results", about, arguments, |store, (product, users)| {
            at_once(store.results(*product, users))
        })
        .await
    }
}
