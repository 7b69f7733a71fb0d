//! What can happen, and what it does.

use super::action::{Action, Bug, fact};
use super::explorer::Protocol;
use super::properties;
use super::rebuild::buyers;
use super::state::{
    ATTEMPTS, Allocation, Attempt, Books, Decision, Faults, Rebuild, State, Store, TRIES, USERS,
    User, Worker, WorkerStep, user_of,
};

/// How large a model is, and how often what may go wrong in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) users: usize,
    pub(crate) tries: usize,
    pub(crate) stock: u8,
    pub(crate) workers: usize,
    /// How many processes may rebuild a stock at the same time.
    pub(crate) rebuilders: usize,
    pub(crate) queue_max: usize,
    pub(crate) epoch_max: u8,
    pub(crate) limits: Faults,
    pub(crate) bug: Option<Bug>,
}

impl Config {
    pub(crate) fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn has_completer(&self) -> bool {
        !self.is(Bug::HasNoOutbox) && !self.is(Bug::CommitsTheOffsetFirst)
    }

    /// Whether the stock is lost, as far as somebody who looks now can tell.
    pub(crate) fn is_lost(&self, state: &State) -> bool {
        let State { store, books, .. } = state;
        let at_rest = store
            .allocations
            .iter()
            .all(|allocation| !matches!(allocation, Allocation::Reserved { .. }))
            && state.committed as usize == state.queue.len();
        !store.loaded
            || store.fenced
            || store.epoch < books.epoch
            || store.seq < books.decided_seq && store.epoch == books.epoch
            || at_rest && (store.available != books.remaining || store.allocations != buyers(books))
    }

    fn decide(&self, state: &mut State, attempt: Attempt) {
        let at = attempt as usize;
        let Some((epoch, seq)) = state.attempts[at] else {
            return;
        };
        if state.books.decisions[at].is_some() && !self.is(Bug::ForgetsAttempts) {
            return;
        }
        let books = &mut state.books;
        let first = user_of(attempt) * TRIES;
        let bought = books.orders[first..first + TRIES]
            .iter()
            .any(|orders| *orders > 0);
        let decision = if epoch < books.sealed && !self.is(Bug::AcceptsStaleEpochs) {
            Decision::StaleEpoch
        } else if bought && !self.is(Bug::ForgetsAttempts) {
            Decision::Duplicate
        } else if books.remaining == 0 && !self.is(Bug::IgnoresTheStock) {
            Decision::NoStock
        } else {
            Decision::Success
        };
        if decision == Decision::Success {
            books.remaining = books.remaining.saturating_sub(1);
            books.orders[at] += 1;
        }
        books.decisions[at] = Some(decision);
        if epoch == books.epoch {
            books.decided_seq = books.decided_seq.max(seq);
        }
        state.seen_facts |= match decision {
            Decision::StaleEpoch => fact::STALE_REFUSED,
            Decision::NoStock => fact::OVER_PROMISED,
            Decision::Duplicate => fact::DUPLICATE,
            Decision::Success if epoch > 1 => fact::SOLD_AFTER_REBUILD,
            Decision::Success | Decision::Expired => 0,
        };
    }

    /// Tells the store of a decision.
    fn settle(&self, state: &mut State, attempt: Attempt) {
        let Some(decision) = state.books.decisions[attempt as usize] else {
            return;
        };
        let user = user_of(attempt);
        let kept = (user * TRIES..(user + 1) * TRIES).find(|at| state.books.orders[*at] > 0);
        if decision != Decision::Success {
            state.told_failed[attempt as usize] = true;
        }
        let store = &mut state.store;
        if !store.loaded {
            return;
        }
        let held = store.allocations[user];
        let same = matches!(held, Allocation::Reserved { attempt: other, .. } if other == attempt);
        match (decision, held) {
            (Decision::Success, Allocation::Reserved { .. }) => {
                store.allocations[user] = Allocation::Sold(attempt)
            }
            (Decision::Success, Allocation::None) if store.available > 0 => {
                store.available -= 1;
                store.allocations[user] = Allocation::Sold(attempt);
                state.seen_facts |= fact::HEALED;
            }
            (Decision::Success, Allocation::None) => {
                store.fenced = true;
                state.seen_facts |= fact::DRIFTED;
            }
            (Decision::Duplicate, _) if same => {
                store.allocations[user] =
                    kept.map_or(Allocation::None, |kept| Allocation::Sold(kept as Attempt));
            }
            (Decision::NoStock, _) if same && !self.is(Bug::MakesGhostStock) => {
                store.allocations[user] = Allocation::None;
            }
            (Decision::NoStock | Decision::StaleEpoch | Decision::Expired, _) if same => {
                store.allocations[user] = Allocation::None;
                store.available += 1;
            }
            _ => {}
        }
    }

