use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Epoch, NewSale, NewSaleRefused, Phase, Product, Sale, SaleChange, SaleId, StockEvent, Window,
};
use flashsale_core::ports::{ChangeOutcome, CreateSaleOutcome, Revision, SaleRepo};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresDatabase;
use crate::database::Call;
use crate::error::fault;
use crate::rows::{self, bad};

/// How long [`SaleRepo::changed`] waits: who looks again then sees what a lost notification, or a
/// database without notifications, did not tell.
const POLL: Duration = Duration::from_secs(1);

/// The sales and products of a [`PostgresDatabase`].
///
/// [`changed`](SaleRepo::changed) learns of the changes of all processes, and of those made by
/// hand, by `NOTIFY`; it returns after one second in any case. Revisions are numbers of this
/// process.
///
/// Made by [`PostgresDatabase::sales`].
#[derive(Clone, Debug)]
pub struct PostgresSaleRepo(pub(crate) PostgresDatabase);

#[async_trait]
impl SaleRepo for PostgresSaleRepo {
    async fn create(&self, new: &NewSale) -> Result<CreateSaleOutcome, PortError> {
        const OPERATION: &str = "create";
        if let Err(refused) = new.validate() {
            return Ok(CreateSaleOutcome::Refused(refused));
        }
        let sql = "SELECT sale, product, description, overlapped
            FROM flashsale_create_sale($1, $2, $3, $4, $5)";
        let query = || {
            let query = sqlx::query(sql).bind(new.product_name.trim());
            let query = query.bind(&new.product_description);
            let query = query.bind(new.window.start.as_millis());
            let query = query.bind(new.window.end.as_millis());
            query.bind(rows::clamped(new.stock))
        };
        let rows = self.0.fetch(OPERATION, Call::Once, query).await?;
        let outcome = rows.first().ok_or_else(|| bad("no row"));
        let outcome = outcome.and_then(|row| created(row, new));
        outcome.map_err(|error| fault(OPERATION, error))
    }

    async fn opened(&self, sale: SaleId) -> Result<(), PortError> {
        let sql = "UPDATE flash_sales SET phase = 'OPEN' WHERE id = $1 AND phase = 'SCHEDULED'";
        let query = || sqlx::query(sql).bind(sale.get());
        self.0.fetch("opened", Call::Repeatable, query).await?;
        Ok(())
    }

    /// The rules are applied here; the change is stored if the sale still is as it was read, else
    /// it is read again. Nobody waits for a client that holds a lock.
    async fn change(&self, id: SaleId, change: SaleChange) -> Result<ChangeOutcome, PortError> {
        loop {
            let Some(before) = self.find_one("change", id).await? else {
                return Ok(ChangeOutcome::UnknownSale);
            };
            let mut after = before.clone();
            let event = match after.change(change) {
                Ok(event) => event,
                Err(refused) => return Ok(ChangeOutcome::Refused(refused)),
            };
            if self.store_change(&before, &after, event).await? {
                return Ok(ChangeOutcome::Changed(after, event));
            }
        }
    }

    async fn events(&self, sale: SaleId, after_version: u64) -> Result<Vec<StockEvent>, PortError> {
        const OPERATION: &str = "events";
        let sql = "SELECT version, kind, units FROM stock_events
            WHERE sale_id = $1 AND version > $2 ORDER BY version";
        let query = || {
            let query = sqlx::query(sql).bind(sale.get());
            query.bind(rows::clamped(after_version))
        };
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        let events: sqlx::Result<_> = rows.iter().map(event).collect();
        events.map_err(|error| fault(OPERATION, error))
    }

    async fn find(&self, sale: SaleId) -> Result<Option<Sale>, PortError> {
        self.find_one("find", sale).await
    }

    async fn list(&self) -> Result<Vec<Sale>, PortError> {
        const OPERATION: &str = "list";
        let sql = "SELECT s.id, p.id, p.name, p.description, s.start_ms, s.end_ms, s.phase,
                s.initial_stock, s.added_stock, s.epoch, s.version
            FROM flash_sales AS s JOIN products AS p ON p.id = s.product_id ORDER BY s.id";
        let query = || sqlx::query(sql);
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        let sales: sqlx::Result<_> = rows.iter().map(sale).collect();
        sales.map_err(|error| fault(OPERATION, error))
    }

