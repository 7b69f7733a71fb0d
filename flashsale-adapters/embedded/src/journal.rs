//! Group commit: attempts that arrive together share one transaction and one sync of the disk.
//!
//! There is no writer thread. The first caller who finds nobody at work leads: it lets the callers
//! that are ready join (by yielding once), then commits for all of them on its own thread, hands
//! the lead to one of those who have gathered meanwhile, and wakes the rest. Handing work to a
//! thread of its own and back costs more than the sync itself on a fast disk; leading costs one
//! wake-up. What we gave up: a caller's thread is blocked for the length of one commit, so a
//! runtime should have two or more worker threads; and a caller may be told to lead and not be
//! polled again, which is what the watchdog is for.

use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};

use flashsale_core::domain::{Attempt, OrderId, SaleId};
use flashsale_core::{ErrorKind, PortError};
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::books::Books;
use crate::error::{ADAPTER, fault, invalid, is_clean};

/// The one connection that writes, and the attempts that wait for it.
#[derive(Debug)]
pub(crate) struct Journal {
    connection: Mutex<Connection>,
    gathering: Mutex<Gathering>,
    next_id: AtomicI64,
    waiting_max: usize,
}

#[derive(Debug)]
struct Gathering {
    batch: Arc<Batch>,
    entries: Vec<Entry>,
    /// Whether somebody leads or has been told to.
    led: bool,
    /// Why nothing is written any more.
    stopped: Option<PortError>,
    /// How many batches came before this one.
    number: u64,
    /// The watchdog, while it sleeps.
    sleeper: Option<Thread>,
}

/// An attempt on its way to the disk.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its row, and its order if it is decided at once.
    pub(crate) id: OrderId,
    pub(crate) attempt: Attempt,
    /// Whether the store has decided in the same step.
    pub(crate) sold: bool,
    /// Is told when the attempt is on disk, or never will be.
    pub(crate) books: Arc<Books>,
}

/// Those who wait for the same transaction.
#[derive(Debug, Default)]
struct Batch(Mutex<BatchState>);

#[derive(Debug, Default)]
struct BatchState {
    result: Option<Result<Arc<[OrderId]>, PortError>>,
    /// Whether one of those who wait has to lead.
    lead: bool,
    participants: usize,
    wakers: Vec<Option<Waker>>,
}

/// A place in a batch. Resolves when the transaction is decided: to the rows that were left out
/// because their attempts' ids belong to other attempts, or to what went wrong.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    journal: &'a Journal,
    batch: Arc<Batch>,
    waker: Option<usize>,
    leads: bool,
    gathered: bool,
}

impl Journal {
    pub(crate) fn new(connection: Connection, last_id: i64, waiting_max: usize) -> Self {
        Self {
            connection: Mutex::new(connection),
            gathering: Mutex::new(Gathering {
                batch: Arc::default(),
                entries: Vec::new(),
                led: false,
                stopped: None,
                number: 0,
                sleeper: None,
            }),
            next_id: AtomicI64::new(last_id + 1),
            waiting_max: waiting_max.max(1),
        }
    }

    /// An id for a new row. Ids have gaps where a row was not kept.
    pub(crate) fn next_id(&self) -> OrderId {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        OrderId::new(id).expect("ids count up from 1")
    }

    /// Whether `more` attempts may join those that wait.
    pub(crate) fn admit(&self, operation: &'static str, more: usize) -> Result<(), PortError> {
        let gathering = self.gathering.lock();
        if let Some(error) = &gathering.stopped {
            return Err(error.clone());
        }
        // A batch of its own is taken whatever its size, or it could never be.
        let waiting = gathering.entries.len();
        if waiting > 0 && waiting + more > self.waiting_max {
            return Err(PortError::new(ErrorKind::Busy, ADAPTER, operation));
        }
        Ok(())
    }

