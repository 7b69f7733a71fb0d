use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::{
    ChangeRefused, NewSale, NewSaleRefused, Sale, SaleChange, SaleId, SaleRef, StockEvent,
};
use crate::error::PortError;

/// Keeps the sales and their products.
#[async_trait]
pub trait SaleRepo: Debug + Send + Sync + 'static {
    /// Stores a valid sale, [`Scheduled`](crate::domain::Phase::Scheduled), version 1, first epoch.
    ///
    /// Refused if it breaks [`NewSale::validate`] or overlaps a sale of the same product that is
    /// not closed. Of two overlapping sales created at the same time, one is stored.
    async fn create(&self, sale: &NewSale) -> Result<CreateSaleOutcome, PortError>;

    /// Takes note that the stock of the sale is open under `sale.epoch` with every change up to
    /// `version`, by the rules of [`Sale::opened`]; nothing changes for a sale that they do not allow
    /// it for.
    async fn opened(&self, sale: &SaleRef, version: u64) -> Result<(), PortError>;

    /// Begins a new epoch because the stock of `sale.epoch` is lost, by the rules of
    /// [`Sale::recover`]. Returns the sale as it is afterwards, whoever began; nothing for an
    /// unknown sale.
    async fn recover(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError>;

    /// Makes the order repository refuse attempts of epochs older than `sale.epoch` from now on, by
    /// the rules of [`Sale::seal`]. Returns the sale as it is afterwards; nothing for an unknown
    /// sale. Every order of an older epoch that will ever be is there when this returns.
    async fn seal(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError>;

    /// Makes a change by the rules of [`Sale::change`] and keeps the event. Refused as
    /// [`Outdated`](ChangeRefused::Outdated) if it is not [as](Sale::is_as) `from` any more, as
    /// [`Overlaps`](ChangeRefused::Overlaps) if it would sell at the same time as another sale of
    /// the product that is not closed, and as [`Withdrawal`](ChangeRefused::Withdrawal) if fewer
    /// units are unsold.
    async fn change(
        &self,
        sale: SaleId,
        change: SaleChange,
        from: Option<&Sale>,
    ) -> Result<ChangeOutcome, PortError>;

    /// The changes of a sale with versions greater than `after_version`, in order.
    async fn events(&self, sale: SaleId, after_version: u64) -> Result<Vec<StockEvent>, PortError>;

    /// One sale.
    async fn find(&self, sale: SaleId) -> Result<Option<Sale>, PortError>;

    /// All sales by ascending id.
    async fn list(&self) -> Result<Vec<Sale>, PortError>;

    /// Waits until something has changed since `seen` and returns what to pass next time. May
    /// return early; the first call passes [`Revision::default`] and returns at once.
    async fn changed(&self, seen: Revision) -> Result<Revision, PortError>;
}

/// A mark in the history of all sales; see [`SaleRepo::changed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision(pub u64);

/// What became of a [`NewSale`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateSaleOutcome {
    /// It is stored.
    Created(Sale),
    /// It is not.
    Refused(NewSaleRefused),
}

/// What became of a [`SaleChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It is made; the sale after it, and what the stock store has to be told.
    Changed(Sale, StockEvent),
    /// It is not.
    Refused(ChangeRefused),
    /// There is no such sale.
    UnknownSale,
}
