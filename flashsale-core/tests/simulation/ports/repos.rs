use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Attempt, AttemptId, Decision, FailReason, NewSale, Order, OrderId, Sale, SaleChange, SaleId,
    SaleRef, StockEvent, Totals,
};
use flashsale_core::ports::{ChangeOutcome, CreateSaleOutcome, OrderRepo, Revision, SaleRepo};

use super::stock::number;
use crate::executor::at_once;
use crate::line::Line;
use crate::trace::About;

/// The order repository as one process reaches it.
#[derive(Debug)]
pub(crate) struct SimOrderRepo {
    pub(crate) line: Line,
}

fn about_attempts(sale: SaleId, attempts: &[Attempt]) -> About {
    About {
        sale: sale.get() as u64,
        attempt: attempts.first().map_or(0, |attempt| number(attempt.id)),
        items: attempts.len() as u64,
    }
}

fn about_sale(sale: SaleId) -> About {
    About {
        sale: sale.get() as u64,
        ..About::default()
    }
}

#[async_trait]
impl OrderRepo for SimOrderRepo {
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError> {
        let about = about_attempts(sale.id, attempts);
        let (world, sale, attempts) = (Arc::clone(&self.line.world), *sale, attempts.to_vec());
        let run = move || {
            let decisions = at_once(world.orders.commit(&sale, &attempts))?;
            world.decided(&attempts, &decisions);
            Ok(decisions)
        };
        self.line.call("commit", about, run).await
    }

    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        let about = about_attempts(sale.id, attempts);
        let (world, sale, attempts) = (Arc::clone(&self.line.world), *sale, attempts.to_vec());
        let run = move || {
            let decisions = at_once(world.orders.release(&sale, &attempts, reason))?;
            world.decided(&attempts, &decisions);
            Ok(decisions)
        };
        self.line.call("release", about, run).await
    }

    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        let (world, attempts) = (Arc::clone(&self.line.world), attempts.to_vec());
        let run = move || at_once(world.orders.find(&attempts));
        self.line.call("find orders", About::default(), run).await
    }

    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError> {
        let world = Arc::clone(&self.line.world);
        let run = move || at_once(world.orders.list(sale, after, max));
        self.line.call("list orders", about_sale(sale), run).await
    }

    async fn totals(&self, sale: SaleId) -> Result<Option<Totals>, PortError> {
        let world = Arc::clone(&self.line.world);
        let run = move || at_once(world.orders.totals(sale));
        self.line.call("totals", about_sale(sale), run).await
    }
}

/// The sale repository as one process reaches it.
#[derive(Debug)]
pub(crate) struct SimSaleRepo {
    pub(crate) line: Line,
}

#[async_trait]
impl SaleRepo for SimSaleRepo {
    async fn create(&self, new: &NewSale) -> Result<CreateSaleOutcome, PortError> {
        let (world, new) = (Arc::clone(&self.line.world), new.clone());
        let run = move || at_once(world.sales.create(&new));
        self.line.call("create sale", About::default(), run).await
    }

    async fn opened(&self, sale: &SaleRef, version: u64) -> Result<(), PortError> {
        let (world, sale) = (Arc::clone(&self.line.world), *sale);
        let run = move || at_once(world.sales.opened(&sale, version));
        self.line.call("opened", about_sale(sale.id), run).await
    }

    async fn recover(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        let (world, sale) = (Arc::clone(&self.line.world), *sale);
        let run = move || {
            let before = world.sale(sale.id).map(|sale| sale.epoch);
            let after = at_once(world.sales.recover(&sale))?;
            if let Some(after) = after.as_ref().filter(|after| before < Some(after.epoch)) {
                world.books().noticed(after, world.handle.now_ms());
            }
            Ok(after)
        };
        self.line.call("recover", about_sale(sale.id), run).await
    }

    async fn seal(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        let (world, sale) = (Arc::clone(&self.line.world), *sale);
        let run = move || at_once(world.sales.seal(&sale));
        self.line.call("seal", about_sale(sale.id), run).await
    }

    async fn change(
        &self,
        sale: SaleId,
        change: SaleChange,
        from: Option<&Sale>,
    ) -> Result<ChangeOutcome, PortError> {
        let (world, from) = (Arc::clone(&self.line.world), from.cloned());
        let run = move || at_once(world.sales.change(sale, change, from.as_ref()));
        self.line.call("change sale", about_sale(sale), run).await
    }

    async fn events(&self, sale: SaleId, after_version: u64) -> Result<Vec<StockEvent>, PortError> {
        let world = Arc::clone(&self.line.world);
        let run = move || at_once(world.sales.events(sale, after_version));
        self.line.call("sale events", about_sale(sale), run).await
    }

    async fn find(&self, sale: SaleId) -> Result<Option<Sale>, PortError> {
        let world = Arc::clone(&self.line.world);
        let run = move || at_once(world.sales.find(sale));
        self.line.call("find sale", about_sale(sale), run).await
    }

    async fn list(&self) -> Result<Vec<Sale>, PortError> {
        let world = Arc::clone(&self.line.world);
        let run = move || at_once(world.sales.list());
        self.line.call("list sales", About::default(), run).await
    }

    /// As the repository says it, without a network between; whoever waits for it also polls.
    async fn changed(&self, seen: Revision) -> Result<Revision, PortError> {
        self.line.world.sales.changed(seen).await
    }
}
