//! How a sale's stock and the results stand in the tables.

use flashsale_core::domain::{
    Attempt, Decision, FailReason, ProductId, SaleRef, SaleResult, SettleOutcome, Settlement,
    StockSnapshot, Timestamp, UserId,
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::rows::{self, DecisionColumns};

/// Replaces what is stored of a sale's stock.
pub(crate) fn store_snapshot(
    transaction: &Transaction<'_>,
    sale: &SaleRef,
    snapshot: &StockSnapshot,
    next_id: impl Fn() -> i64,
) -> rusqlite::Result<()> {
    let forgotten = "DELETE FROM attempts WHERE sale_id = ?1 AND decision IS NULL";
    transaction
        .prepare_cached(forgotten)?
        .execute([sale.id.get()])?;

    let sold: u64 = snapshot
        .buyers
        .iter()
        .map(|buyer| buyer.quantity.units())
        .sum();
    let sql = "INSERT INTO stock
            (sale_id, product_id, start_ms, end_ms, phase, epoch, opened_epoch, version, units,
                attempts_after)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, (SELECT coalesce(max(id), 0) FROM attempts))
        ON CONFLICT (sale_id) DO UPDATE SET product_id = excluded.product_id,
            start_ms = excluded.start_ms, end_ms = excluded.end_ms, phase = excluded.phase,
            epoch = excluded.epoch, opened_epoch = excluded.opened_epoch, version = excluded.version, units = excluded.units";
    transaction.prepare_cached(sql)?.execute(params![
        sale.id.get(),
        sale.product.get(),
        snapshot.window.start.as_millis(),
        snapshot.window.end.as_millis(),
        rows::phase_name(snapshot.phase),
        sale.epoch.get(),
        snapshot.version,
        snapshot.remaining + sold,
    ])?;
    for buyer in &snapshot.buyers {
        let attempt = Attempt {
            id: buyer.attempt,
            sale: sale.id,
            product: sale.product,
            user: buyer.user.clone(),
            quantity: buyer.quantity,
            epoch: sale.epoch,
            seq: 0,
            reserved_at: buyer.reserved_at,
        };
        let sold = Decision::Success(buyer.order);
        rows::decide(transaction, next_id(), &attempt, sold, buyer.reserved_at)?;
    }
    Ok(())
}

/// Makes a settlement outlive a restart.
pub(crate) fn store_settlement(
    transaction: &Transaction<'_>,
    sale: &SaleRef,
    settlement: &Settlement,
    outcome: SettleOutcome,
    now: Timestamp,
    next_id: impl Fn() -> i64,
) -> rusqlite::Result<()> {
    let attempt = |id, quantity| Attempt {
        id,
        sale: sale.id,
        product: sale.product,
        user: settlement.user.clone(),
        quantity,
        epoch: sale.epoch,
        seq: 0,
        reserved_at: settlement.reserved_at,
    };
    let this = attempt(settlement.attempt, settlement.quantity);
    match outcome {
        SettleOutcome::Unchanged => return Ok(()),
        SettleOutcome::Drift => {
            let sql = "UPDATE stock SET phase = 'RECOVERING' WHERE sale_id = ?1";
            transaction.prepare_cached(sql)?.execute([sale.id.get()])?;
            return Ok(());
        }
        SettleOutcome::Voided => {
            let sql = "UPDATE stock SET units = units - ?2 WHERE sale_id = ?1";
            let values = params![sale.id.get(), settlement.quantity.units()];
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        SettleOutcome::Merged => {
            if let Decision::Failed(FailReason::Duplicate(kept)) = settlement.decision {
                let first = attempt(kept.attempt, kept.quantity);
                let sold = Decision::Success(kept.order);
                rows::decide(transaction, next_id(), &first, sold, now)?;
            }
        }
        SettleOutcome::Confirmed
        | SettleOutcome::Released
        | SettleOutcome::Adopted
        | SettleOutcome::Healed => {}
    }
    rows::decide(transaction, next_id(), &this, settlement.decision, now)
}

/// Stores a result, unless one that is kept stays; returns how many rows it changed.
pub(crate) fn store_result(
    transaction: &Transaction<'_>,
    result: &SaleResult,
) -> rusqlite::Result<usize> {
    let kept = load_result(transaction, result.product, &result.user)?;
    if kept.is_some_and(|kept| !result.supersedes(&kept)) {
        return Ok(0);
    }
    let columns = DecisionColumns::from(result.decision);
    let sql = "INSERT OR REPLACE INTO results (user_id, product_id, sale_id, attempt_id, decision, order_id,
            kept_attempt_id, kept_quantity, reserved_at_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    transaction.prepare_cached(sql)?.execute(params![
        result.user.as_str(),
        result.product.get(),
        result.sale.get(),
        result.attempt.as_uuid(),
        columns.name,
        columns.order,
        columns.kept,
        columns.kept_quantity,
        result.reserved_at.as_millis(),
    ])
}

pub(crate) fn load_result(
    reader: &Connection,
    product: ProductId,
    user: &UserId,
) -> rusqlite::Result<Option<SaleResult>> {
    let sql = "SELECT decision, order_id, kept_attempt_id, kept_quantity, sale_id, attempt_id,
            reserved_at_ms
        FROM results
        WHERE user_id = ?1 AND product_id = ?2";
    reader
        .prepare_cached(sql)?
        .query_row(params![user.as_str(), product.get()], |row| {
            let decision = rows::decision(row, 0)?;
            let undecided = || rows::unknown(0, "null");
            Ok(SaleResult {
                user: user.clone(),
                product,
                sale: rows::sale_id(row, 4)?,
                attempt: rows::attempt_id(row, 5)?,
                decision: decision.ok_or_else(undecided)?,
                reserved_at: Timestamp::from_millis(row.get(6)?),
            })
        })
        .optional()
}