    async fn changed(&self, seen: Revision) -> Result<Revision, PortError> {
        let revision = self.0.listener().changed(seen.0, POLL).await;
        Ok(Revision(revision))
    }
}

impl PostgresSaleRepo {
    async fn find_one(
        &self,
        operation: &'static str,
        id: SaleId,
    ) -> Result<Option<Sale>, PortError> {
        let sql = "SELECT s.id, p.id, p.name, p.description, s.start_ms, s.end_ms, s.phase,
                s.initial_stock, s.added_stock, s.epoch, s.version
            FROM flash_sales AS s JOIN products AS p ON p.id = s.product_id WHERE s.id = $1";
        let query = || sqlx::query(sql).bind(id.get());
        let rows = self.0.fetch(operation, Call::Read, query).await?;
        let found = rows.first().map(sale).transpose();
        found.map_err(|error| fault(operation, error))
    }

    /// Stores a change and its event, unless the sale has changed since it was read.
    async fn store_change(
        &self,
        before: &Sale,
        after: &Sale,
        event: StockEvent,
    ) -> Result<bool, PortError> {
        let (kind, units) = match event.change {
            SaleChange::Pause => ("PAUSE", 0),
            SaleChange::Resume => ("RESUME", 0),
            SaleChange::Restock(units) => ("RESTOCK", rows::clamped(units)),
            SaleChange::Close => ("CLOSE", 0),
        };
        let sql = "WITH changed AS (
                UPDATE flash_sales SET phase = $4, version = $5,
                    added_stock = added_stock + $7, remaining_stock = remaining_stock + $7
                WHERE id = $1 AND version = $2 AND phase = $3 AND epoch = $8
                RETURNING id, version
            )
            INSERT INTO stock_events (sale_id, version, kind, units)
            SELECT id, version, $6, $7 FROM changed RETURNING version";
        let query = || {
            let query = sqlx::query(sql).bind(before.id.get());
            let query = query.bind(rows::clamped(before.version));
            let query = query.bind(rows::phase_name(before.phase));
            let query = query.bind(rows::phase_name(after.phase));
            let query = query.bind(rows::clamped(event.version));
            let query = query.bind(kind).bind(units);
            query.bind(i64::from(before.epoch.get()))
        };
        let stored = self.0.fetch("change", Call::Once, query).await?;
        Ok(!stored.is_empty())
    }
}

fn created(row: &PgRow, new: &NewSale) -> sqlx::Result<CreateSaleOutcome> {
    if row.try_get::<Option<i64>, _>(3)?.is_some() {
        let overlaps = NewSaleRefused::Overlaps(rows::sale_id(row, 3)?);
        return Ok(CreateSaleOutcome::Refused(overlaps));
    }
    Ok(CreateSaleOutcome::Created(Sale {
        id: rows::sale_id(row, 0)?,
        product: Product {
            id: rows::product_id(row, 1)?,
            name: new.product_name.trim().to_owned(),
            description: row.try_get(2)?,
        },
        window: new.window,
        phase: Phase::Scheduled,
        initial_stock: new.stock,
        added_stock: 0,
        epoch: Epoch::FIRST,
        version: 1,
    }))
}

fn sale(row: &PgRow) -> sqlx::Result<Sale> {
    Ok(Sale {
        id: rows::sale_id(row, 0)?,
        product: Product {
            id: rows::product_id(row, 1)?,
            name: row.try_get(2)?,
            description: row.try_get(3)?,
        },
        window: Window {
            start: rows::timestamp(row, 4)?,
            end: rows::timestamp(row, 5)?,
        },
        phase: rows::phase(row, 6)?,
        initial_stock: rows::number(row, 7)?,
        added_stock: rows::number(row, 8)?,
        epoch: rows::epoch(row, 9)?,
        version: rows::number(row, 10)?,
    })
}

fn event(row: &PgRow) -> sqlx::Result<StockEvent> {
    let change = match row.try_get(1)? {
        "PAUSE" => SaleChange::Pause,
        "RESUME" => SaleChange::Resume,
        "RESTOCK" => SaleChange::Restock(rows::number(row, 2)?),
        "CLOSE" => SaleChange::Close,
        other => return Err(rows::unknown(other)),
    };
    Ok(StockEvent {
        version: rows::number(row, 0)?,
        change,
    })
}