    /// Joins the batch that gathers now, with any number of attempts. Entries reach the disk in
    /// the order of these calls.
    pub(crate) fn join(&self, entries: impl IntoIterator<Item = Entry>) -> Seat<'_> {
        let mut gathering = self.gathering.lock();
        gathering.entries.extend(entries);
        let leads = !mem::replace(&mut gathering.led, true);
        if let Some(sleeper) = gathering.sleeper.take() {
            sleeper.unpark();
        }
        gathering.batch.0.lock().participants += 1;
        Seat {
            journal: self,
            batch: Arc::clone(&gathering.batch),
            waker: None,
            leads,
            gathered: false,
        }
    }

    /// Brings everything that has joined so far to the disk, on this thread.
    pub(crate) fn flush(&self) {
        let mut connection = self.connection.lock();
        let (batch, entries) = {
            let mut gathering = self.gathering.lock();
            if gathering.batch.0.lock().participants == 0 {
                return;
            }
            gathering.number += 1;
            let batch = mem::take(&mut gathering.batch);
            (batch, mem::take(&mut gathering.entries))
        };
        let result = self.write_entries(&mut connection, &entries);
        let lost = |entry: &Entry| match &result {
            Ok(left_out) => left_out.contains(&entry.id),
            Err(_) => true,
        };
        for entry in &entries {
            entry.books.written(&entry.attempt, !lost(entry));
        }
        let next_lead = self.pass_lead();
        let wakers = {
            let mut state = batch.0.lock();
            state.result = Some(result);
            mem::take(&mut state.wakers)
        };
        // Only now: whoever has the connection finds every earlier batch decided, and no later
        // attempt of a sale is known to be durable before an earlier one.
        drop(connection);
        next_lead.into_iter().for_each(Waker::wake);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The number of the batch that gathers now, if anybody waits for it.
    pub(crate) fn waiting(&self) -> Option<u64> {
        let gathering = self.gathering.lock();
        let waits = gathering.batch.0.lock().participants > 0;
        waits.then_some(gathering.number)
    }

    /// Makes the next caller who joins wake this thread, unless somebody waits already.
    pub(crate) fn sleep_until_joined(&self) -> bool {
        let mut gathering = self.gathering.lock();
        if gathering.batch.0.lock().participants > 0 {
            return false;
        }
        gathering.sleeper = Some(thread::current());
        true
    }

    /// Lets one of those who have gathered lead, or nobody if there is none.
    fn pass_lead(&self) -> Option<Waker> {
        let mut gathering = self.gathering.lock();
        let batch = Arc::clone(&gathering.batch);
        let mut state = batch.0.lock();
        if state.participants == 0 {
            gathering.led = false;
            return None;
        }
        state.lead = true;
        state.wakers.iter_mut().find_map(Option::take)
    }

    fn write_entries(
        &self,
        connection: &mut Connection,
        entries: &[Entry],
    ) -> Result<Arc<[OrderId]>, PortError> {
        if entries.is_empty() {
            return Ok(Arc::default());
        }
        self.transact(connection, "reserve", |transaction| {
            insert(transaction, entries)
        })
    }

    /// Runs a transaction of its own after everything that has reached the disk so far.
    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        let mut connection = self.connection.lock();
        self.transact(&mut connection, operation, run)
    }

    fn transact<T>(
        &self,
        connection: &mut Connection,
        operation: &'static str,
        run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        if let Some(error) = &self.gathering.lock().stopped {
            return Err(error.clone());
        }
        let begun = Transaction::new(connection, TransactionBehavior::Immediate);
        let transaction = begun.map_err(|error| fault(operation, error))?;
        let value = run(&transaction).map_err(|error| fault(operation, error))?;
        match transaction.commit() {
            Ok(()) => Ok(value),
            Err(error) if is_clean(&error) => Err(fault(operation, error)),
            Err(error) => Err(self.stop(operation, error)),
        }
    }

    /// Writes nothing any more. After a failed sync the page cache and the disk may differ for
    /// good, so a second try that succeeds would prove nothing (PostgreSQL drew the same
    /// conclusion in 2018: "PANIC on fsync() failure"). A restart reads what the disk has.
    fn stop(&self, operation: &'static str, source: rusqlite::Error) -> PortError {
        let stopped = PortError::new(ErrorKind::Stopped, ADAPTER, operation).with_source(source);
        self.gathering.lock().stopped = Some(stopped.clone());
        stopped.effect_unknown()
    }
}

