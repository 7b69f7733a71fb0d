//! What may never happen, checked whenever something does.

use std::collections::{BTreeMap, BTreeSet};

use flashsale_core::domain::{
    Attempt, AttemptId, Decision, Epoch, FailReason, OrderStatus, Sale, SaleId, UserId,
};
use flashsale_core::ports::RecordedOutcome;
use flashsale_core::services::{AttemptOutcome, Durability, PurchaseStatus};

use super::ports::number;
use super::weather::Weather;

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) rule: &'static str,
    pub(crate) how: String,
}

pub(crate) type Held = Result<(), Broken>;

pub(crate) fn broken(rule: &'static str, how: impl Into<String>) -> Held {
    let how = how.into();
    Err(Broken { rule, how })
}

/// Everything that was decided and told, kept apart from the engine.
#[derive(Default)]
pub(crate) struct Books {
    decisions: BTreeMap<AttemptId, Decision>,
    winners: BTreeMap<(SaleId, UserId), AttemptId>,
    failures: BTreeSet<(SaleId, UserId)>,
    sold: BTreeMap<SaleId, u64>,
    told: BTreeMap<(SaleId, UserId), Told>,
    /// Attempts that a bug has told their users have failed.
    told_of_failure: BTreeSet<AttemptId>,
    /// Users whom a bug keeps out.
    pub(crate) barred: BTreeSet<UserId>,
    /// Two stores take themselves for the same one: as long as that lasts, both may be rebuilt under
    /// any epoch, and promise the same units.
    pub(crate) split: bool,
    /// A process that was to end in order has not, and was ended.
    pub(crate) cut_off: bool,
    /// The last epoch of a sale whose stock may have been wrong.
    lossy: BTreeMap<SaleId, Epoch>,
    lost_units: BTreeMap<SaleId, u64>,
    over_promised: BTreeMap<SaleId, u64>,
    queued: BTreeMap<AttemptId, i64>,
    /// Who was refused, and why.
    refused: BTreeSet<(SaleId, UserId, &'static str)>,
    noticed: BTreeMap<(SaleId, Epoch), i64>,
    /// The stock store may lose data in this world.
    may_lose: bool,
    may_split: bool,
    withdraws: bool,
}

/// What a user was told about a sale.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The attempts that were accepted, the last one last.
    pub(crate) accepted: Vec<(AttemptId, Durability)>,
    pub(crate) success: bool,
}

impl Books {
    pub(crate) fn new(weather: &Weather) -> Self {
        Self {
            may_lose: weather.losses.any(),
            may_split: weather.losses.splits,
            withdraws: weather.withdraws,
            ..Self::default()
        }
    }

    /// The order repository, in which the sale is like this, has decided.
    pub(crate) fn decided(&mut self, attempt: &Attempt, decision: Decision, sale: &Sale) -> Held {
        let stock = sale.total_stock();
        if let Some(before) = self.decisions.get(&attempt.id) {
            if *before != decision {
                let number = number(attempt.id);
                let how = format!("attempt {number} was {before:?} and now is {decision:?}");
                return broken("a decision never changes", how);
            }
            return Ok(());
        }
        self.decisions.insert(attempt.id, decision);
        let place = (attempt.sale, attempt.user.clone());
        match decision {
            Decision::Success(_) => {
                if self.told_of_failure.contains(&attempt.id) {
                    let how = format!("{} was told that {} failed", attempt.user, attempt.id);
                    return broken("who is told of failure has failed", how);
                }
                if attempt.epoch < sale.sealed {
                    let how = format!("{attempt:?} is an order, but {:?} is sealed", sale.sealed);
                    return broken("no order comes of a sealed epoch", how);
                }
                if let Some(first) = self.winners.insert(place, attempt.id) {
                    let how = format!("{} has {} and {}", attempt.user, first, attempt.id);
                    return broken("one success per user and sale", how);
                }
                let sold = self.sold.entry(attempt.sale).or_default();
                *sold += attempt.quantity.units();
                if *sold > stock {
                    let how = format!("{sold} of {stock} units of sale {} sold", attempt.sale);
                    return broken("never more orders than stock", how);
                }
            }
            Decision::Failed(reason) => {
                self.failures.insert(place);
                self.bounds(attempt, reason)?;
                let promised = matches!(
                    reason,
                    FailReason::NoStock | FailReason::Duplicate(_) | FailReason::StaleEpoch
                );
                let lossy = self.lossy.get(&attempt.sale);
                if promised && !self.split && lossy.is_none_or(|lossy| attempt.epoch > *lossy) {
                    let Attempt { id, epoch, .. } = attempt;
                    let how = format!("attempt {} of {epoch:?}: {reason:?}", number(*id));
                    return broken("nobody is promised too much after a loss is mended", how);
                }
            }
        }
        Ok(())
    }

