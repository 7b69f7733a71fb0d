use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    ChangeRefused, Epoch, NewSale, NewSaleRefused, Phase, Product, ProductId, Sale, SaleChange,
    SaleId, SaleRef, StockEvent, Window,
};
use flashsale_core::ports::{ChangeOutcome, CreateSaleOutcome, Revision, SaleRepo};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::engine::Engine;
use crate::rows;

/// The sales and products, in the engine's file.
///
/// Made by [`EmbeddedEngine::sales`](crate::EmbeddedEngine::sales).
#[derive(Clone, Debug)]
pub struct EmbeddedSaleRepo(pub(crate) Arc<Engine>);

const SALE: &str = "SELECT sales.id, products.id, products.name, products.description, start_ms,
        end_ms, phase, initial_stock, added_stock, epoch, version, pause_requested, withdrawn_stock, sealed_epoch,
        decided_seq
    FROM sales JOIN products ON products.id = product_id";

#[async_trait]
impl SaleRepo for EmbeddedSaleRepo {
    async fn create(&self, new: &NewSale) -> Result<CreateSaleOutcome, PortError> {
        if let Err(refused) = new.validate() {
            return Ok(CreateSaleOutcome::Refused(refused));
        }
        // An attempt that is on its way must not end up before the sale's first.
        self.0.journal.flush();
        let outcome = self
            .0
            .journal
            .write("create", |transaction| create(transaction, new))?;
        if let CreateSaleOutcome::Created(_) = outcome {
            self.0.sales_changed();
        }
        Ok(outcome)
    }

    async fn opened(&self, sale: &SaleRef, version: u64) -> Result<(), PortError> {
        self.note("opened", sale, |row| row.opened(sale.epoch, version))?;
        Ok(())
    }

    async fn recover(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        self.note("recover", sale, |row| row.recover(sale.epoch))
    }

    async fn seal(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        let books = self.0.books(sale.id)?;
        // Held so that nobody is accepted who asks after this.
        let mut arbiter = books.as_ref().map(|books| books.arbiter());
        // What is decided at once is on its way to the disk.
        self.0.journal.flush();
        let sealed = self.note("seal", sale, |row| row.seal(sale.epoch))?;
        if let (Some(sealed), Some(Some(arbiter))) = (&sealed, arbiter.as_deref_mut()) {
            arbiter.seal(sealed.sealed);
        }
        Ok(sealed)
    }

    async fn change(
        &self,
        id: SaleId,
        change: SaleChange,
        from: Option<&Sale>,
    ) -> Result<ChangeOutcome, PortError> {
        if let SaleChange::Withdraw(_) = change {
            // What is left is counted on the disk.
            self.0.journal.flush();
        }
        // The arbiter is held so that it learns of new units in the order of the disk.
        let books = self.0.books(id)?;
        let mut arbiter = books.as_ref().map(|books| books.arbiter());
        let outcome = self.0.journal.write("change", |transaction| {
            let Some(mut sale) = find(transaction, id)? else {
                return Ok(ChangeOutcome::UnknownSale);
            };
            if from.is_some_and(|from| !sale.is_as(from)) {
                return Ok(ChangeOutcome::Refused(ChangeRefused::Outdated));
            }
            let event = match sale.change(change) {
                Ok(event) => event,
                Err(refused) => return Ok(ChangeOutcome::Refused(refused)),
            };
            if let Some(refused) = against(transaction, &sale, change)? {
                return Ok(ChangeOutcome::Refused(refused));
            }
            store_change(transaction, &sale, &event)?;
            Ok(ChangeOutcome::Changed(sale, event))
        })?;
        if let ChangeOutcome::Changed(_, event) = &outcome {
            if let Some(Some(arbiter)) = arbiter.as_deref_mut() {
                match event.change {
                    SaleChange::Restock(units) => arbiter.restock(units),
                    SaleChange::Withdraw(units) => {
                        arbiter.withdraw(units);
                    }
                    _ => {}
                }
            }
            self.0.sales_changed();
        }
        Ok(outcome)
    }

    async fn events(&self, sale: SaleId, after_version: u64) -> Result<Vec<StockEvent>, PortError> {
        self.0.read("events", |reader| {
            let sql = "SELECT version, kind, units FROM sale_events
                WHERE sale_id = ?1 AND version > ?2 ORDER BY version";
            let mut statement = reader.prepare_cached(sql)?;
            let events = statement.query_map(params![sale.get(), after_version], event)?;
            events.collect()
        })
    }

