use std::sync::Arc;

use crate::domain::{
    ApplyOutcome, Buyer, ChangeRefused, Decision, Levels, NewSale, NewSaleRefused, OpenOutcome,
    Phase, Sale, SaleChange, SaleId, StockSnapshot,
};
use crate::error::{ErrorKind, PortError};
use crate::ports::{BATCH_MAX, ChangeOutcome, CreateSaleOutcome, OrderRepo, SaleRepo, StockStore};

use super::Catalogue;

/// The shop's side: makes sales and changes them.
///
/// The repository has the word; the stock store follows. If the store cannot be told at once, the
/// change stands and [`prepare`](Self::prepare) tells it later.
#[derive(Clone, Debug)]
pub struct SaleService {
    /// Keeps the sales.
    pub repo: Arc<dyn SaleRepo>,
    /// Keeps the orders.
    pub orders: Arc<dyn OrderRepo>,
    /// Sells.
    pub stock: Arc<dyn StockStore>,
    /// Is refreshed after each change.
    pub catalogue: Arc<Catalogue>,
}

/// A sale and its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleView {
    /// The sale.
    pub sale: Sale,
    /// Its stock; nothing if the stock store does not have it or does not answer.
    pub levels: Option<Levels>,
}

impl SaleView {
    /// Units that can be had, or could be if the sale were on; nothing if that cannot be told now.
    pub fn available(&self) -> Option<u64> {
        match &self.levels {
            Some(levels) => Some(levels.available),
            None => (self.sale.phase == Phase::Scheduled).then(|| self.sale.total_stock()),
        }
    }
}

/// What became of a [`SaleChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeSaleOutcome {
    /// It is made.
    Changed(SaleView),
    /// It is not.
    Refused(ChangeRefused),
    /// There is no such sale.
    UnknownSale,
}

/// Whether a sale's stock can be sold from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// It is loaded and up to date.
    Ready,
    /// Another sale of the product has the stock store's place for it until that one is over;
    /// prepare it again then.
    Waiting,
    /// The stock store takes it in shortly before its start; prepare it again every minute.
    TooEarly,
    /// The stock store has lost it or holds another epoch: it has to be rebuilt.
    Lost,
}

impl SaleService {
    /// Makes a sale and opens its stock.
    pub async fn create(
        &self,
        new: &NewSale,
    ) -> Result<Result<SaleView, NewSaleRefused>, PortError> {
        let sale = match self.repo.create(new).await? {
            CreateSaleOutcome::Created(sale) => sale,
            CreateSaleOutcome::Refused(refused) => return Ok(Err(refused)),
        };
        self.tell(&sale).await?;
        self.catalogue.refresh().await?;
        let sale = self.repo.find(sale.id).await?.unwrap_or(sale);
        Ok(Ok(self.view(sale).await?))
    }

    /// Makes a change.
    pub async fn change(
        &self,
        id: SaleId,
        change: SaleChange,
    ) -> Result<ChangeSaleOutcome, PortError> {
        let sale = match self.repo.change(id, change).await? {
            ChangeOutcome::Changed(sale, _) => sale,
            ChangeOutcome::Refused(refused) => return Ok(ChangeSaleOutcome::Refused(refused)),
            ChangeOutcome::UnknownSale => return Ok(ChangeSaleOutcome::UnknownSale),
        };
        self.tell(&sale).await?;
        self.catalogue.refresh().await?;
        Ok(ChangeSaleOutcome::Changed(self.view(sale).await?))
    }

    /// One sale and its stock.
    pub async fn find(&self, id: SaleId) -> Result<Option<SaleView>, PortError> {
        match self.repo.find(id).await? {
            Some(sale) => Ok(Some(self.view(sale).await?)),
            None => Ok(None),
        }
    }

    /// All sales and their stock, by ascending id.
    pub async fn list(&self) -> Result<Vec<SaleView>, PortError> {
        let mut views = Vec::new();
        for sale in self.repo.list().await? {
            views.push(self.view(sale).await?);
        }
        Ok(views)
    }

    /// Brings the stock store up to date with a sale: opens it if it never was, and makes the
    /// changes that it missed. Safe to repeat.
    pub async fn prepare(&self, sale: &Sale) -> Result<Readiness, PortError> {
        let key = sale.key();
        if sale.phase == Phase::Scheduled {
            let snapshot = self.snapshot(sale).await?;
            match self.stock.open(&key, &snapshot).await? {
                OpenOutcome::Opened | OpenOutcome::AlreadyOpen | OpenOutcome::Stale(_) => {}
                OpenOutcome::Occupied(_) => return Ok(Readiness::Waiting),
                OpenOutcome::TooEarly => return Ok(Readiness::TooEarly),
            }
            self.repo.opened(sale.id).await?;
        }
        let levels = match self.stock.levels(&key).await? {
            Some(levels) if levels.epoch == sale.epoch => levels,
            // There is nothing to sell, and its place may be that of the next sale.
            None if sale.phase == Phase::Closed => return Ok(Readiness::Ready),
            Some(_) | None => return Ok(Readiness::Lost),
        };
        for event in self.repo.events(sale.id, levels.version).await? {
            match self.stock.apply(&key, &event).await? {
                ApplyOutcome::Applied | ApplyOutcome::Stale => {}
                ApplyOutcome::Gap { .. } | ApplyOutcome::NotLoaded => return Ok(Readiness::Lost),
            }
        }
        Ok(Readiness::Ready)
    }

    /// Tells the stock store what the repository has. If it does not answer now, it is told later.
    async fn tell(&self, sale: &Sale) -> Result<(), PortError> {
        match self.prepare(sale).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind().is_transient() || fault.kind() == ErrorKind::Full => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    async fn view(&self, sale: Sale) -> Result<SaleView, PortError> {
        let levels = match self.stock.levels(&sale.key()).await {
            Ok(levels) => levels,
            Err(fault) if fault.kind().is_transient() => None,
            Err(fault) => return Err(fault),
        };
        Ok(SaleView { sale, levels })
    }

    /// The sale's stock as the orders tell it, ready to be sold.
    async fn snapshot(&self, sale: &Sale) -> Result<StockSnapshot, PortError> {
        let mut buyers = Vec::new();
        let mut after = None;
        loop {
            let orders = self.orders.list(sale.id, after, BATCH_MAX).await?;
            after = orders.last().map(|order| order.id);
            let more = orders.len() == BATCH_MAX;
            buyers.extend(orders.into_iter().filter_map(|order| match order.decision {
                Decision::Success(id) => Some(Buyer {
                    user: order.user,
                    attempt: order.attempt,
                    quantity: order.quantity,
                    order: id,
                    reserved_at: order.reserved_at,
                }),
                Decision::Failed(_) => None,
            }));
            if !more {
                break;
            }
        }
        let sold: u64 = buyers.iter().map(|buyer| buyer.quantity.units()).sum();
        Ok(StockSnapshot {
            window: sale.window,
            phase: Phase::Open,
            version: sale.version,
            remaining: sale.total_stock().saturating_sub(sold),
            buyers,
        })
    }
}
