use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::domain::{Phase, ProductId, Sale, SaleId, Timestamp};
use crate::error::PortError;
use crate::ports::{Revision, SaleRepo};

/// All sales, in memory, so that serving a buyer asks no database.
///
/// It shows what the repository held at the last [`refresh`](Self::refresh). Whoever runs the
/// engine calls that whenever [`changed`](Self::changed) returns, and now and then in any case.
#[derive(Debug)]
pub struct Catalogue {
    repo: Arc<dyn SaleRepo>,
    shown: ArcSwap<Shown>,
    refreshes: AtomicU64,
}

/// What one refresh has read.
#[derive(Debug, Default)]
struct Shown {
    /// The number of the refresh: a larger one has begun later.
    refresh: u64,
    sales: BTreeMap<SaleId, Arc<Sale>>,
}

impl Catalogue {
    /// An empty catalogue of what `repo` holds.
    pub fn new(repo: Arc<dyn SaleRepo>) -> Self {
        Self {
            repo,
            shown: ArcSwap::default(),
            refreshes: AtomicU64::new(0),
        }
    }

    /// Reads all sales anew. Of refreshes at the same time, the one that has begun last wins:
    /// nothing that was shown is taken back by a slower reading from before.
    pub async fn refresh(&self) -> Result<(), PortError> {
        let refresh = self.refreshes.fetch_add(1, Ordering::AcqRel) + 1;
        let sales = self.repo.list().await?;
        let sales = sales.into_iter().map(|sale| (sale.id, Arc::new(sale)));
        let sales = sales.collect();
        let read = Arc::new(Shown { refresh, sales });
        self.shown.rcu(|shown| {
            let newer = shown.refresh > refresh;
            Arc::clone(if newer { shown } else { &read })
        });
        Ok(())
    }

    /// Waits until the repository has changed since `seen`; see [`SaleRepo::changed`].
    pub async fn changed(&self, seen: Revision) -> Result<Revision, PortError> {
        self.repo.changed(seen).await
    }

    /// Whether the repository has ever been read: before that, nothing is known to be missing.
    pub fn is_loaded(&self) -> bool {
        self.shown.load().refresh > 0
    }

    /// One sale.
    pub fn get(&self, sale: SaleId) -> Option<Arc<Sale>> {
        self.shown.load().sales.get(&sale).cloned()
    }

    /// All sales by ascending id.
    pub fn all(&self) -> Vec<Arc<Sale>> {
        self.shown.load().sales.values().cloned().collect()
    }

    /// The sales whose stock has to be there: those that are not over, and of each product the one
    /// that its buyers still read their results of, for so many milliseconds after its end.
    pub(super) fn kept(&self, now: Timestamp, results_kept_ms: u64) -> Vec<Arc<Sale>> {
        let mut sales = self.all();
        let mut last: HashMap<ProductId, (Timestamp, SaleId)> = HashMap::new();
        for sale in sales.iter().filter(|sale| sale.phase != Phase::Scheduled) {
            let start = (sale.window.start, sale.id);
            let last = last.entry(sale.product.id).or_insert(start);
            *last = start.max(*last);
        }
        let kept_since = now.plus_ms(-(results_kept_ms as i64));
        sales.retain(|sale| {
            let last = last.get(&sale.product.id);
            let is_last = last.is_some_and(|(_, last)| *last == sale.id);
            sale.window.end > now || (is_last && sale.window.end > kept_since)
        });
        sales
    }

    /// The sale that a buyer who names none is shown; see [`Sale::featured`].
    pub fn featured(&self, now: Timestamp) -> Option<Arc<Sale>> {
        let shown = self.shown.load();
        let featured = Sale::featured(shown.sales.values().map(|sale| &**sale), now)?;
        shown.sales.get(&featured.id).cloned()
    }

    /// The sale of a product that started last.
    pub fn started(&self, product: ProductId, now: Timestamp) -> Option<Arc<Sale>> {
        self.shown
            .load()
            .sales
            .values()
            .filter(|sale| sale.product.id == product && sale.window.start <= now)
            .max_by_key(|sale| (sale.window.start, sale.id))
            .cloned()
    }
}