    async fn find(&self, sale: SaleId) -> Result<Option<Sale>, PortError> {
        self.0.read("find", |reader| find(reader, sale))
    }

    async fn list(&self) -> Result<Vec<Sale>, PortError> {
        self.0.read("list", |reader| {
            let mut statement = reader.prepare_cached(&format!("{SALE} ORDER BY sales.id"))?;
            let sales = statement.query_map([], sale)?;
            sales.collect()
        })
    }

    async fn changed(&self, seen: Revision) -> Result<Revision, PortError> {
        let mut revision = self.0.revision.subscribe();
        // The engine holds the sender, so waiting can only end with a change.
        let now = match revision.wait_for(|now| *now != seen.0).await {
            Ok(now) => *now,
            Err(_) => seen.0,
        };
        Ok(Revision(now))
    }
}

impl EmbeddedSaleRepo {
    /// Changes a sale if it is known, and tells everybody if that was news.
    fn note(
        &self,
        operation: &'static str,
        sale: &SaleRef,
        change: impl FnOnce(&mut Sale) -> bool,
    ) -> Result<Option<Sale>, PortError> {
        let noted = self.0.journal.write(operation, |transaction| {
            let Some(mut row) = find(transaction, sale.id)? else {
                return Ok(None);
            };
            let news = change(&mut row);
            if news {
                let sql = "UPDATE sales SET phase = ?2, epoch = ?3, sealed_epoch = ?4,
                    decided_seq = ?5 WHERE id = ?1";
                let values = params![
                    row.id.get(),
                    rows::phase_name(row.phase),
                    row.epoch.get(),
                    row.sealed.get(),
                    row.decided_seq,
                ];
                transaction.prepare_cached(sql)?.execute(values)?;
            }
            Ok(Some((row, news)))
        })?;
        if let Some((_, true)) = noted {
            self.0.sales_changed();
        }
        Ok(noted.map(|(sale, _)| sale))
    }
}

/// What in the other rows is against a change that the sale itself allows.
fn against(
    transaction: &Transaction<'_>,
    changed: &Sale,
    change: SaleChange,
) -> rusqlite::Result<Option<ChangeRefused>> {
    match change {
        SaleChange::Withdraw(units) => {
            let sql = "SELECT remaining_stock FROM sales WHERE id = ?1";
            let left: u64 = transaction
                .prepare_cached(sql)?
                .query_row([changed.id.get()], |row| row.get(0))?;
            Ok((left < units).then_some(ChangeRefused::Withdrawal { most: left }))
        }
        SaleChange::Extend(end) => {
            let sql = "SELECT id FROM sales WHERE product_id = ?1 AND phase <> 'CLOSED'
                AND id <> ?2 AND start_ms < ?4 AND ?3 < end_ms ORDER BY id LIMIT 1";
            let start = changed.window.start.as_millis();
            let values = params![
                changed.product.id.get(),
                changed.id.get(),
                start,
                end.as_millis()
            ];
            let other = transaction
                .prepare_cached(sql)?
                .query_row(values, |row| rows::sale_id(row, 0))
                .optional()?;
            Ok(other.map(ChangeRefused::Overlaps))
        }
        _ => Ok(None),
    }
}

fn create(transaction: &Transaction<'_>, new: &NewSale) -> rusqlite::Result<CreateSaleOutcome> {
    let name = new.product_name.trim();
    let sql = "INSERT INTO products (name, description) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    let sql_find = "SELECT id, name, description FROM products WHERE name = ?1";
    let overlap = "SELECT id FROM sales WHERE product_id = ?1 AND phase <> 'CLOSED'
        AND start_ms < ?3 AND ?2 < end_ms ORDER BY id LIMIT 1";
    let find = || {
        transaction
            .prepare_cached(sql_find)?
            .query_row([name], product)
            .optional()
    };
    let product = match find()? {
        Some(product) => product,
        None => {
            transaction
                .prepare_cached(sql)?
                .execute([name, new.product_description.as_str()])?;
            find()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?
        }
    };
    let (start_ms, end_ms) = (new.window.start.as_millis(), new.window.end.as_millis());
    let other = transaction
        .prepare_cached(overlap)?
        .query_row(params![product.id.get(), start_ms, end_ms], |row| {
            rows::sale_id(row, 0)
        })
        .optional()?;
    if let Some(other) = other {
        return Ok(CreateSaleOutcome::Refused(NewSaleRefused::Overlaps(other)));
    }
    let sql = "INSERT INTO sales (product_id, start_ms, end_ms, phase, initial_stock,
            remaining_stock, epoch, sealed_epoch, version, attempts_after)
        VALUES (?1, ?2, ?3, 'SCHEDULED', ?4, ?4, ?5, ?5, 1,
            (SELECT coalesce(max(id), 0) FROM attempts))
        RETURNING id";
    let epoch = Epoch::FIRST;
    let id = transaction.prepare_cached(sql)?.query_row(
        params![product.id.get(), start_ms, end_ms, new.stock, epoch.get()],
        |row| rows::sale_id(row, 0),
    )?;
    Ok(CreateSaleOutcome::Created(Sale {
        id,
        product,
        window: new.window,
        phase: Phase::Scheduled,
        initial_stock: new.stock,
        pause_requested: false,
        added_stock: 0,
        withdrawn_stock: 0,
        epoch,
        sealed: epoch,
        decided_seq: 0,
        version: 1,
    }))
}