    /// What a loss may cost: no more promises than units were lost, and nothing that the queue had
    /// when it was noticed.
    fn bounds(&mut self, attempt: &Attempt, reason: FailReason) -> Held {
        let number = number(attempt.id);
        match reason {
            FailReason::NoStock => {
                let lost = self
                    .lost_units
                    .get(&attempt.sale)
                    .copied()
                    .unwrap_or_default();
                let promised = self.over_promised.entry(attempt.sale).or_default();
                *promised += attempt.quantity.units();
                if *promised > lost && self.may_lose && !self.may_split {
                    let how = format!("{promised} units, but {lost} were lost; attempt {number}");
                    return broken("no more is promised than was lost", how);
                }
            }
            FailReason::StaleEpoch => {
                let noticed = self.noticed.get(&(attempt.sale, attempt.epoch.next()));
                let queued = self.queued.get(&attempt.id);
                if let (Some(queued), Some(noticed)) = (queued, noticed)
                    && queued < noticed
                {
                    let how = format!(
                        "attempt {number} was in the queue at {queued} ms, the loss was noticed at {noticed} ms"
                    );
                    return broken("what the queue had before a rebuild is decided", how);
                }
            }
            FailReason::Duplicate(_) | FailReason::Cancelled | FailReason::Expired => {}
        }
        Ok(())
    }

    /// Stock data of the sale were lost, at this epoch at the latest, with allocations of so many units.
    pub(crate) fn lost(&mut self, sale: &Sale, units: u64) {
        let lossy = self.lossy.entry(sale.id).or_insert(sale.epoch);
        *lossy = sale.epoch.max(*lossy);
        *self.lost_units.entry(sale.id).or_default() += units;
    }

    /// The queue has the attempt.
    pub(crate) fn queued(&mut self, attempt: AttemptId, at_ms: i64) {
        self.queued.entry(attempt).or_insert(at_ms);
    }

    /// The order repository was told that the stock of the epoch before this one is lost.
    pub(crate) fn noticed(&mut self, sale: &Sale, at_ms: i64) {
        let epoch = (sale.id, sale.epoch);
        if self.withdraws {
            // A withdrawal that went wrong half way is taken for a loss.
            let before = Epoch::new(sale.epoch.get() - 1);
            let lossy = self.lossy.entry(sale.id).or_insert(before);
            *lossy = before.max(*lossy);
        }
        self.noticed.entry(epoch).or_insert(at_ms);
    }

    /// The user was told that this attempt is none.
    pub(crate) fn told_of_failure(&mut self, attempt: AttemptId) {
        self.told_of_failure.insert(attempt);
    }

    pub(crate) fn is_told_of_failure(&self, attempt: AttemptId) -> bool {
        self.told_of_failure.contains(&attempt)
    }

    pub(crate) fn is_decided(&self, attempt: AttemptId) -> bool {
        self.decisions.contains_key(&attempt)
    }

    /// What the user knows at this moment.
    pub(crate) fn told(&self, sale: SaleId, user: &UserId) -> Told {
        let place = (sale, user.clone());
        self.told.get(&place).cloned().unwrap_or_default()
    }

    fn is_failed(&self, attempt: AttemptId) -> bool {
        matches!(self.decisions.get(&attempt), Some(Decision::Failed(_)))
    }

    /// The last attempt the user was told to have, unless it has failed.
    fn living(&self, told: &Told) -> Option<AttemptId> {
        let (attempt, _) = told.accepted.last()?;
        (!self.is_failed(*attempt)).then_some(*attempt)
    }

    /// The user was refused.
    pub(crate) fn refused(&mut self, sale: SaleId, user: &UserId, outcome: RecordedOutcome) {
        self.refused.insert((sale, user.clone(), outcome.name()));
    }