    fn reserve(&self, state: &mut State, user: User, reply_lost: bool) {
        let (seen, known) = (state.seen, state.known_epoch);
        let store = &mut state.store;
        if !store.loaded || store.epoch != known {
            return;
        }
        let behind = (store.epoch, store.seq) < seen;
        if behind && !self.is(Bug::HasNoSeqFence) {
            store.fenced = true;
        }
        if store.allocations[user] == Allocation::None && !store.fenced {
            if store.available == 0 {
                state.seen_facts |= fact::SOLD_OUT;
            } else if let Some(attempt) = next_attempt(state, user, self.tries) {
                let store = &mut state.store;
                store.available -= 1;
                store.seq += 1;
                store.allocations[user] = Allocation::Reserved {
                    attempt,
                    logged: false,
                };
                state.attempts[attempt as usize] = Some((store.epoch, store.seq));
                state.unpublished[attempt as usize] = !reply_lost;
                state.sold_by_the_past |= behind && !reply_lost;
            }
        }
        if reply_lost {
            state.faults.replies_lost += 1;
        } else if !state.store.fenced {
            // A fenced store still counts on under the epoch that begins anew when it is opened.
            state.seen = state.seen.max((state.store.epoch, state.store.seq));
        }
    }

    fn roll_back(state: &mut State, attempt: Attempt) {
        let allocation = &mut state.store.allocations[user_of(attempt)];
        if matches!(*allocation, Allocation::Reserved { attempt: held, .. } if held == attempt) {
            *allocation = Allocation::None;
            state.store.available += 1;
        }
        state.told_failed[attempt as usize] = true;
    }

    fn lose(state: &mut State, store: Store) {
        let held = |store: &Store| {
            let allocations = store.allocations.iter();
            allocations
                .filter(|allocation| **allocation != Allocation::None)
                .count() as u8
        };
        state.faults.units_lost += held(&state.store).saturating_sub(held(&store));
        state.faults.lossy_epoch = state.faults.lossy_epoch.max(state.books.epoch);
        state.store = store;
    }
}

fn next_attempt(state: &State, user: User, tries: usize) -> Option<Attempt> {
    let mut own = user * TRIES..user * TRIES + tries;
    own.find(|at| state.attempts[*at].is_none())
        .map(|at| at as Attempt)
}

