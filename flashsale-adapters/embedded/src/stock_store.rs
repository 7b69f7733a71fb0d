use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use flashsale_core::domain::{
    Allocation, ApplyOutcome, Attempt, AttemptId, Decision, Epoch, Ledger, Levels, OpenOutcome,
    ProductId, ReserveOutcome, ReserveRequest, SaleChange, SaleRef, SaleResult, SettleOutcome,
    Settlement, StockEvent, StockSnapshot, Timestamp, UserId, Window,
};
use flashsale_core::ports::StockStore;
use flashsale_core::{ErrorKind, PortError};
use rusqlite::params;

use crate::books::{Books, Durable, load_ledger};
use crate::config::Decides;
use crate::engine::{Engine, check_batch};
use crate::journal::Entry;
use crate::rows;
use crate::stock_rows::{load_result, store_result, store_settlement, store_snapshot};

/// Stock in memory, every reservation durable before it is told.
///
/// Made by [`EmbeddedEngine::stock`](crate::EmbeddedEngine::stock). Windows are judged by the
/// clock that the engine was opened with. Committing blocks the calling thread for one
/// transaction, so run it on a runtime with two or more worker threads.
#[derive(Clone, Debug)]
pub struct EmbeddedStockStore(pub(crate) Arc<Engine>);

/// What is the same for all requests of one visit to the ledger.
#[derive(Clone, Copy)]
struct Visit {
    epoch: Epoch,
    now: Timestamp,
    /// Asked before the visit, see [`Books::durable`].
    durable: Durable,
    /// The allocation that the visit before has asked to wait for, and its seq.
    waited_for: Option<(AttemptId, u64)>,
}

/// What a request found in the ledger.
enum Admitted {
    /// The answer stands as soon as the seat resolves.
    Answer(ReserveOutcome),
    /// The allocation of this attempt, with this seq, is not on disk yet; ask again when it is, or is
    /// gone.
    AskAgain(AttemptId, u64),
}

#[async_trait]
impl StockStore for EmbeddedStockStore {
    async fn open(
        &self,
        sale: &SaleRef,
        snapshot: &StockSnapshot,
    ) -> Result<OpenOutcome, PortError> {
        let books = self.0.keep_books(sale.id)?;
        let mut ledger = books.ledger();
        // Nobody joins while the ledger is held: after this nothing of an older epoch is on its way.
        self.0.journal.flush();
        books.take_back_undone(&mut ledger);
        let opening = ledger.as_ref().map(|ledger| ledger.opening(sale.epoch));
        match opening {
            None | Some(OpenOutcome::Opened) => {}
            Some(refused) => return Ok(refused),
        }
        self.0.journal.write("open", |transaction| {
            store_snapshot(transaction, sale, snapshot, || {
                self.0.journal.next_id().get()
            })
        })?;
        books.replace(&mut ledger, Ledger::open(*sale, snapshot.clone()));
        Ok(OpenOutcome::Opened)
    }