    /// Who was refused, and as what.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = &(SaleId, UserId, &'static str)> {
        self.refused.iter()
    }

    /// A user who had been told `before` when he asked has the answer to an attempt.
    pub(crate) fn answered(
        &mut self,
        sale: SaleId,
        user: &UserId,
        before: &Told,
        answer: &AttemptOutcome,
    ) -> Held {
        let living = self.living(before);
        match answer {
            AttemptOutcome::Accepted(acceptance) => {
                let attempt = acceptance.attempt;
                if living.is_some_and(|living| living != attempt) && !self.may_lose {
                    let how = format!("{user} had {living:?} and now has {attempt}");
                    return broken("a retry is the same attempt", how);
                }
                let place = (sale, user.clone());
                let success = acceptance.status == OrderStatus::Success;
                if success && self.winners.get(&place) != Some(&attempt) {
                    let how = format!("{user} was told that attempt {attempt} has won");
                    return broken("who is told of success has an order", how);
                }
                if !success && before.success && !self.may_lose {
                    let how = format!("{user} was told of success, and now of an attempt");
                    return broken("success lasts", how);
                }
                let told = self.told.entry(place).or_default();
                told.success |= success;
                if told.accepted.last().map(|(last, _)| *last) != Some(attempt) {
                    told.accepted.push((attempt, acceptance.durability));
                }
                Ok(())
            }
            AttemptOutcome::SoldOut | AttemptOutcome::Ended | AttemptOutcome::Paused
                if living.is_some() && !self.may_lose =>
            {
                let how = format!("{user} has {living:?} and is told {answer:?}");
                broken("who has an attempt is not refused", how)
            }
            AttemptOutcome::UnknownSale => broken("a sale is known", format!("sale {sale} is not")),
            AttemptOutcome::SoldOut
            | AttemptOutcome::Ended
            | AttemptOutcome::Paused
            | AttemptOutcome::NotStarted { .. }
            | AttemptOutcome::Recovering => Ok(()),
        }
    }

    /// A user who had been told `before` when he asked has heard how he stands with the sale.
    pub(crate) fn stands(
        &mut self,
        sale: SaleId,
        user: &UserId,
        before: &Told,
        purchase: PurchaseStatus,
    ) -> Held {
        let place = (sale, user.clone());
        if before.success && purchase.status != OrderStatus::Success && !self.may_lose {
            let how = format!("{user} was told of success in sale {sale}, then {purchase:?}");
            return broken("success lasts", how);
        }
        match purchase.status {
            OrderStatus::Success => {
                if !self.winners.contains_key(&place) {
                    let how = format!("{user} was told of success in sale {sale}");
                    return broken("who is told of success has an order", how);
                }
                self.told.entry(place).or_default().success = true;
            }
            OrderStatus::Failed => {
                if !self.failures.contains(&place) {
                    let how = format!("{user} was told of a failure in sale {sale}");
                    return broken("who is told of failure has failed", how);
                }
            }
            OrderStatus::Pending => {
                if !purchase.attempted && !before.accepted.is_empty() && !self.may_lose {
                    let how = format!("{user} has an attempt in sale {sale} and is told of none");
                    return broken("an accepted attempt is known", how);
                }
            }
        }
        Ok(())
    }

    /// Everything is at rest: nothing that was promised may be open.
    pub(crate) fn at_rest(&self) -> Held {
        for ((sale, user), told) in &self.told {
            for (attempt, durability) in &told.accepted {
                let decided = self.decisions.contains_key(attempt);
                let may_vanish = self.may_lose && *durability == Durability::Reserved;
                if !decided && !may_vanish {
                    let how = format!("attempt {} of {user} in sale {sale}", number(*attempt));
                    return broken("an accepted attempt is decided", how);
                }
            }
        }
        Ok(())
    }

    /// Whether the user has bought, or has failed, in the sale.
    pub(crate) fn outcome(&self, sale: SaleId, user: &UserId) -> OrderStatus {
        let place = (sale, user.clone());
        if self.winners.contains_key(&place) {
            OrderStatus::Success
        } else if self.failures.contains(&place) {
            OrderStatus::Failed
        } else {
            OrderStatus::Pending
        }
    }

    pub(crate) fn sold(&self, sale: SaleId) -> u64 {
        self.sold.get(&sale).copied().unwrap_or_default()
    }
}
