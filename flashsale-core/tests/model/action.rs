//! What can happen, what can be wrong on purpose, and what is worth knowing to be possible.

use super::state::{Attempt, User};

/// What is wrong with the protocol, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    RollsBackAnUnconfirmedPublish,
    ExpiresInTheStoreOnly,
    ForgetsAttempts,
    IgnoresTheStock,
    SetsTheStockAgain,
    RebuildsWithoutDraining,
    AcceptsStaleEpochs,
    MakesGhostStock,
    HasNoSeqFence,
    /// Neither outbox nor completer.
    HasNoOutbox,
    /// The offset is committed before the order, and there is no completer.
    CommitsTheOffsetFirst,
    /// A rebuild opens what it has read before it sealed.
    ReadsBeforeItSeals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Reserve {
        user: User,
        reply_lost: bool,
    },
    Publish {
        attempt: Attempt,
        appended: bool,
        confirmed: bool,
    },
    QueueLoses(Attempt),
    Republish(Attempt),
    RefreshCatalogue,
    ApiCrashes,
    Decide(usize),
    Settle(usize),
    CommitOffset(usize),
    WorkerCrashes(usize),
    ReadOverdue(User),
    Complete,
    Expire,
    SettleAllocation(User),
    Replicate,
    FailOver,
    Wipe,
    BeginRebuild(usize),
    JoinRebuild(usize),
    Fence(usize),
    Mark(usize),
    Seal(usize),
    Read(usize),
    Open(usize),
    SayOpened(usize),
    RebuilderCrashes(usize),
    SetStock,
}

/// What a state shows to be possible.
pub(crate) mod fact {
    pub(crate) const SOLD_OUT: u32 = 1;
    pub(crate) const REBUILT: u32 = 2;
    pub(crate) const STALE_REFUSED: u32 = 4;
    pub(crate) const OVER_PROMISED: u32 = 8;
    pub(crate) const DUPLICATE: u32 = 16;
    pub(crate) const HEALED: u32 = 32;
    pub(crate) const DRIFTED: u32 = 64;
    pub(crate) const SOLD_AFTER_REBUILD: u32 = 128;
    pub(crate) const REDELIVERED: u32 = 256;
}
