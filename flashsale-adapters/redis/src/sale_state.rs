use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use flashsale_core::domain::{
    Allocation, AttemptId, Epoch, ProductId, ReserveOutcome, ReserveRequest, SaleId, SaleRef,
    UserId,
};
use tokio::time::Instant;

use crate::batcher::Batcher;
use crate::keys::StockKeys;
use crate::sold_out::SoldOut;

/// What the process keeps for a sale that it has calls for.
#[derive(Debug)]
pub(crate) struct SaleState {
    pub(crate) sale: SaleRef,
    pub(crate) keys: StockKeys,
    pub(crate) reserve: Batcher<ReserveRequest, ReserveOutcome>,
    pub(crate) acknowledge: Batcher<(UserId, AttemptId), ()>,
    pub(crate) allocations: Batcher<UserId, Option<Allocation>>,
    pub(crate) sold_out: SoldOut,
    pub(crate) seen: Seen,
    /// Milliseconds from the first use of any sale to the last use of this one.
    used_ms: AtomicU64,
}

/// The highest seq that Redis has shown of a sale in its epoch. A Redis that shows a lower one later
/// has lost what it had confirmed.
#[derive(Debug, Default)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    pub(crate) fn seq(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Redis has shown this one. Those of a stock that is being rebuilt do not count: it may be lost
    /// once more before it is opened.
    pub(crate) fn note(&self, seq: u64) {
        self.0.fetch_max(seq, Ordering::Relaxed);
    }
}

/// The [`SaleState`] of each sale, as its callers know it.
#[derive(Debug)]
pub(crate) struct SaleStates {
    prefix: String,
    sold_out: Duration,
    begun: Instant,
    states: RwLock<States>,
}

#[derive(Debug, Default)]
struct States {
    kept: HashMap<SaleRef, Arc<SaleState>>,
    /// What Redis has shown of the sales whose state is forgotten.
    seen: BTreeMap<Age, u64>,
}

/// How many sales are kept without looking whether they are in use.
const SALES_MAX: usize = 256;
/// After this time without a call a sale is forgotten when another one comes.
const IDLE: Duration = Duration::from_secs(60);
/// Of so many sales it is known for good what Redis has shown; 5 MB. With more the oldest go.
const SEEN_MAX: usize = 65_536;

impl SaleStates {
    pub(crate) fn new(prefix: String, sold_out: Duration) -> Self {
        Self {
            prefix,
            sold_out,
            begun: Instant::now(),
            states: RwLock::default(),
        }
    }

    /// The state of a sale, which counts as used now.
    pub(crate) fn get(&self, sale: &SaleRef, now: Instant) -> Arc<SaleState> {
        let now_ms = now.saturating_duration_since(self.begun).as_millis() as u64;
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.kept.get(sale) {
            state.used_ms.store(now_ms, Ordering::Relaxed);
            return Arc::clone(state);
        }
        drop(states);
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        states.make_room(now_ms);
        let States { kept, seen } = &mut *states;
        let state = kept.entry(*sale).or_insert_with(|| {
            Arc::new(SaleState {
                sale: *sale,
                keys: StockKeys::new(&self.prefix, sale.product),
                reserve: Batcher::default(),
                acknowledge: Batcher::default(),
                allocations: Batcher::default(),
                sold_out: SoldOut::new(self.sold_out),
                seen: Seen(seen.remove(&age(sale)).unwrap_or_default().into()),
                used_ms: AtomicU64::new(now_ms),
            })
        });
        Arc::clone(state)
    }

    /// The stock of a product has changed by this process: what is remembered of it is void.
    pub(crate) fn changed(&self, product: ProductId) {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        for state in states
            .kept
            .values()
            .filter(|state| state.sale.product == product)
        {
            state.sold_out.clear();
        }
    }
}

/// Sorts sales by age, the oldest first.
type Age = (SaleId, Epoch, ProductId);

fn age(sale: &SaleRef) -> Age {
    (sale.id, sale.epoch, sale.product)
}

impl States {
    /// Forgets sales that nobody has a call for: the idle ones, and all of them if there are many.
    /// What Redis has shown of them stays.
    fn make_room(&mut self, now_ms: u64) {
        let full = self.kept.len() >= SALES_MAX;
        let seen = &mut self.seen;
        self.kept.retain(|sale, state| {
            let idle_ms = now_ms.saturating_sub(state.used_ms.load(Ordering::Relaxed));
            let in_use = Arc::strong_count(state) > 1;
            let stays = in_use || (!full && idle_ms < IDLE.as_millis() as u64);
            if !stays && state.seen.seq() > 0 {
                seen.insert(age(sale), state.seen.seq());
            }
            stays
        });
        while self.seen.len() > SEEN_MAX {
            self.seen.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sale(id: i64) -> SaleRef {
        SaleRef {
            id: SaleId::new(id).unwrap(),
            product: ProductId::new(id).unwrap(),
            epoch: Epoch::FIRST,
        }
    }

    fn count(states: &SaleStates) -> usize {
        states.states.read().unwrap().kept.len()
    }

    #[test]
    fn idle_sales_are_forgotten_and_those_in_use_are_not() {
        let states = SaleStates::new("p".to_owned(), Duration::ZERO);
        let now = Instant::now();
        let kept = states.get(&sale(1), now);
        states.get(&sale(2), now);
        states.get(&sale(3), now + IDLE * 2);
        assert_eq!(count(&states), 2);
        assert!(Arc::ptr_eq(&kept, &states.get(&sale(1), now)));
    }

    #[test]
    fn many_sales_do_not_fill_the_memory() {
        let states = SaleStates::new("p".to_owned(), Duration::ZERO);
        let now = Instant::now();
        for id in 1..=2_000 {
            states.get(&sale(id), now);
        }
        assert!(count(&states) <= SALES_MAX);
    }

    #[test]
    fn what_redis_has_shown_outlives_the_state_and_is_of_one_epoch() {
        let states = SaleStates::new("p".to_owned(), Duration::ZERO);
        let now = Instant::now();
        states.get(&sale(1), now).seen.note(7);
        states.get(&sale(1), now).seen.note(3);
        states.get(&sale(2), now + IDLE * 2);
        assert_eq!(count(&states), 1);
        let later = now + IDLE * 2;
        assert_eq!(states.get(&sale(1), later).seen.seq(), 7);
        let next = SaleRef {
            epoch: Epoch::new(2),
            ..sale(1)
        };
        assert_eq!(states.get(&next, later).seen.seq(), 0);
    }

    #[test]
    fn what_redis_has_shown_of_many_sales_does_not_fill_the_memory() {
        let states = SaleStates::new("p".to_owned(), Duration::ZERO);
        let now = Instant::now();
        let all = SEEN_MAX as i64 + 1_000;
        for id in 1..=all {
            states.get(&sale(id), now).seen.note(5);
        }
        assert!(states.states.read().unwrap().seen.len() <= SEEN_MAX);
        assert_eq!(states.get(&sale(all), now).seen.seq(), 5);
        assert_eq!(states.get(&sale(1), now).seen.seq(), 0);
    }
}
