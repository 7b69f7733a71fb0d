use std::time::Duration;

use crate::faults::Fault;
use crate::history::Moment;

/// What a shop can do to a running sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Pause,
    Resume,
    Restock,
    Withdraw,
    Extend,
    Close,
}

impl Change {
    /// The command that makes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Restock => "restock",
            Self::Withdraw => "withdraw",
            Self::Extend => "extend",
            Self::Close => "close",
        }
    }
}

/// A change that was confirmed, and when each process that takes attempts showed it.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) change: Change,
    /// Whether users were coming just then.
    pub(crate) rush: bool,
    /// Whether each process had to show it. Units that are put in during a rush may be gone before
    /// a process is asked.
    pub(crate) certain: bool,
    pub(crate) began: Moment,
    pub(crate) confirmed: Moment,
    /// One for each process; nothing if it was given up.
    pub(crate) seen: Vec<Option<Moment>>,
    /// When the last process had shown it, or was given up.
    pub(crate) ended: Moment,
}

/// In which circumstances a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Circumstances {
    Rest,
    Rush,
    /// A fault was under way, or had just been.
    Faults,
}

impl Circumstances {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rest => "at rest",
            Self::Rush => "in a rush",
            Self::Faults => "among faults",
        }
    }
}

/// A change that a process does not show for so long, without a fault, is never shown.
pub(crate) const SEEN_MAX: Duration = Duration::from_secs(10);
/// For so long a fault that is over may still delay things: connections have to be made again.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(3);

impl Sighting {
    /// From the confirmation until the last process showed it.
    pub(crate) fn took(&self) -> Option<Duration> {
        let seen = self.seen.iter().copied().collect::<Option<Vec<_>>>()?;
        let last = seen.into_iter().max()?;
        Some(last.saturating_sub(self.confirmed))
    }

    pub(crate) fn circumstances(&self, faults: &[Fault]) -> Circumstances {
        let meets = |fault: &Fault| fault.began < self.ended && fault.over + AFTERMATH > self.began;
        if faults.iter().any(meets) {
            Circumstances::Faults
        } else if self.rush {
            Circumstances::Rush
        } else {
            Circumstances::Rest
        }
    }

    /// Whether a process never showed it, though nothing was in the way.
    pub(crate) fn is_missing(&self, faults: &[Fault]) -> bool {
        self.certain && self.took().is_none() && self.circumstances(faults) != Circumstances::Faults
    }
}
