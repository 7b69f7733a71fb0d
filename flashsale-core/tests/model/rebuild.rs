//! The rebuild of a lost stock, step by step.

use super::action::{Action, Bug, fact};
use super::protocol::Config;
use super::state::{Allocation, Attempt, Books, Rebuild, State, Store, TRIES, USERS};

impl Config {
    pub(crate) fn rebuild_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, rebuild) in state.rebuilds.iter().enumerate().take(self.rebuilders) {
            let undecided = state.store.allocations.iter().any(|allocation| {
                matches!(allocation, Allocation::Reserved { .. }) && state.store.loaded
            });
            match *rebuild {
                Rebuild::Idle if state.books.recovering => {
                    actions.push(Action::JoinRebuild(who));
                }
                Rebuild::Idle if self.is_lost(state) && self.is(Bug::SetsTheStockAgain) => {
                    if !state.store.loaded {
                        actions.push(Action::SetStock);
                    }
                }
                Rebuild::Idle if self.is_lost(state) && state.books.epoch < self.epoch_max => {
                    actions.push(Action::BeginRebuild(who));
                }
                Rebuild::Idle => {}
                Rebuild::Begun(_) => actions.push(Action::Fence(who)),
                Rebuild::Fenced(_) => actions.push(Action::Mark(who)),
                Rebuild::Marked(_, mark) => {
                    let drained = state.committed >= mark;
                    if (drained || self.is(Bug::RebuildsWithoutDraining)) && !undecided {
                        actions.push(Action::Seal(who));
                    }
                }
                Rebuild::Sealed(_) => actions.push(Action::Read(who)),
                Rebuild::Read(..) => actions.push(Action::Open(who)),
                Rebuild::Opened(_) => actions.push(Action::SayOpened(who)),
            }
            if *rebuild != Rebuild::Idle && state.faults.crashes < self.limits.crashes {
                actions.push(Action::RebuilderCrashes(who));
            }
        }
    }

    pub(crate) fn rebuild(&self, state: &mut State, who: usize, action: Action) {
        let next = match (state.rebuilds[who], action) {
            (_, Action::BeginRebuild(_)) => {
                state.books.epoch += 1;
                state.books.decided_seq = 0;
                state.books.recovering = true;
                state.begun_at[state.books.epoch as usize] = state.queue.len() as u8;
                Rebuild::Begun(state.books.epoch)
            }
            (_, Action::JoinRebuild(_)) => Rebuild::Begun(state.books.epoch),
            (Rebuild::Begun(epoch), _) => {
                if state.store.loaded && state.store.epoch < epoch {
                    state.store.epoch = epoch;
                    state.store.fenced = true;
                }
                Rebuild::Fenced(epoch)
            }
            (Rebuild::Fenced(epoch), _) if self.is(Bug::ReadsBeforeItSeals) => {
                Rebuild::Read(epoch, state.books.remaining, buyers(&state.books))
            }
            (Rebuild::Fenced(epoch), _) => Rebuild::Marked(epoch, state.queue.len() as u8),
            (Rebuild::Marked(epoch, _), _) => {
                state.books.sealed = state.books.sealed.max(epoch.min(state.books.epoch));
                Rebuild::Sealed(epoch)
            }
            (Rebuild::Sealed(epoch), _) => {
                Rebuild::Read(epoch, state.books.remaining, buyers(&state.books))
            }
            (Rebuild::Read(epoch, remaining, allocations), _) => {
                let store = &state.store;
                if !store.loaded || store.epoch <= epoch && store.opened < epoch {
                    state.store = Store {
                        loaded: true,
                        fenced: false,
                        epoch,
                        opened: epoch,
                        seq: 0,
                        available: remaining,
                        allocations,
                    };
                    state.seen_facts |= fact::REBUILT;
                }
                if self.is(Bug::ReadsBeforeItSeals) {
                    state.books.sealed = state.books.sealed.max(epoch);
                }
                // Somebody has begun anew in the meantime.
                if state.store.epoch > epoch {
                    Rebuild::Begun(state.books.epoch)
                } else {
                    Rebuild::Opened(epoch)
                }
            }
            (Rebuild::Opened(epoch), _) => {
                if state.books.epoch == epoch && state.books.sealed == epoch {
                    state.books.recovering = false;
                }
                Rebuild::Idle
            }
            (Rebuild::Idle, _) => Rebuild::Idle,
        };
        state.rebuilds[who] = next;
    }
}

/// Who has bought, as a store is told of it.
pub(crate) fn buyers(books: &Books) -> [Allocation; USERS] {
    let mut allocations = [Allocation::None; USERS];
    for (at, orders) in books.orders.iter().enumerate() {
        if *orders > 0 {
            allocations[at / TRIES] = Allocation::Sold(at as Attempt);
        }
    }
    allocations
}