fn store_change(
    transaction: &Transaction<'_>,
    sale: &Sale,
    event: &StockEvent,
) -> rusqlite::Result<()> {
    let (kind, number, units) = match event.change {
        SaleChange::Pause => ("PAUSE", 0, 0),
        SaleChange::Resume => ("RESUME", 0, 0),
        SaleChange::Restock(units) => ("RESTOCK", units.cast_signed(), units.cast_signed()),
        SaleChange::Withdraw(units) => ("WITHDRAW", units.cast_signed(), -units.cast_signed()),
        SaleChange::Extend(end) => ("EXTEND", end.as_millis(), 0),
        SaleChange::Close => ("CLOSE", 0, 0),
    };
    let sql =
        "UPDATE sales SET phase = ?2, pause_requested = ?3, added_stock = ?4, withdrawn_stock = ?5,
        end_ms = ?6, remaining_stock = remaining_stock + ?7, version = ?8 WHERE id = ?1";
    let values = params![
        sale.id.get(),
        rows::phase_name(sale.phase),
        sale.pause_requested,
        sale.added_stock,
        sale.withdrawn_stock,
        sale.window.end.as_millis(),
        units,
        sale.version
    ];
    transaction.prepare_cached(sql)?.execute(values)?;
    let sql = "INSERT INTO sale_events (sale_id, version, kind, units) VALUES (?1, ?2, ?3, ?4)";
    let values = params![sale.id.get(), event.version, kind, number];
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn find(connection: &Connection, id: SaleId) -> rusqlite::Result<Option<Sale>> {
    connection
        .prepare_cached(&format!("{SALE} WHERE sales.id = ?1"))?
        .query_row([id.get()], sale)
        .optional()
}

fn product(row: &Row<'_>) -> rusqlite::Result<Product> {
    Ok(Product {
        id: rows::product_id(row, 0)?,
        name: row.get(1)?,
        description: row.get(2)?,
    })
}

fn sale(row: &Row<'_>) -> rusqlite::Result<Sale> {
    let product: ProductId = rows::product_id(row, 1)?;
    Ok(Sale {
        id: rows::sale_id(row, 0)?,
        product: Product {
            id: product,
            name: row.get(2)?,
            description: row.get(3)?,
        },
        window: Window {
            start: rows::timestamp(row, 4)?,
            end: rows::timestamp(row, 5)?,
        },
        phase: rows::phase(row, 6)?,
        initial_stock: row.get(7)?,
        added_stock: row.get(8)?,
        epoch: rows::epoch(row, 9)?,
        version: row.get(10)?,
        pause_requested: row.get(11)?,
        withdrawn_stock: row.get(12)?,
        sealed: rows::epoch(row, 13)?,
        decided_seq: row.get(14)?,
    })
}

fn event(row: &Row<'_>) -> rusqlite::Result<StockEvent> {
    let change = match row.get_ref(1)?.as_str()? {
        "PAUSE" => SaleChange::Pause,
        "RESUME" => SaleChange::Resume,
        "RESTOCK" => SaleChange::Restock(row.get(2)?),
        "WITHDRAW" => SaleChange::Withdraw(row.get(2)?),
        "EXTEND" => SaleChange::Extend(rows::timestamp(row, 2)?),
        "CLOSE" => SaleChange::Close,
        other => return Err(rows::unknown(1, other)),
    };
    Ok(StockEvent {
        version: row.get(0)?,
        change,
    })
}
