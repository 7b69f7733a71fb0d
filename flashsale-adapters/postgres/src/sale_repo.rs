use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    ChangeRefused, Epoch, NewSale, NewSaleRefused, Phase, Product, Sale, SaleChange, SaleId,
    SaleRef, StockEvent, Window,
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

    async fn opened(&self, sale: &SaleRef, version: u64) -> Result<(), PortError> {
        self.note("opened", sale, |row| row.opened(sale.epoch, version))
            .await?;
        Ok(())
    }

    async fn recover(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        self.note("recover", sale, |row| row.recover(sale.epoch))
            .await
    }

    /// The update waits for whoever holds the lock of the sale, and whoever decides about it
    /// afterwards sees the seal.
    async fn seal(&self, sale: &SaleRef) -> Result<Option<Sale>, PortError> {
        self.note("seal", sale, |row| row.seal(sale.epoch)).await
    }

    /// The rules are applied here; the change is stored if the sale still is as it was read, else
    /// it is read again. Nobody waits for a client that holds a lock.
    async fn change(
        &self,
        id: SaleId,
        change: SaleChange,
        from: Option<&Sale>,
    ) -> Result<ChangeOutcome, PortError> {
        loop {
            let Some(before) = self.find_one("change", id).await? else {
                return Ok(ChangeOutcome::UnknownSale);
            };
            if from.is_some_and(|from| !before.is_as(from)) {
                return Ok(ChangeOutcome::Refused(ChangeRefused::Outdated));
            }
            let mut after = before.clone();
            let event = match after.change(change) {
                Ok(event) => event,
                Err(refused) => return Ok(ChangeOutcome::Refused(refused)),
            };
            if self.store_change(&before, &after, event).await? {
                return Ok(ChangeOutcome::Changed(after, event));
            }
            if let Some(refused) = self.against(&after, change).await? {
                return Ok(ChangeOutcome::Refused(refused));
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
                s.initial_stock, s.added_stock, s.epoch, s.version, s.pause_requested, s.withdrawn_stock,
                s.sealed_epoch, s.decided_seq
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
                s.initial_stock, s.added_stock, s.epoch, s.version, s.pause_requested, s.withdrawn_stock,
                s.sealed_epoch, s.decided_seq
            FROM flash_sales AS s JOIN products AS p ON p.id = s.product_id WHERE s.id = $1";
        let query = || sqlx::query(sql).bind(id.get());
        let rows = self.0.fetch(operation, Call::Read, query).await?;
        let found = rows.first().map(sale).transpose();
        found.map_err(|error| fault(operation, error))
    }

    /// Changes a sale by one of its rules. Returns it as it is afterwards.
    async fn note(
        &self,
        operation: &'static str,
        key: &SaleRef,
        rule: impl Fn(&mut Sale) -> bool,
    ) -> Result<Option<Sale>, PortError> {
        loop {
            let Some(before) = self.find_one(operation, key.id).await? else {
                return Ok(None);
            };
            let mut after = before.clone();
            if !rule(&mut after) {
                return Ok(Some(before));
            }
            let sql = "UPDATE flash_sales SET phase = $5, epoch = $6, sealed_epoch = $7,
                    decided_seq = CASE WHEN epoch = $6 THEN decided_seq ELSE 0 END
                WHERE id = $1 AND epoch = $2 AND sealed_epoch = $3 AND phase = $4 AND pause_requested = $8
                    AND version = $9
                RETURNING id";
            let query = || {
                let query = sqlx::query(sql).bind(before.id.get());
                let query = query.bind(i64::from(before.epoch.get()));
                let query = query.bind(i64::from(before.sealed.get()));
                let query = query.bind(rows::phase_name(before.phase));
                let query = query.bind(rows::phase_name(after.phase));
                let query = query.bind(i64::from(after.epoch.get()));
                let query = query.bind(i64::from(after.sealed.get()));
                let query = query.bind(before.pause_requested);
                query.bind(rows::clamped(before.version))
            };
            let noted = self.0.fetch(operation, Call::Repeatable, query).await?;
            if !noted.is_empty() {
                return Ok(Some(after));
            }
        }
    }

    /// What in the other rows is against a change that the sale itself allows.
    async fn against(
        &self,
        changed: &Sale,
        change: SaleChange,
    ) -> Result<Option<ChangeRefused>, PortError> {
        const OPERATION: &str = "change";
        let (sql, number) = match change {
            SaleChange::Withdraw(units) => (
                "SELECT remaining_stock FROM flash_sales WHERE id = $1 AND remaining_stock < $2",
                rows::clamped(units),
            ),
            SaleChange::Extend(end) => (
                "SELECT other.id FROM flash_sales AS other, flash_sales AS this
                WHERE this.id = $1 AND other.id <> this.id AND other.phase <> 'CLOSED'
                    AND other.product_id = this.product_id
                    AND other.start_ms < $2 AND this.start_ms < other.end_ms
                ORDER BY other.id LIMIT 1",
                end.as_millis(),
            ),
            _ => return Ok(None),
        };
        let query = || sqlx::query(sql).bind(changed.id.get()).bind(number);
        let rows = self.0.fetch(OPERATION, Call::Read, query).await?;
        let refused = rows.first().map(|row| match change {
            SaleChange::Withdraw(_) => {
                rows::number(row, 0).map(|most| ChangeRefused::Withdrawal { most })
            }
            _ => rows::sale_id(row, 0).map(ChangeRefused::Overlaps),
        });
        refused.transpose().map_err(|error| fault(OPERATION, error))
    }

    /// Stores a change and its event, unless the sale has changed since it was read, or another row
    /// is against it.
    async fn store_change(
        &self,
        before: &Sale,
        after: &Sale,
        event: StockEvent,
    ) -> Result<bool, PortError> {
        let (kind, number, units) = match event.change {
            SaleChange::Pause => ("PAUSE", 0, 0),
            SaleChange::Resume => ("RESUME", 0, 0),
            SaleChange::Restock(units) => ("RESTOCK", rows::clamped(units), rows::clamped(units)),
            SaleChange::Withdraw(units) => {
                ("WITHDRAW", rows::clamped(units), -rows::clamped(units))
            }
            SaleChange::Extend(end) => ("EXTEND", end.as_millis(), 0),
            SaleChange::Close => ("CLOSE", 0, 0),
        };
        let sql = "WITH changed AS (
                UPDATE flash_sales AS this SET phase = $4, version = $5, pause_requested = $10, end_ms = $11,
                    added_stock = added_stock + greatest($9, 0),
                    withdrawn_stock = withdrawn_stock - least($9, 0),
                    remaining_stock = remaining_stock + $9
                WHERE id = $1 AND version = $2 AND phase = $3 AND epoch = $8
                    AND remaining_stock + $9 >= 0
                    AND ($11 <= end_ms OR NOT EXISTS (
                        SELECT FROM flash_sales AS other
                        WHERE other.product_id = this.product_id AND other.id <> this.id
                            AND other.phase <> 'CLOSED'
                            AND other.start_ms < $11 AND this.start_ms < other.end_ms))
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
            let query = query.bind(kind).bind(number);
            let query = query.bind(i64::from(before.epoch.get())).bind(units);
            query
                .bind(after.pause_requested)
                .bind(after.window.end.as_millis())
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
        pause_requested: false,
        added_stock: 0,
        withdrawn_stock: 0,
        epoch: Epoch::FIRST,
        sealed: Epoch::FIRST,
        decided_seq: 0,
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
        pause_requested: row.try_get(11)?,
        withdrawn_stock: rows::number(row, 12)?,
        sealed: rows::epoch(row, 13)?,
        decided_seq: rows::number(row, 14)?,
    })
}

fn event(row: &PgRow) -> sqlx::Result<StockEvent> {
    let change = match row.try_get(1)? {
        "PAUSE" => SaleChange::Pause,
        "RESUME" => SaleChange::Resume,
        "RESTOCK" => SaleChange::Restock(rows::number(row, 2)?),
        "WITHDRAW" => SaleChange::Withdraw(rows::number(row, 2)?),
        "EXTEND" => SaleChange::Extend(rows::timestamp(row, 2)?),
        "CLOSE" => SaleChange::Close,
        other => return Err(rows::unknown(other)),
    };
    Ok(StockEvent {
        version: rows::number(row, 0)?,
        change,
    })
}
