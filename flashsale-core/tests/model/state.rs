//! The protocol's state, as small as it can be: every unit is one, and time is only order.

/// How many users there can be.
pub(crate) const USERS: usize = 3;
/// How often each can try.
pub(crate) const TRIES: usize = 2;
/// Attempts are numbered: those of user `u` are `u * TRIES` and on.
pub(crate) const ATTEMPTS: usize = USERS * TRIES;

pub(crate) type User = usize;
pub(crate) type Attempt = u8;

pub(crate) const fn user_of(attempt: Attempt) -> User {
    attempt as usize / TRIES
}

/// What the stock store keeps for a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Allocation {
    #[default]
    None,
    Reserved {
        attempt: Attempt,
        logged: bool,
    },
    Sold(Attempt),
}

/// The stock store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) loaded: bool,
    pub(crate) fenced: bool,
    pub(crate) epoch: u8,
    /// The epoch that it was opened under; behind `epoch` after a fence.
    pub(crate) opened: u8,
    pub(crate) seq: u8,
    pub(crate) available: u8,
    pub(crate) allocations: [Allocation; USERS],
}

/// A decision of the order repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    Success,
    NoStock,
    Duplicate,
    StaleEpoch,
    Expired,
}

/// The order repository and that of the sale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Books {
    pub(crate) epoch: u8,
    pub(crate) sealed: u8,
    /// A rebuild has begun, and nobody has said yet that it is over.
    pub(crate) recovering: bool,
    pub(crate) remaining: u8,
    /// The largest seq of a decided attempt of the epoch.
    pub(crate) decided_seq: u8,
    pub(crate) decisions: [Option<Decision>; ATTEMPTS],
    /// How many orders came of each attempt.
    pub(crate) orders: [u8; ATTEMPTS],
}

/// A worker between two commits of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) position: u8,
    pub(crate) step: WorkerStep,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum WorkerStep {
    #[default]
    Reads,
    Decided,
    Settled,
}

/// How far somebody has got with rebuilding the stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Rebuild {
    #[default]
    Idle,
    Begun(u8),
    Fenced(u8),
    Marked(u8, u8),
    Sealed(u8),
    /// What the orders have left, and who has bought.
    Read(u8, u8, [Allocation; USERS]),
    Opened(u8),
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: Store,
    /// An older state of the store, which it may go back to.
    pub(crate) replica: Store,
    /// What an API has seen of the store, which epoch it believes in, and what it wants to publish.
    pub(crate) seen: (u8, u8),
    pub(crate) known_epoch: u8,
    pub(crate) unpublished: [bool; ATTEMPTS],
    /// Epoch and seq of the attempts that there are.
    pub(crate) attempts: [Option<(u8, u8)>; ATTEMPTS],
    pub(crate) queue: Vec<Attempt>,
    pub(crate) committed: u8,
    pub(crate) workers: Vec<Worker>,
    /// What repair has read in the store and not decided yet.
    pub(crate) overdue: Option<Attempt>,
    pub(crate) books: Books,
    pub(crate) rebuilds: [Rebuild; 2],
    /// The end of the queue when each epoch began.
    pub(crate) begun_at: [u8; 5],
    /// Attempts whose users were told of a failure, and that the queue has them.
    pub(crate) told_failed: [bool; ATTEMPTS],
    pub(crate) told_logged: [bool; ATTEMPTS],
    pub(crate) faults: Faults,
    pub(crate) seen_facts: u32,
    /// An API was sold a unit by a store that it knew to have gone back.
    pub(crate) sold_by_the_past: bool,
}

/// What went wrong so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) replies_lost: u8,
    pub(crate) crashes: u8,
    pub(crate) failovers: u8,
    pub(crate) wipes: u8,
    pub(crate) acked_lost: u8,
    pub(crate) expired: u8,
    /// Units whose allocations were lost, and the last epoch that may have been wrong.
    pub(crate) units_lost: u8,
    pub(crate) lossy_epoch: u8,
}
