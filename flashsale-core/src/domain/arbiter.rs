use std::collections::HashMap;

use super::{Attempt, AttemptId, Decision, Epoch, FailReason, Kept, OrderId, UserId};

/// The books of one sale: which attempts are decided, and how. The one definition of the rules of
/// decision.
///
/// The first decision about an attempt is final. Units of successful orders never exceed the stock,
/// whatever a stock store has promised, and a user has at most one successful order in a sale.
///
/// ```
/// use flashsale_core::domain::{
///     Arbiter, Attempt, AttemptId, Decision, Epoch, FailReason, OrderId, ProductId, Quantity,
///     SaleId, Timestamp, UserId,
/// };
/// let mut arbiter = Arbiter::new(Epoch::FIRST, 1);
/// let attempt = |user: &str, id: u128| Attempt {
///     id: AttemptId::from_uuid(uuid::Uuid::from_u128(id)),
///     sale: SaleId::new(1).expect("positive"),
///     product: ProductId::new(1).expect("positive"),
///     user: UserId::new(user).expect("visible ASCII"),
///     quantity: Quantity::ONE,
///     epoch: Epoch::FIRST,
///     seq: 1,
///     reserved_at: Timestamp::from_millis(5),
/// };
/// let (first, second) = (OrderId::new(1)?, OrderId::new(2)?);
/// assert_eq!(arbiter.decide(&attempt("ann", 1), first).decision, Decision::Success(first));
/// assert_eq!(arbiter.decide(&attempt("ann", 1), second).decision, Decision::Success(first));
/// assert_eq!(
///     arbiter.decide(&attempt("bob", 2), second).decision,
///     Decision::Failed(FailReason::NoStock),
/// );
/// # Ok::<(), flashsale_core::domain::InvalidId>(())
/// ```
#[derive(Clone, Debug)]
pub struct Arbiter {
    sealed: Epoch,
    remaining: u64,
    decided: HashMap<AttemptId, Decision>,
    buyers: HashMap<UserId, Kept>,
}

/// What an [`Arbiter`] says about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The decision.
    pub decision: Decision,
    /// Whether it was made now; else it is the one made before.
    pub fresh: bool,
}

impl Arbiter {
    /// Empty books over `remaining` units that accept attempts of `sealed` and later.
    pub fn new(sealed: Epoch, remaining: u64) -> Self {
        Self {
            sealed,
            remaining,
            decided: HashMap::new(),
            buyers: HashMap::new(),
        }
    }

    /// Decides about an attempt, or tells what was decided before. A fresh success is order `order`.
    ///
    /// Checked in this order, first match answers: decided before, older epoch, the user has an
    /// order, stock.
    pub fn decide(&mut self, attempt: &Attempt, order: OrderId) -> Ruling {
        if let Some(&decision) = self.decided.get(&attempt.id) {
            return Ruling {
                decision,
                fresh: false,
            };
        }
        let units = attempt.quantity.units();
        let decision = if attempt.epoch < self.sealed {
            Decision::Failed(FailReason::StaleEpoch)
        } else if let Some(&kept) = self.buyers.get(&attempt.user) {
            Decision::Failed(FailReason::Duplicate(kept))
        } else if self.remaining < units {
            Decision::Failed(FailReason::NoStock)
        } else {
            Decision::Success(order)
        };
        self.record(attempt, decision);
        Ruling {
            decision,
            fresh: true,
        }
    }

    /// Fails an attempt that is not decided yet, or tells what was decided before.
    pub fn fail(&mut self, attempt: &Attempt, reason: FailReason) -> Ruling {
        if let Some(&decision) = self.decided.get(&attempt.id) {
            return Ruling {
                decision,
                fresh: false,
            };
        }
        let decision = Decision::Failed(reason);
        self.record(attempt, decision);
        Ruling {
            decision,
            fresh: true,
        }
    }

    /// Enters a decision as it was made.
    pub fn record(&mut self, attempt: &Attempt, decision: Decision) {
        self.decided.insert(attempt.id, decision);
        if let Decision::Success(order) = decision {
            self.remaining = self.remaining.saturating_sub(attempt.quantity.units());
            let kept = Kept {
                order,
                attempt: attempt.id,
                quantity: attempt.quantity,
            };
            self.buyers.insert(attempt.user.clone(), kept);
        }
    }

    /// Takes back a decision whose record could not be kept, as if it had never been made.
    ///
    /// Only for a repository that has told nobody about it.
    pub fn undo(&mut self, attempt: &Attempt) {
        if let Some(Decision::Success(_)) = self.decided.remove(&attempt.id) {
            self.remaining += attempt.quantity.units();
            self.buyers.remove(&attempt.user);
        }
    }

    /// Accepts attempts of `epoch` and later only.
    pub fn seal(&mut self, epoch: Epoch) {
        self.sealed = self.sealed.max(epoch);
    }

    /// Adds units.
    pub fn restock(&mut self, units: u64) {
        self.remaining += units;
    }

    /// Takes units out that are not sold; says whether there were enough.
    pub fn withdraw(&mut self, units: u64) -> bool {
        match self.remaining.checked_sub(units) {
            Some(remaining) => self.remaining = remaining,
            None => return false,
        }
        true
    }

    /// What was decided about an attempt.
    pub fn find(&self, attempt: AttemptId) -> Option<Decision> {
        self.decided.get(&attempt).copied()
    }

    /// Units not sold.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }
}
