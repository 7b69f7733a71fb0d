use std::task::Poll;

use async_trait::async_trait;

use super::MemoryDatabase;
use super::database::SaleRow;
use crate::domain::{
    Arbiter, ChangeRefused, Epoch, NewSale, NewSaleRefused, Phase, Sale, SaleChange, SaleId,
    SaleRef, StockEvent,
};
use crate::error::PortError;
use crate::ports::{ChangeOutcome, CreateSaleOutcome, Revision, SaleRepo};

/// The sales of a [`MemoryDatabase`].
#[derive(Clone, Debug, Default)]
pub struct MemorySaleRepo {
    database: MemoryDatabase,
}

impl MemorySaleRepo {
    /// The sales of this database.
    pub fn new(database: MemoryDatabase) -> Self {
        Self { database }
    }

    /// Changes a sale if it is known, and tells those who wait if that was news.
    fn note(&self, sale: &SaleRef, change: impl FnOnce(&mut SaleRow) -> bool) -> Option<Sale> {
        let mut tables = self.database.tables();
        let row = tables.sales.get_mut(&sale.id)?;
        let news = change(row);
        let sale = row.sale.clone();
        if news {
            tables.sales_changed();
        }
        Some(sale)
    }
}

#[async_trait]
impl SaleRepo for MemorySaleRepo {
    async fn create(&self, new: &NewSale) -> Result<CreateSaleOutcome, PortError> {
        if let Err(refused) = new.validate() {
            return Ok(CreateSaleOutcome::Refused(refused));
        }
        let mut tables = self.database.tables();
        let product = tables.product(new.product_name.trim(), &new.product_description);
        let clash = tables.sales.values().map(|row| &row.sale).find(|sale| {
            sale.product.id == product.id
                && sale.phase != Phase::Closed
                && sale.window.overlaps(new.window)
        });
        if let Some(clash) = clash {
            let refused = NewSaleRefused::Overlaps(clash.id);
            return Ok(CreateSaleOutcome::Refused(refused));
        }
        let sale = Sale {
            id: tables.next_sale(),
            product,
            window: new.window,
            phase: Phase::Scheduled,
            initial_stock: new.stock,
            pause_requested: false,
            added_stock: 0,
            withdrawn_stock: 0,
            epoch: Epoch::FIRST,
            sealed: Epoch::FIRST,
            decided_seq: 0,
            version: 1,
        };
        let row = SaleRow {
            sale: sale.clone(),
            events: Vec::new(),
            books: Arbiter::new(sale.epoch, new.stock),
        };
        tables.sales.insert(sale.id, row);
        tables.sales_changed();
        Ok(CreateSaleOutcome::Created(sale))
    }

    async fn opened(&self, sale: &SaleRef, version: u64) -> Result<(), PortError> {
        self.note(sale, |row| row.sale.opened(sale.epoch, version));
        Ok(())
    }

    async fn recover(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        Ok(self.note(sale, |row| row.sale.recover(sale.epoch)))
    }

    async fn seal(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        Ok(self.note(sale, |row| {
            let news = row.sale.seal(sale.epoch);
            row.books.seal(row.sale.sealed);
            news
        }))
    }

    async fn change(
        &self,
        sale: SaleId,
        change: SaleChange,
        from: Option<&Sale>,
    ) -> Result<ChangeOutcome, PortError> {
        let mut tables = self.database.tables();
        let Some(row) = tables.sales.get(&sale) else {
            return Ok(ChangeOutcome::UnknownSale);
        };
        if from.is_some_and(|from| !row.sale.is_as(from)) {
            return Ok(ChangeOutcome::Refused(ChangeRefused::Outdated));
        }
        let mut changed = row.sale.clone();
        let event = match changed.change(change) {
            Ok(event) => event,
            Err(refused) => return Ok(ChangeOutcome::Refused(refused)),
        };
        if let SaleChange::Extend(_) = change {
            let sales = tables.sales.values().map(|row| &row.sale);
            let mut others = sales.filter(|other| other.id != sale);
            if let Some(clash) = others.find(|other| {
                other.product.id == changed.product.id
                    && other.phase != Phase::Closed
                    && other.window.overlaps(changed.window)
            }) {
                let refused = ChangeRefused::Overlaps(clash.id);
                return Ok(ChangeOutcome::Refused(refused));
            }
        }
        let row = tables.sales.get_mut(&sale).expect("it was found above");
        match change {
            SaleChange::Restock(units) => row.books.restock(units),
            SaleChange::Withdraw(units) if !row.books.withdraw(units) => {
                let most = row.books.remaining();
                let refused = ChangeRefused::Withdrawal { most };
                return Ok(ChangeOutcome::Refused(refused));
            }
            _ => {}
        }
        row.sale = changed;
        row.events.push(event);
        let sale = row.sale.clone();
        tables.sales_changed();
        Ok(ChangeOutcome::Changed(sale, event))
    }

    async fn events(&self, sale: SaleId, after_version: u64) -> Result<Vec<StockEvent>, PortError> {
        let tables = self.database.tables();
        let events = tables.sales.get(&sale).map(|row| row.events.iter());
        let events = events.into_iter().flatten().copied();
        Ok(events.filter(|e| e.version > after_version).collect())
    }

    async fn find(&self, sale: SaleId) -> Result<Option<Sale>, PortError> {
        let tables = self.database.tables();
        Ok(tables.sales.get(&sale).map(|row| row.sale.clone()))
    }

    async fn list(&self) -> Result<Vec<Sale>, PortError> {
        let tables = self.database.tables();
        Ok(tables.sales.values().map(|row| row.sale.clone()).collect())
    }

    async fn changed(&self, seen: Revision) -> Result<Revision, PortError> {
        std::future::poll_fn(|context| {
            let mut tables = self.database.tables();
            // The first revision is 1, so that the default one is always behind.
            let now = Revision(tables.revision + 1);
            if now == seen {
                tables.waiting.push(context.waker().clone());
                Poll::Pending
            } else {
                Poll::Ready(Ok(now))
            }
        })
        .await
    }
}
