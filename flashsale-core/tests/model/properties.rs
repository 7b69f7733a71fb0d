//! What may never be, whatever happens in whatever order.

use super::action::Action;
use super::protocol::Config;
use super::state::{ATTEMPTS, Allocation, Decision, Rebuild, State, TRIES, WorkerStep};

/// The rule that the state breaks, if it does.
pub(crate) fn broken(config: &Config, state: &State, actions: &[Action]) -> Option<&'static str> {
    let books = &state.books;
    let orders = books.orders.iter().sum::<u8>();
    if orders > config.stock {
        return Some("never more orders than stock");
    }
    let mut users = books.orders.chunks(TRIES);
    if users.any(|orders| orders.iter().sum::<u8>() > 1) {
        return Some("one order per user");
    }
    if books.remaining + orders != config.stock {
        return Some("the books balance");
    }
    if state.sold_by_the_past {
        return Some("a store that has gone back sells nothing to whoever knows");
    }
    for at in 0..ATTEMPTS {
        if state.told_failed[at] && books.orders[at] > 0 {
            return Some("who is told of failure has failed");
        }
        if let Some(rule) = over_promise(state, at) {
            return Some(rule);
        }
    }
    let no_stock = decided(state, Decision::NoStock);
    if no_stock > state.faults.units_lost as usize {
        return Some("no more is promised than was lost");
    }
    if is_quiet(state, actions) && !adds_up(config, state) {
        return Some("at rest everything adds up");
    }
    None
}

fn decided(state: &State, decision: Decision) -> usize {
    let decisions = state.books.decisions.iter();
    decisions.filter(|one| **one == Some(decision)).count()
}

fn over_promise(state: &State, at: usize) -> Option<&'static str> {
    let (epoch, _) = state.attempts[at]?;
    let decision = state.books.decisions[at]?;
    let promised = matches!(
        decision,
        Decision::NoStock | Decision::Duplicate | Decision::StaleEpoch
    );
    if promised && epoch > state.faults.lossy_epoch {
        return Some("nobody is promised too much after a loss is mended");
    }
    if decision == Decision::StaleEpoch {
        let begun_at = state.begun_at[epoch as usize + 1] as usize;
        if state.queue[..begun_at.min(state.queue.len())].contains(&(at as u8)) {
            return Some("what the queue had before a rebuild is decided");
        }
    }
    None
}

/// Whether nothing is left to do but to buy, or to go wrong.
fn is_quiet(state: &State, actions: &[Action]) -> bool {
    let idle = |action: &Action| {
        matches!(
            action,
            Action::Reserve { .. }
                | Action::ApiCrashes
                | Action::WorkerCrashes(_)
                | Action::RebuilderCrashes(_)
                | Action::Replicate
                | Action::FailOver
                | Action::Wipe
                | Action::RefreshCatalogue
        )
    };
    // A refused caller who knows better still stops a store that has gone back.
    let store = &state.store;
    let behind = store.loaded && !store.fenced && (store.epoch, store.seq) < state.seen;
    actions.iter().all(idle) && !behind
}

fn adds_up(config: &Config, state: &State) -> bool {
    let State { store, books, .. } = state;
    if books.epoch == config.epoch_max && config.is_lost(state) {
        // The model ends here; a further epoch would mend it.
        return true;
    }
    let waits = state
        .workers
        .iter()
        .all(|worker| worker.step == WorkerStep::Reads)
        && state
            .rebuilds
            .iter()
            .all(|rebuild| *rebuild == Rebuild::Idle);
    let allocations = store
        .allocations
        .iter()
        .enumerate()
        .all(|(user, allocation)| {
            let own = &books.orders[user * TRIES..(user + 1) * TRIES];
            match *allocation {
                Allocation::None => own.iter().all(|orders| *orders == 0),
                Allocation::Sold(attempt) => books.orders[attempt as usize] > 0,
                Allocation::Reserved { .. } => false,
            }
        });
    let logged = (0..ATTEMPTS).all(|at| !state.told_logged[at] || books.decisions[at].is_some());
    let same = store.loaded
        && !store.fenced
        && store.epoch == books.epoch
        && store.available == books.remaining;
    waits && allocations && logged && same
}
