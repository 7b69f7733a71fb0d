use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::{ChangeRefused, NewSale, NewSaleRefused, Sale, SaleChange, SaleId, StockEvent};
use crate::error::PortError;

/// Keeps the sales and their products.
#[async_trait]
pub trait SaleRepo: Debug + Send + Sync + 'static {
    /// Stores a valid sale, [`Scheduled`](crate::domain::Phase::Scheduled), version 1, first epoch.
    ///
    /// Refused if it breaks [`NewSale::validate`] or overlaps a sale of the same product that is
    /// not closed. Of two overlapping sales created at the same time, one is stored.
    async fn create(&self, sale: &NewSale) -> Result<CreateSaleOutcome, PortError>;

    /// Marks a scheduled sale as open; nothing changes for any other.
    async fn opened(&self, sale: SaleId) -> Result<(), PortError>;

    /// Makes a change by the rules of [`Sale::change`] and keeps the event.
    async fn change(&self, sale: SaleId, change: SaleChange) -> Result<ChangeOutcome, PortError>;

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
