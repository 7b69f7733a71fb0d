use std::sync::Arc;

use crate::domain::{
    ApplyOutcome, Buyer, ChangeRefused, Decision, Levels, NewSale, NewSaleRefused, OpenOutcome,
    Phase, Sale, SaleChange, SaleId, SaleResult, StockSnapshot,
};
use crate::error::{ErrorKind, PortError};
use crate::ports::{
    BATCH_MAX, ChangeOutcome, Clock, CreateSaleOutcome, OrderRepo, SaleRepo, StockStore,
};

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
    /// Tells whether a sale that is to be changed is over.
    pub clock: Arc<dyn Clock>,
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
pub enum StockReadiness {
    /// It is loaded and up to date.
    Ready,
    /// Another sale of the product has the stock store's place for it until that one is over;
    /// prepare it again then.
    Waiting,
    /// The stock store takes it in shortly before its start; prepare it again every minute.
    TooEarly,
    /// The stock store has lost it or is still being rebuilt: [`Recovery`](super::Recovery) is
    /// called for.
    Lost,
    /// The stock store knows a later change than the repository. Either that one is just being
    /// made, or it never was and the stock has to be rebuilt.
    Ahead,
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
        self.notify(&sale).await?;
        self.catalogue.refresh().await?;
        let sale = self.repo.find(sale.id).await?.unwrap_or(sale);
        Ok(Ok(self.view(sale).await?))
    }

    /// Makes a change. A sale that is over can only be closed.
    pub async fn change(
        &self,
        id: SaleId,
        change: SaleChange,
    ) -> Result<ChangeSaleOutcome, PortError> {
        let Some(sale) = self.repo.find(id).await? else {
            return Ok(ChangeSaleOutcome::UnknownSale);
        };
        let over = sale.phase != Phase::Closed && self.clock.now() >= sale.window.end;
        if over && change != SaleChange::Close {
            return Ok(ChangeSaleOutcome::Refused(ChangeRefused::Over));
        }
        let outcome = match change {
            SaleChange::Withdraw(_) => self.withdraw(&sale, change).await?,
            _ => self.repo.change(id, change, None).await?,
        };
        let sale = match outcome {
            ChangeOutcome::Changed(sale, _) => sale,
            ChangeOutcome::Refused(refused) => return Ok(ChangeSaleOutcome::Refused(refused)),
            ChangeOutcome::UnknownSale => return Ok(ChangeSaleOutcome::UnknownSale),
        };
        self.notify(&sale).await?;
        self.catalogue.refresh().await?;
        Ok(ChangeSaleOutcome::Changed(self.view(sale).await?))
    }

    /// Takes units out of a sale: first out of the stock store, so that they are units which nobody
    /// was promised. If the repository then does not agree, the stock is rebuilt from it.
    async fn withdraw(&self, sale: &Sale, change: SaleChange) -> Result<ChangeOutcome, PortError> {
        let refused = |refused| Ok(ChangeOutcome::Refused(refused));
        let event = match sale.clone().change(change) {
            Ok(event) => event,
            Err(broken) => return refused(broken),
        };
        let key = sale.key();
        let promises = sale.phase != Phase::Scheduled;
        if promises {
            if self.prepare(sale).await? != StockReadiness::Ready {
                return refused(ChangeRefused::NotReady);
            }
            match self.stock.apply(&key, &event).await? {
                ApplyOutcome::Applied => {}
                ApplyOutcome::TooFew { available } => {
                    return refused(ChangeRefused::Withdrawal { most: available });
                }
                ApplyOutcome::Stale | ApplyOutcome::Gap { .. } => {
                    return refused(ChangeRefused::Outdated);
                }
                ApplyOutcome::NotLoaded => return refused(ChangeRefused::NotReady),
            }
        }
        let outcome = self.repo.change(sale.id, change, Some(sale)).await?;
        if promises && !matches!(outcome, ChangeOutcome::Changed(..)) {
            self.repo.recover(&key).await?;
        }
        Ok(outcome)
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
    pub async fn prepare(&self, sale: &Sale) -> Result<StockReadiness, PortError> {
        let key = sale.key();
        if sale.is_recovering() {
            return Ok(StockReadiness::Lost);
        }
        if sale.phase == Phase::Scheduled {
            let (snapshot, _) = self.snapshot(sale).await?;
            match self.stock.open(&key, &snapshot).await? {
                OpenOutcome::Opened | OpenOutcome::AlreadyOpen | OpenOutcome::Stale(_) => {}
                OpenOutcome::Occupied(_) => return Ok(StockReadiness::Waiting),
                OpenOutcome::TooEarly => return Ok(StockReadiness::TooEarly),
            }
        }
        let Some(levels) = self.stock.levels(&key).await? else {
            // Its place may be that of the next sale. Of one that is closed only results are missed.
            let missed = sale.phase != Phase::Closed || self.has_results(sale.id).await?;
            let gone = missed && !is_followed(&*self.repo, sale).await?;
            return Ok(if gone {
                StockReadiness::Lost
            } else {
                StockReadiness::Ready
            });
        };
        if levels.epoch > sale.epoch {
            // What is to be prepared is not what the repository has.
            return Ok(StockReadiness::Waiting);
        }
        let gone_back = levels.seq < sale.decided_seq;
        if levels.epoch < sale.epoch || levels.phase == Phase::Recovering || gone_back {
            return Ok(StockReadiness::Lost);
        }
        if levels.version > sale.version {
            let now = self.repo.find(sale.id).await?;
            if now.is_none_or(|now| now.version < levels.version) {
                return Ok(StockReadiness::Ahead);
            }
        }
        if levels.version < sale.version {
            for event in self.repo.events(sale.id, levels.version).await? {
                match self.stock.apply(&key, &event).await? {
                    ApplyOutcome::Applied | ApplyOutcome::Stale => {}
                    ApplyOutcome::Gap { .. }
                    | ApplyOutcome::TooFew { .. }
                    | ApplyOutcome::NotLoaded => return Ok(StockReadiness::Lost),
                }
            }
        }
        if sale.phase == Phase::Scheduled {
            // Not if it has changed since it was read: then this is called again.
            self.repo.opened(&key, sale.version).await?;
        }
        Ok(StockReadiness::Ready)
    }

    async fn has_results(&self, sale: SaleId) -> Result<bool, PortError> {
        let totals = self.orders.totals(sale).await?;
        Ok(totals.is_some_and(|totals| totals.orders + totals.failed > 0))
    }

    /// Tells the stock store what the repository has. If it does not answer now, it is told later.
    async fn notify(&self, sale: &Sale) -> Result<(), PortError> {
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

    /// The sale's stock as the orders tell it, ready to be sold, and the results of those who tried
    /// and did not buy.
    pub(super) async fn snapshot(
        &self,
        sale: &Sale,
    ) -> Result<(StockSnapshot, Vec<SaleResult>), PortError> {
        let mut buyers = Vec::new();
        let mut failed = Vec::new();
        let mut after = None;
        loop {
            let orders = self.orders.list(sale.id, after, BATCH_MAX).await?;
            after = orders.last().map(|order| order.id);
            let more = orders.len() == BATCH_MAX;
            for order in orders {
                match order.decision {
                    Decision::Success(id) => buyers.push(Buyer {
                        user: order.user,
                        attempt: order.attempt,
                        quantity: order.quantity,
                        order: id,
                        reserved_at: order.reserved_at,
                    }),
                    Decision::Failed(_) => failed.push(SaleResult {
                        user: order.user,
                        product: order.product,
                        sale: order.sale,
                        attempt: order.attempt,
                        decision: order.decision,
                        reserved_at: order.reserved_at,
                    }),
                }
            }
            if !more {
                break;
            }
        }
        let sold: u64 = buyers.iter().map(|buyer| buyer.quantity.units()).sum();
        let phase = match sale.phase {
            Phase::Closed => Phase::Closed,
            _ if sale.pause_requested => Phase::Paused,
            _ => Phase::Open,
        };
        let snapshot = StockSnapshot {
            window: sale.window,
            phase,
            version: sale.version,
            remaining: sale.total_stock().saturating_sub(sold),
            buyers,
        };
        Ok((snapshot, failed))
    }
}

/// Whether a later sale of the product has been opened. A store with one place per product has given
/// the place to it then, after everything about this sale was decided.
pub(super) async fn is_followed(repo: &dyn SaleRepo, sale: &Sale) -> Result<bool, PortError> {
    let sales = repo.list().await?;
    Ok(sales.iter().any(|other| {
        let closed_before = sale.phase == Phase::Closed && other.id > sale.id;
        other.product.id == sale.product.id
            && other.phase != Phase::Scheduled
            && (closed_before || other.window.start >= sale.window.end)
    }))
}
