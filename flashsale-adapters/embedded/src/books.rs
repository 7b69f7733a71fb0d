use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flashsale_core::domain::{
    Allocation, Arbiter, Attempt, AttemptId, Buyer, Decision, Epoch, Ledger, SaleId, SaleRef,
    StockSnapshot, UserId, Window,
};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OptionalExtension, params};

use crate::rows;

/// What the engine keeps in memory for one sale.
///
/// Lock order: ledger, then arbiter. The journal takes neither: it leaves a note in `undone` when
/// an attempt could not be kept, and whoever looks at the ledger next acts on it first.
#[derive(Debug)]
pub(crate) struct Books {
    ledger: Mutex<Option<Ledger>>,
    /// Loaded when a repository is first asked to decide, which an engine that decides at once
    /// rarely is.
    arbiter: Mutex<Option<Arbiter>>,
    arbiter_stale: AtomicBool,
    undone: Mutex<Vec<(UserId, AttemptId)>>,
    any_undone: AtomicBool,
    /// Holds up to this place are on disk; see [`place`].
    durable: AtomicU64,
}

impl Books {
    pub(crate) fn new(ledger: Option<Ledger>) -> Self {
        let durable = ledger.as_ref().map_or(0, last_place);
        Self {
            ledger: Mutex::new(ledger),
            arbiter: Mutex::default(),
            arbiter_stale: AtomicBool::new(false),
            undone: Mutex::default(),
            any_undone: AtomicBool::new(false),
            durable: AtomicU64::new(durable),
        }
    }

    /// The sale's stock, if it was ever opened.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Option<Ledger>> {
        let mut ledger = self.ledger.lock();
        self.take_back_undone(&mut ledger);
        ledger
    }

    /// Takes out of the stock what could not be kept.
    pub(crate) fn take_back_undone(&self, ledger: &mut Option<Ledger>) {
        if self.any_undone.swap(false, Ordering::AcqRel) {
            let undone = std::mem::take(&mut *self.undone.lock());
            if let Some(ledger) = ledger {
                for (user, attempt) in undone {
                    ledger.undo(&user, attempt);
                }
            }
        }
    }

    /// The sale's decisions, if they are loaded and true to the disk.
    pub(crate) fn arbiter(&self) -> MutexGuard<'_, Option<Arbiter>> {
        let mut arbiter = self.arbiter.lock();
        self.forget_if_stale(&mut arbiter);
        arbiter
    }

    /// Forgets decisions of which some were never kept.
    pub(crate) fn forget_if_stale(&self, arbiter: &mut Option<Arbiter>) {
        if self.arbiter_stale.swap(false, Ordering::AcqRel) {
            *arbiter = None;
        }
    }

    /// Takes note that an attempt is on disk, or never will be.
    pub(crate) fn written(&self, attempt: &Attempt, kept: bool) {
        if kept {
            let place = place(attempt.epoch, attempt.seq);
            self.durable.fetch_max(place, Ordering::AcqRel);
        } else {
            let undone = (attempt.user.clone(), attempt.id);
            self.undone.lock().push(undone);
            self.any_undone.store(true, Ordering::Release);
            self.arbiter_stale.store(true, Ordering::Release);
        }
    }

    /// Replaces the stock by one that is on disk.
    pub(crate) fn replace(&self, ledger: &mut Option<Ledger>, opened: Ledger) {
        self.durable
            .fetch_max(last_place(&opened), Ordering::AcqRel);
        *ledger = Some(opened);
    }

    /// How much is on disk at this moment.
    ///
    /// To be asked before the ledger is locked: what failed before this moment is out of that
    /// ledger then, so nothing up to here is left in it that never reached the disk.
    pub(crate) fn durable(&self) -> Durable {
        Durable(self.durable.load(Ordering::Acquire))
    }
}

/// A place up to which allocations are on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durable(u64);

impl Durable {
    /// Whether the allocation is on disk.
    pub(crate) fn has(self, allocation: &Allocation) -> bool {
        place(allocation.epoch, allocation.seq) <= self.0
    }
}

/// A place in the order of a sale's reservations over all epochs. A sale has fewer than 2^40
/// reservations and releases in an epoch, and fewer than 2^24 epochs.
fn place(epoch: Epoch, seq: u64) -> u64 {
    u64::from(epoch.get()) << 40 | seq
}

fn last_place(ledger: &Ledger) -> u64 {
    place(ledger.sale().epoch, ledger.levels().seq)
}

