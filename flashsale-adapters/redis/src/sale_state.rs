use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use flashsale_core::domain::{
    AttemptId, Hold, ProductId, Reservation, ReserveOutcome, SaleRef, UserId,
};
use tokio::time::Instant;

use crate::keys::StockKeys;
use crate::lane::Lane;
use crate::sold_out::SoldOut;

/// What the process keeps for a sale that it has calls for. All of it can be lost at any time.
#[derive(Debug)]
pub(crate) struct SaleState {
    pub(crate) sale: SaleRef,
    pub(crate) keys: StockKeys,
    pub(crate) reserve: Lane<Reservation, ReserveOutcome>,
    pub(crate) acknowledge: Lane<(UserId, AttemptId), ()>,
    pub(crate) holds: Lane<UserId, Option<Hold>>,
    pub(crate) sold_out: SoldOut,
    /// Milliseconds from the first use of any sale to the last use of this one.
    used_ms: AtomicU64,
}

/// The [`SaleState`] of each sale, as its callers know it.
#[derive(Debug)]
pub(crate) struct SaleStates {
    prefix: String,
    sold_out: Duration,
    begun: Instant,
    states: RwLock<HashMap<SaleRef, Arc<SaleState>>>,
}

/// How many sales are kept without looking whether they are in use.
const SALES_MAX: usize = 256;
/// After this time without a call a sale is forgotten when another one comes.
const IDLE: Duration = Duration::from_secs(60);

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
        if let Some(state) = states.get(sale) {
            state.used_ms.store(now_ms, Ordering::Relaxed);
            return Arc::clone(state);
        }
        drop(states);
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut states, now_ms);
        let state = states.entry(*sale).or_insert_with(|| {
            Arc::new(SaleState {
                sale: *sale,
                keys: StockKeys::new(&self.prefix, sale.product),
                reserve: Lane::default(),
                acknowledge: Lane::default(),
                holds: Lane::default(),
                sold_out: SoldOut::new(self.sold_out),
                used_ms: AtomicU64::new(now_ms),
            })
        });
        Arc::clone(state)
    }

    /// The stock of a product has changed by this process: what is remembered of it is void.
    pub(crate) fn changed(&self, product: ProductId) {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        for state in states
            .values()
            .filter(|state| state.sale.product == product)
        {
            state.sold_out.clear();
        }
    }
}

/// Forgets sales that nobody has a call for: the idle ones, and all of them if there are many.
fn make_room(states: &mut HashMap<SaleRef, Arc<SaleState>>, now_ms: u64) {
    let full = states.len() >= SALES_MAX;
    states.retain(|_, state| {
        let idle_ms = now_ms.saturating_sub(state.used_ms.load(Ordering::Relaxed));
        let in_use = Arc::strong_count(state) > 1;
        in_use || (!full && idle_ms < IDLE.as_millis() as u64)
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use flashsale_core::domain::{Epoch, SaleId};

    use super::*;

    fn sale(id: i64) -> SaleRef {
        SaleRef {
            id: SaleId::new(id).unwrap(),
            product: ProductId::new(id).unwrap(),
            epoch: Epoch::FIRST,
        }
    }

    fn count(states: &SaleStates) -> usize {
        states.states.read().unwrap().len()
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
}