    async fn reserve(
        &self,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, PortError> {
        check_batch("reserve", requests.len())?;
        let Some(books) = self.0.books(sale.id)? else {
            return Ok(vec![ReserveOutcome::NotLoaded; requests.len()]);
        };
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut waited_for = None;
        while outcomes.len() < requests.len() {
            let taken_before = taken(&outcomes).count();
            let rest = &requests[outcomes.len()..];
            let room = self.0.journal.admit("reserve", rest.len());
            if outcomes.is_empty() {
                room?;
            }
            let visit = Visit {
                epoch: sale.epoch,
                now: self.0.clock.now(),
                durable: books.durable(),
                waited_for,
            };
            let mut entries = Vec::new();
            let mut ask_again = None;
            let rows: Vec<_>;
            let seat = {
                let mut ledger = books.ledger();
                let Some(ledger) = &mut *ledger else {
                    return Ok(vec![ReserveOutcome::NotLoaded; requests.len()]);
                };
                for request in rest {
                    match self.admit(&books, ledger, visit, request, &mut entries) {
                        Admitted::Answer(outcome) => outcomes.push(outcome),
                        Admitted::AskAgain(attempt, seq) => {
                            ask_again = Some((attempt, seq));
                            break;
                        }
                    }
                }
                if entries.is_empty() && ask_again.is_none() {
                    return Ok(outcomes);
                }
                rows = entries.iter().map(|entry| entry.id).collect();
                self.join(&books, entries)
            };
            match seat.kept(&rows).await {
                Ok(()) => {}
                // Whoever holds the units has heard of the fault; this caller tries afresh.
                Err(_) if ask_again.is_some() && outcomes.is_empty() => {}
                Err(error) => {
                    // What an earlier round took stands, and so do the others of a batch of which
                    // one is left out for its id.
                    let taken = taken(&outcomes).count();
                    let left_out = error.kind() == ErrorKind::Invalid && taken > 1;
                    return Err(if taken_before > 0 || left_out {
                        error.effect_unknown()
                    } else {
                        error
                    });
                }
            }
            waited_for = ask_again;
        }
        Ok(outcomes)
    }

    async fn acknowledge(&self, sale: &SaleRef, attempts: &[Attempt]) -> Result<(), PortError> {
        check_batch("acknowledge", attempts.len())?;
        self.with_ledger(sale, (), |ledger| {
            for attempt in attempts {
                ledger.acknowledge(&attempt.user, attempt.id);
            }
        })
    }

    async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, PortError> {
        check_batch("settle", settlements.len())?;
        // What is settled has to be on disk before its settlement.
        self.0.journal.flush();
        let unchanged = || vec![SettleOutcome::Unchanged; settlements.len()];
        let Some(books) = self.0.books(sale.id)? else {
            return Ok(unchanged());
        };
        // Held while writing: whoever takes units that come back here is stored after them.
        let mut held = books.ledger();
        let Some(ledger) = &mut *held else {
            return Ok(unchanged());
        };
        let outcomes: Vec<_> = settlements.iter().map(|s| ledger.settle(s)).collect();
        if outcomes == unchanged() {
            return Ok(outcomes);
        }
        let now = self.0.clock.now();
        let stored = self.0.journal.write("settle", |transaction| {
            for (settlement, outcome) in settlements.iter().zip(&outcomes) {
                let id = || self.0.journal.next_id().get();
                store_settlement(transaction, sale, settlement, *outcome, now, id)?;
            }
            Ok(())
        });
        if let Err(error) = stored {
            // Memory must not be ahead of the disk: a repeated settlement would change nothing
            // and never be stored. Nobody joins while the ledger is held, so after a flush the
            // disk has all there is.
            let seq = ledger.levels().seq;
            self.0.journal.flush();
            if let Some(mut stored) = self.0.read("settle", |disk| load_ledger(disk, sale.id))? {
                stored.resume_at(seq);
                books.replace(&mut held, stored);
            }
            return Err(error);
        }
        Ok(outcomes)
    }

    async fn allocations(
        &self,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, PortError> {
        check_batch("allocations", users.len())?;
        let Some(books) = self.0.books(sale.id)? else {
            return Ok(vec![None; users.len()]);
        };
        let mut waited_for: Vec<Option<Allocation>> = Vec::new();
        loop {
            let (allocations, seat) = {
                let durable = books.durable();
                let mut ledger = books.ledger();
                let Some(ledger) = &mut *ledger else {
                    return Ok(vec![None; users.len()]);
                };
                let allocations = users.iter().map(|user| ledger.allocation(user).cloned());
                let allocations: Vec<_> = allocations.collect();
                if allocations == waited_for || allocations.iter().flatten().all(|h| durable.has(h))
                {
                    return Ok(allocations);
                }
                (allocations, self.0.journal.join([]))
            };
            // Nobody is told of an allocation that may yet be lost. Those that are still there after
            // this are on disk.
            let _ = seat.await;
            waited_for = allocations;
        }
    }

    async fn unpublished(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        self.0.journal.flush();
        self.with_ledger(sale, Vec::new(), |ledger| {
            ledger.undecided(self.0.clock.now(), min_age_ms, true, max)
        })
    }

    async fn overdue(
        &self,
        sale: &SaleRef,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, PortError> {
        self.0.journal.flush();
        self.with_ledger(sale, Vec::new(), |ledger| {
            ledger.undecided(self.0.clock.now(), min_age_ms, false, max)
        })
    }

    async fn apply(&self, sale: &SaleRef, event: &StockEvent) -> Result<ApplyOutcome, PortError> {
        let Some(books) = self.0.books(sale.id)? else {
            return Ok(ApplyOutcome::NotLoaded);
        };
        let mut ledger = books.ledger();
        let Some(ledger) = &mut *ledger else {
            return Ok(ApplyOutcome::NotLoaded);
        };
        // The disk first: a change that only memory had made would be missing there when the next
        // one is stored. What it makes of the phase is tried on a ledger without allocations.
        let levels = ledger.levels();
        let mut trial = Ledger::open(
            ledger.sale(),
            StockSnapshot {
                window: Window {
                    start: Timestamp::default(),
                    end: Timestamp::default(),
                },
                phase: levels.phase,
                version: levels.version,
                remaining: levels.available,
                buyers: Vec::new(),
            },
        );
        let outcome = trial.apply(event);
        if outcome != ApplyOutcome::Applied {
            return Ok(outcome);
        }
        let units = match event.change {
            SaleChange::Restock(units) => units.cast_signed(),
            SaleChange::Withdraw(units) => -units.cast_signed(),
            SaleChange::Pause | SaleChange::Resume | SaleChange::Close | SaleChange::Extend(_) => 0,
        };
        let end = match event.change {
            SaleChange::Extend(end) => Some(end.as_millis()),
            _ => None,
        };
        self.0.journal.write("apply", |transaction| {
            let sql = "UPDATE stock SET version = ?2, phase = ?3, units = units + ?4,
                    end_ms = coalesce(?5, end_ms)
                WHERE sale_id = ?1";
            let phase = rows::phase_name(trial.levels().phase);
            let values = params![sale.id.get(), event.version, phase, units, end];
            transaction.prepare_cached(sql)?.execute(values)
        })?;
        Ok(ledger.apply(event))
    }

    async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        let Some(books) = self.0.books(sale.id)? else {
            return Ok(None);
        };
        let mut ledger = books.ledger();
        // Whoever opens the sale anew reads its orders after this: all of them are on disk then.
        self.0.journal.flush();
        books.take_back_undone(&mut ledger);
        let Some(ledger) = &mut *ledger else {
            return Ok(None);
        };
        let before = ledger.sale().epoch;
        if sale.epoch > before {
            self.0.journal.write("fence", |transaction| {
                let sql = "UPDATE stock SET epoch = ?2, phase = 'RECOVERING' WHERE sale_id = ?1";
                let values = params![sale.id.get(), sale.epoch.get()];
                transaction.prepare_cached(sql)?.execute(values)
            })?;
        }
        ledger.fence(sale.epoch);
        Ok(Some(ledger.levels()))
    }

    async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, PortError> {
        self.0.journal.flush();
        self.with_ledger(sale, None, |ledger| Some(ledger.levels()))
    }

    async fn put_results(&self, results: &[SaleResult]) -> Result<(), PortError> {
        check_batch("put_results", results.len())?;
        let stored = self.0.journal.write("put_results", |transaction| {
            let mut stored = 0;
            for result in results {
                stored += store_result(transaction, result)?;
            }
            Ok(stored)
        })?;
        self.0.results.fetch_add(stored as u64, Ordering::Release);
        Ok(())
    }

    async fn results(
        &self,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, PortError> {
        check_batch("results", users.len())?;
        if self.0.results.load(Ordering::Acquire) == 0 {
            return Ok(vec![None; users.len()]);
        }
        self.0.read("results", |reader| {
            users
                .iter()
                .map(|user| load_result(reader, product, user))
                .collect()
        })
    }
}

impl EmbeddedStockStore {
    /// Asks the ledger, and adds what it takes to `entries`.
    fn admit(
        &self,
        books: &Arc<Books>,
        ledger: &mut Ledger,
        visit: Visit,
        request: &ReserveRequest,
        entries: &mut Vec<Entry>,
    ) -> Admitted {
        let attempt = match ledger.reserve(visit.epoch, request, visit.now) {
            ReserveOutcome::Reserved(attempt) => attempt,
            ReserveOutcome::AlreadyAllocated(allocation) => {
                let taken_now = entries
                    .iter()
                    .any(|entry| entry.attempt.id == allocation.attempt);
                let on_disk = visit.durable.has(&allocation)
                    || visit.waited_for == Some((allocation.attempt, allocation.seq));
                return if taken_now || on_disk {
                    Admitted::Answer(ReserveOutcome::AlreadyAllocated(allocation))
                } else {
                    Admitted::AskAgain(allocation.attempt, allocation.seq)
                };
            }
            refused => return Admitted::Answer(refused),
        };
        let id = self.0.journal.next_id();
        let sold = self.0.config.decides == Decides::AtOnce;
        if sold {
            ledger.settle(&Settlement {
                user: attempt.user.clone(),
                attempt: attempt.id,
                quantity: attempt.quantity,
                reserved_at: attempt.reserved_at,
                decision: Decision::Success(id),
            });
        }
        entries.push(Entry {
            id,
            attempt: attempt.clone(),
            sold,
            books: Arc::clone(books),
        });
        Admitted::Answer(if sold {
            ReserveOutcome::Sold(attempt, id)
        } else {
            ReserveOutcome::Reserved(attempt)
        })
    }

    /// Sends the entries on their way to the disk. The caller holds the ledger, so that they get
    /// there in its order.
    fn join(&self, books: &Books, entries: Vec<Entry>) -> crate::journal::Seat<'_> {
        let mut arbiter = books.arbiter();
        if let Some(arbiter) = &mut *arbiter {
            for entry in entries.iter().filter(|entry| entry.sold) {
                arbiter.record(&entry.attempt, Decision::Success(entry.id));
            }
        }
        self.0.journal.join(entries)
    }

    /// What `run` makes of the sale's ledger, or `absent` if there is none.
    fn with_ledger<T>(
        &self,
        sale: &SaleRef,
        absent: T,
        run: impl FnOnce(&mut Ledger) -> T,
    ) -> Result<T, PortError> {
        let Some(books) = self.0.books(sale.id)? else {
            return Ok(absent);
        };
        let mut ledger = books.ledger();
        Ok(match &mut *ledger {
            Some(ledger) => run(ledger),
            None => absent,
        })
    }
}

/// The attempts among the outcomes that took units.
fn taken(outcomes: &[ReserveOutcome]) -> impl Iterator<Item = AttemptId> {
    outcomes.iter().filter_map(|outcome| match outcome {
        ReserveOutcome::Reserved(attempt) | ReserveOutcome::Sold(attempt, _) => Some(attempt.id),
        ReserveOutcome::AlreadyAllocated(_)
        | ReserveOutcome::SoldOut
        | ReserveOutcome::NotStarted { .. }
        | ReserveOutcome::Ended
        | ReserveOutcome::Paused
        | ReserveOutcome::Recovering
        | ReserveOutcome::NotLoaded => None,
    })
}