impl Protocol for Config {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        let store = Store {
            loaded: true,
            fenced: false,
            epoch: 1,
            opened: 1,
            seq: 0,
            available: self.stock,
            allocations: [Allocation::None; USERS],
        };
        State {
            store,
            replica: store,
            seen: (0, 0),
            known_epoch: 1,
            unpublished: [false; ATTEMPTS],
            attempts: [None; ATTEMPTS],
            queue: Vec::new(),
            committed: 0,
            workers: vec![Worker::default(); self.workers],
            overdue: None,
            books: Books {
                epoch: 1,
                sealed: 1,
                remaining: self.stock,
                ..Books::default()
            },
            rebuilds: [Rebuild::Idle; 2],
            begun_at: [0; 5],
            told_failed: [false; ATTEMPTS],
            told_logged: [false; ATTEMPTS],
            faults: Faults::default(),
            seen_facts: 0,
            sold_by_the_past: false,
        }
    }

    fn actions(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        let (faults, limits) = (&state.faults, &self.limits);
        let room = state.queue.len() < self.queue_max;
        for user in 0..self.users {
            let may_take = next_attempt(state, user, self.tries).is_some();
            let fences = (state.store.epoch, state.store.seq) < state.seen && !state.store.fenced;
            if state.store.allocations[user] == Allocation::None && (may_take || fences) {
                actions.push(Action::Reserve {
                    user,
                    reply_lost: false,
                });
                if faults.replies_lost < limits.replies_lost && may_take {
                    actions.push(Action::Reserve {
                        user,
                        reply_lost: true,
                    });
                }
            }
            if let Allocation::Reserved { attempt, logged } = state.store.allocations[user] {
                let decided = state.books.decisions[attempt as usize].is_some();
                if decided {
                    actions.push(Action::SettleAllocation(user));
                } else if state.overdue.is_none() && self.has_completer() {
                    actions.push(Action::ReadOverdue(user));
                }
                let known = state.queue.contains(&attempt);
                if !logged && !decided && !known && room && !self.is(Bug::HasNoOutbox) {
                    actions.push(Action::Republish(attempt));
                }
                if self.is(Bug::ExpiresInTheStoreOnly) && faults.expired < limits.expired {
                    actions.push(Action::Expire);
                }
            }
        }
        for attempt in (0..ATTEMPTS as Attempt).filter(|at| state.unpublished[*at as usize]) {
            let publish = |appended, confirmed| Action::Publish {
                attempt,
                appended,
                confirmed,
            };
            if room {
                actions.push(publish(true, true));
                actions.push(publish(true, false));
            }
            actions.push(publish(false, false));
            if faults.acked_lost < limits.acked_lost {
                actions.push(Action::QueueLoses(attempt));
            }
        }
        if state.known_epoch != state.books.epoch {
            actions.push(Action::RefreshCatalogue);
        }
        let crash = faults.crashes < limits.crashes;
        if crash && (state.unpublished.contains(&true) || state.seen > (0, 0)) {
            actions.push(Action::ApiCrashes);
        }
        for (who, worker) in state.workers.iter().enumerate() {
            match worker.step {
                WorkerStep::Reads if (worker.position as usize) < state.queue.len() => {
                    actions.push(
                        if self.is(Bug::CommitsTheOffsetFirst) && worker.position >= state.committed
                        {
                            Action::CommitOffset(who)
                        } else {
                            Action::Decide(who)
                        },
                    );
                }
                WorkerStep::Reads => {}
                WorkerStep::Decided => actions.push(Action::Settle(who)),
                WorkerStep::Settled => actions.push(Action::CommitOffset(who)),
            }
            let holds_something =
                worker.step != WorkerStep::Reads || worker.position != state.committed;
            if crash && holds_something {
                actions.push(Action::WorkerCrashes(who));
            }
        }
        if let Some(attempt) = state.overdue {
            actions.push(Action::Complete);
            let undecided = state.books.decisions[attempt as usize].is_none();
            if undecided && faults.expired < limits.expired {
                actions.push(Action::Expire);
            }
        }
        if faults.failovers < limits.failovers && state.replica != state.store {
            actions.push(Action::Replicate);
            actions.push(Action::FailOver);
        }
        if faults.wipes < limits.wipes && state.store.loaded {
            actions.push(Action::Wipe);
        }
        self.rebuild_actions(state, &mut actions);
        actions
    }

    fn after(&self, state: &State, action: Action) -> State {
        let mut state = state.clone();
        match action {
            Action::Reserve { user, reply_lost } => self.reserve(&mut state, user, reply_lost),
            Action::Publish {
                attempt,
                appended,
                confirmed,
            } => {
                state.unpublished[attempt as usize] = false;
                if appended {
                    state.queue.push(attempt);
                }
                if confirmed {
                    acknowledge(&mut state, attempt);
                } else if self.is(Bug::RollsBackAnUnconfirmedPublish) {
                    Self::roll_back(&mut state, attempt);
                }
            }
            Action::QueueLoses(attempt) => {
                state.unpublished[attempt as usize] = false;
                state.faults.acked_lost += 1;
                acknowledge(&mut state, attempt);
                state.told_logged[attempt as usize] = false;
            }
            Action::Republish(attempt) => {
                state.queue.push(attempt);
                acknowledge(&mut state, attempt);
            }
            Action::RefreshCatalogue => state.known_epoch = state.books.epoch,
            Action::ApiCrashes => {
                state.faults.crashes += 1;
                state.unpublished = [false; ATTEMPTS];
                state.seen = (0, 0);
            }
            Action::Decide(who) => {
                let attempt = state.queue[state.workers[who].position as usize];
                if state.books.decisions[attempt as usize].is_some() {
                    state.seen_facts |= fact::REDELIVERED;
                }
                self.decide(&mut state, attempt);
                state.workers[who].step = WorkerStep::Decided;
            }
            Action::Settle(who) => {
                let attempt = state.queue[state.workers[who].position as usize];
                self.settle(&mut state, attempt);
                state.workers[who].step = WorkerStep::Settled;
                if self.is(Bug::CommitsTheOffsetFirst) {
                    state.workers[who].position += 1;
                    state.workers[who].step = WorkerStep::Reads;
                }
            }
            Action::CommitOffset(who) => {
                let done = state.workers[who].position + 1;
                state.committed = state.committed.max(done);
                if !self.is(Bug::CommitsTheOffsetFirst) {
                    state.workers[who].position = done;
                    state.workers[who].step = WorkerStep::Reads;
                }
            }
            Action::WorkerCrashes(who) => {
                state.faults.crashes += 1;
                state.workers[who] = Worker {
                    position: state.committed,
                    step: WorkerStep::Reads,
                };
            }
            Action::ReadOverdue(user) => {
                if let Allocation::Reserved { attempt, .. } = state.store.allocations[user] {
                    state.overdue = Some(attempt);
                }
            }
            Action::Complete => {
                if let Some(attempt) = state.overdue.take() {
                    self.decide(&mut state, attempt);
                }
            }
            Action::Expire => self.expire(&mut state),
            Action::SettleAllocation(user) => {
                if let Allocation::Reserved { attempt, .. } = state.store.allocations[user] {
                    self.settle(&mut state, attempt);
                }
            }
            Action::Replicate => state.replica = state.store,
            Action::FailOver => {
                state.faults.failovers += 1;
                let replica = state.replica;
                Self::lose(&mut state, replica);
            }
            Action::Wipe => {
                state.faults.wipes += 1;
                Self::lose(&mut state, Store::default());
            }
            Action::SetStock => {
                state.store = Store {
                    epoch: state.books.epoch,
                    opened: state.books.epoch,
                    ..self.start().store
                };
            }
            Action::RebuilderCrashes(who) => {
                state.faults.crashes += 1;
                state.rebuilds[who] = Rebuild::Idle;
            }
            Action::BeginRebuild(who)
            | Action::JoinRebuild(who)
            | Action::Fence(who)
            | Action::Mark(who)
            | Action::Seal(who)
            | Action::Read(who)
            | Action::Open(who)
            | Action::SayOpened(who) => self.rebuild(&mut state, who, action),
        }
        state
    }

    fn broken(&self, state: &State, actions: &[Action]) -> Option<&'static str> {
        properties::broken(self, state, actions)
    }

    fn reached(&self, state: &State) -> u32 {
        state.seen_facts
    }
}

impl Config {
    /// Repair gives up an attempt, by the book or in the store only.
    fn expire(&self, state: &mut State) {
        state.faults.expired += 1;
        if self.is(Bug::ExpiresInTheStoreOnly) {
            let allocations = state.store.allocations.iter().rev();
            let mut reserved = allocations.filter_map(|allocation| match allocation {
                Allocation::Reserved { attempt, .. } => Some(*attempt),
                _ => None,
            });
            if let Some(attempt) = reserved.next() {
                Self::roll_back(state, attempt);
            }
        } else if let Some(attempt) = state.overdue.take() {
            state.books.decisions[attempt as usize].get_or_insert(Decision::Expired);
        }
    }
}

/// The queue has the attempt, and whoever published it says so.
fn acknowledge(state: &mut State, attempt: Attempt) {
    state.told_logged[attempt as usize] = true;
    if let Allocation::Reserved {
        attempt: held,
        logged,
    } = &mut state.store.allocations[user_of(attempt)]
        && *held == attempt
    {
        *logged = true;
    }
}