/// The stock of a sale as the disk has it; nothing if it was never opened.
pub(crate) fn load_ledger(
    connection: &Connection,
    sale: SaleId,
) -> rusqlite::Result<Option<Ledger>> {
    let sql =
        "SELECT product_id, opened_epoch, start_ms, end_ms, phase, version, units, attempts_after,
            epoch
        FROM stock WHERE sale_id = ?1";
    let stock = connection
        .prepare_cached(sql)?
        .query_row([sale.get()], |row| {
            let key = SaleRef {
                id: sale,
                product: rows::product_id(row, 0)?,
                epoch: rows::epoch(row, 1)?,
            };
            let window = Window {
                start: rows::timestamp(row, 2)?,
                end: rows::timestamp(row, 3)?,
            };
            let snapshot = StockSnapshot {
                window,
                phase: rows::phase(row, 4)?,
                version: row.get(5)?,
                remaining: row.get(6)?,
                buyers: Vec::new(),
            };
            Ok((key, snapshot, row.get::<_, i64>(7)?, rows::epoch(row, 8)?))
        })
        .optional()?;
    let Some((key, mut snapshot, after, fenced_to)) = stock else {
        return Ok(None);
    };

    let mut undecided = Vec::new();
    let mut last_seq = 0;
    let sql = format!(
        "SELECT decision, coalesce(order_id, id), {} FROM attempts
        WHERE id > ?1 AND sale_id = ?2 AND (decision IS NULL OR decision = 'SUCCESS') ORDER BY id",
        rows::ATTEMPT
    );
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query(params![after, sale.get()])?;
    while let Some(row) = found.next()? {
        let attempt = rows::attempt(row, 2)?;
        if attempt.epoch == key.epoch {
            last_seq = last_seq.max(attempt.seq);
        }
        if row.get_ref(0)? == rusqlite::types::ValueRef::Null {
            undecided.push(attempt);
        } else {
            snapshot.remaining = snapshot.remaining.saturating_sub(attempt.quantity.units());
            snapshot.buyers.push(Buyer {
                order: rows::order_id(row, 1)?,
                user: attempt.user,
                attempt: attempt.id,
                quantity: attempt.quantity,
                reserved_at: attempt.reserved_at,
            });
        }
    }
    let mut ledger = Ledger::open(key, snapshot);
    for attempt in &undecided {
        if attempt.epoch == key.epoch {
            ledger.restore(attempt, false);
        }
    }
    ledger.resume_at(last_seq);
    ledger.fence(fenced_to);
    Ok(Some(ledger))
}

/// The decisions of a sale as the disk has them; nothing for an unknown sale.
pub(crate) fn load_arbiter(
    connection: &Connection,
    sale: SaleId,
) -> rusqlite::Result<Option<Arbiter>> {
    let sql = "SELECT sealed_epoch, initial_stock + added_stock - withdrawn_stock, attempts_after
        FROM sales WHERE id = ?1";
    let known = connection
        .prepare_cached(sql)?
        .query_row([sale.get()], |row| {
            let stock: u64 = row.get(1)?;
            Ok((rows::epoch(row, 0)?, stock, row.get::<_, i64>(2)?))
        })
        .optional()?;
    let Some((sealed, stock, after)) = known else {
        return Ok(None);
    };
    let mut arbiter = Arbiter::new(sealed, stock);
    for_each_decided(
        connection,
        sale,
        after,
        i64::MAX,
        |attempt, decision, _, _| {
            arbiter.record(&attempt, decision);
        },
    )?;
    Ok(Some(arbiter))
}

/// Reads the decided attempts of a sale with ids greater than `after`, the first `max` of them:
/// attempt, decision, row id, time of the decision.
pub(crate) fn for_each_decided(
    connection: &Connection,
    sale: SaleId,
    after: i64,
    max: i64,
    mut each: impl FnMut(Attempt, Decision, i64, i64),
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT decision, coalesce(order_id, id), kept_attempt_id, kept_quantity,
            id, decided_ms, {}
        FROM attempts WHERE id > ?1 AND sale_id = ?2 AND decision IS NOT NULL ORDER BY id LIMIT ?3",
        rows::ATTEMPT
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![after, sale.get(), max])?;
    while let Some(row) = found.next()? {
        if let Some(decision) = rows::decision(row, 0)? {
            each(rows::attempt(row, 6)?, decision, row.get(4)?, row.get(5)?);
        }
    }
    Ok(())
}
