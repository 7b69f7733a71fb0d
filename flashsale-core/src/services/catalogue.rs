use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::{ProductId, Sale, SaleId, Timestamp};
use crate::error::PortError;
use crate::ports::{Revision, SaleRepo};

/// All sales, in memory, so that serving a buyer asks no database.
///
/// It shows what the repository held at the last [`refresh`](Self::refresh). Whoever runs the
/// engine calls that whenever [`changed`](Self::changed) returns, and now and then in any case.
#[derive(Debug)]
pub struct Catalogue {
    repo: Arc<dyn SaleRepo>,
    sales: ArcSwap<BTreeMap<SaleId, Arc<Sale>>>,
}

impl Catalogue {
    /// An empty catalogue of what `repo` holds.
    pub fn new(repo: Arc<dyn SaleRepo>) -> Self {
        Self {
            repo,
            sales: ArcSwap::default(),
        }
    }

    /// Reads all sales anew.
    pub async fn refresh(&self) -> Result<(), PortError> {
        let sales = self.repo.list().await?;
        let sales = sales.into_iter().map(|sale| (sale.id, Arc::new(sale)));
        self.sales.store(Arc::new(sales.collect()));
        Ok(())
    }

    /// Waits until the repository has changed since `seen`; see [`SaleRepo::changed`].
    pub async fn changed(&self, seen: Revision) -> Result<Revision, PortError> {
        self.repo.changed(seen).await
    }

    /// One sale.
    pub fn get(&self, sale: SaleId) -> Option<Arc<Sale>> {
        self.sales.load().get(&sale).cloned()
    }

    /// All sales by ascending id.
    pub fn all(&self) -> Vec<Arc<Sale>> {
        self.sales.load().values().cloned().collect()
    }

    /// The sale that a buyer who names none is shown; see [`Sale::featured`].
    pub fn featured(&self, now: Timestamp) -> Option<Arc<Sale>> {
        let sales = self.sales.load();
        let featured = Sale::featured(sales.values().map(|sale| &**sale), now)?;
        sales.get(&featured.id).cloned()
    }

    /// The sale of a product that started last.
    pub fn started(&self, product: ProductId, now: Timestamp) -> Option<Arc<Sale>> {
        self.sales
            .load()
            .values()
            .filter(|sale| sale.product.id == product && sale.window.start <= now)
            .max_by_key(|sale| (sale.window.start, sale.id))
            .cloned()
    }
}