/// Inserts the entries, takes sold units from their sales, and returns the attempts that were left
/// out because their ids are in use.
fn insert(transaction: &Transaction<'_>, entries: &[Entry]) -> rusqlite::Result<Arc<[OrderId]>> {
    let mut left_out = Vec::new();
    let mut sold: BTreeMap<SaleId, u64> = BTreeMap::new();
    let mut statement = transaction.prepare_cached(
        "INSERT INTO attempts (id, attempt_id, sale_id, product_id, user_id, quantity, epoch, seq,
            reserved_ms, decision, decided_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (attempt_id) DO NOTHING",
    )?;
    for Entry {
        id,
        attempt,
        sold: is_sold,
        ..
    } in entries
    {
        let reserved_ms = attempt.reserved_at.as_millis();
        let inserted = statement.execute(params![
            id.get(),
            attempt.id.as_uuid(),
            attempt.sale.get(),
            attempt.product.get(),
            attempt.user.as_str(),
            attempt.quantity.units(),
            attempt.epoch.get(),
            attempt.seq,
            reserved_ms,
            is_sold.then_some("SUCCESS"),
            is_sold.then_some(reserved_ms),
        ])?;
        if inserted == 0 {
            left_out.push(*id);
        } else if *is_sold {
            *sold.entry(attempt.sale).or_default() += attempt.quantity.units();
        }
    }
    let mut statement = transaction
        .prepare_cached("UPDATE sales SET remaining_stock = remaining_stock - ?2 WHERE id = ?1")?;
    for (sale, units) in sold {
        statement.execute(params![sale.get(), units])?;
    }
    Ok(left_out.into())
}

impl Seat<'_> {
    /// Fails if any of these rows was left out.
    pub(crate) async fn kept(self, rows: &[OrderId]) -> Result<(), PortError> {
        let left_out = self.await?;
        if left_out.is_empty() || !rows.iter().any(|row| left_out.contains(row)) {
            return Ok(());
        }
        Err(invalid(
            "reserve",
            "an attempt id belongs to another attempt",
        ))
    }
}

impl Future for Seat<'_> {
    type Output = Result<Arc<[OrderId]>, PortError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let seat = &mut *self;
        {
            let mut state = seat.batch.0.lock();
            if let Some(result) = &state.result {
                seat.leads = false;
                return Poll::Ready(result.clone());
            }
            seat.leads |= mem::take(&mut state.lead);
            if !seat.leads {
                state.register(&mut seat.waker, context.waker());
                return Poll::Pending;
            }
        }
        if !mem::replace(&mut seat.gathered, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        seat.journal.flush();
        seat.leads = false;
        let result = seat.batch.0.lock().result.clone();
        Poll::Ready(result.expect("flush decides this batch, or waits for whoever does"))
    }
}

impl BatchState {
    fn register(&mut self, slot: &mut Option<usize>, waker: &Waker) {
        match slot.and_then(|slot| self.wakers.get_mut(slot)) {
            Some(known) => match known {
                Some(known) if known.will_wake(waker) => {}
                _ => *known = Some(waker.clone()),
            },
            None => {
                *slot = Some(self.wakers.len());
                self.wakers.push(Some(waker.clone()));
            }
        }
    }
}

impl Drop for Seat<'_> {
    /// A caller who goes away leaves its attempts in the batch, and the lead to somebody else.
    fn drop(&mut self) {
        let abandoned = {
            let mut state = self.batch.0.lock();
            if state.result.is_some() {
                return;
            }
            if let Some(waker) = self.waker.and_then(|slot| state.wakers.get_mut(slot)) {
                *waker = None;
            }
            state.lead |= self.leads;
            if !state.lead {
                // The participant count keeps the batch from looking empty.
                return;
            }
            match state.wakers.iter_mut().find_map(Option::take) {
                Some(waker) => {
                    drop(state);
                    waker.wake();
                    false
                }
                None => true,
            }
        };
        if abandoned {
            self.journal.flush();
        }
    }
}
