use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::lock;
use crate::domain::{
    Arbiter, AttemptId, Order, OrderId, Product, ProductId, Sale, SaleId, StockEvent, User,
};
use crate::ports::AttemptRecord;

/// What the repositories in memory share, as those of a server share a database: a sale that one
/// creates can be sold by the other. Cloning shares the data.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabase(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) sales: BTreeMap<SaleId, SaleRow>,
    pub(super) orders: BTreeMap<OrderId, Order>,
    pub(super) decided: HashMap<AttemptId, OrderId>,
    pub(super) users: Vec<User>,
    pub(super) refusals: Vec<AttemptRecord>,
    /// How many changes of sales there were.
    pub(super) revision: u64,
    /// Who waits for the next.
    pub(super) waiting: Vec<Waker>,
}

/// A sale, how it came to be as it is, and its books.
#[derive(Debug)]
pub(super) struct SaleRow {
    pub(super) sale: Sale,
    pub(super) events: Vec<StockEvent>,
    pub(super) books: Arbiter,
}

impl MemoryDatabase {
    /// An empty database.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.0)
    }
}

impl Tables {
    pub(super) fn next_sale(&self) -> SaleId {
        let last = self.sales.keys().next_back();
        SaleId::new(last.map_or(1, |id| id.get() + 1)).expect("counts up from 1")
    }

    /// The product of this name, or a new one.
    pub(super) fn product(&self, name: &str, description: &str) -> Product {
        let products = || self.sales.values().map(|row| &row.sale.product);
        if let Some(product) = products().find(|product| product.name == name) {
            return product.clone();
        }
        let last = products().map(|product| product.id.get()).max();
        Product {
            id: ProductId::new(last.unwrap_or(0) + 1).expect("counts up from 1"),
            name: name.to_owned(),
            description: description.to_owned(),
        }
    }

    /// Notes a change of a sale and tells those who wait for one.
    pub(super) fn sales_changed(&mut self) {
        self.revision += 1;
        self.waiting.drain(..).for_each(Waker::wake);
    }
}
