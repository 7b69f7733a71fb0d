//! The ledger against an oracle that keeps everything in one list and counts anew each time.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, also in its own functions"
)]

use std::collections::BTreeMap;

use flashsale_core::domain::{
    Allocation, AllocationState, ApplyOutcome, Attempt, AttemptId, Decision, Epoch, FailReason,
    Kept, Ledger, OpenOutcome, OrderId, Phase, ProductId, Quantity, ReserveOutcome, ReserveRequest,
    SaleChange, SaleId, SaleRef, SettleOutcome, Settlement, StockEvent, StockSnapshot, Timestamp,
    UserId, Window,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const WINDOW: Window = Window {
    start: Timestamp::from_millis(100),
    end: Timestamp::from_millis(600),
};

/// Users and attempts are named by small numbers, epochs and versions by their distance from the
/// present ones.
#[derive(Clone, Debug)]
enum Command {
    Reserve {
        user: u8,
        units: u8,
        epoch: i8,
        wait_ms: i16,
    },
    Acknowledge {
        attempt: usize,
    },
    Settle {
        attempt: usize,
        other_id: bool,
        decision: DecisionKind,
        units: u8,
    },
    Undo {
        attempt: usize,
    },
    Apply {
        version: i8,
        change: SaleChange,
    },
    Fence {
        epoch: i8,
    },
    Open {
        epoch: i8,
        remaining: u8,
    },
    Look {
        min_age_ms: u16,
        unpublished_only: bool,
        max: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum DecisionKind {
    Success,
    Duplicate,
    Failed(FailReason),
}

fn command() -> impl Strategy<Value = Command> {
    let near = prop_oneof![8 => Just(0_i8), 1 => Just(-1_i8), 1 => Just(1_i8)];
    let change = prop_oneof![
        3 => Just(SaleChange::Pause),
        6 => Just(SaleChange::Resume),
        3 => (1_u64..4).prop_map(SaleChange::Restock),
        1 => Just(SaleChange::Close),
        3 => (1_u64..4).prop_map(SaleChange::Withdraw),
        2 => (600_i64..900).prop_map(|ms| SaleChange::Extend(Timestamp::from_millis(ms))),
    ];
    let decision = prop_oneof![
        4 => Just(DecisionKind::Success),
        2 => Just(DecisionKind::Duplicate),
        1 => Just(DecisionKind::Failed(FailReason::NoStock)),
        1 => Just(DecisionKind::Failed(FailReason::StaleEpoch)),
        1 => Just(DecisionKind::Failed(FailReason::Cancelled)),
        1 => Just(DecisionKind::Failed(FailReason::Expired)),
    ];
    let made = 0..1_000_usize;
    prop_oneof![
        9 => (0..6_u8, 1..4_u8, near.clone(), -40..60_i16)
            .prop_map(|(user, units, epoch, wait_ms)| Command::Reserve { user, units, epoch, wait_ms }),
        3 => made.clone().prop_map(|attempt| Command::Acknowledge { attempt }),
        6 => (made.clone(), prop::bool::weighted(0.2), decision, 1..4_u8)
            .prop_map(|(attempt, other_id, decision, units)| Command::Settle { attempt, other_id, decision, units }),
        1 => made.prop_map(|attempt| Command::Undo { attempt }),
        2 => (near.clone(), change).prop_map(|(version, change)| Command::Apply { version, change }),
        1 => near.clone().prop_map(|epoch| Command::Fence { epoch }),
        1 => (near, 0..6_u8).prop_map(|(epoch, remaining)| Command::Open { epoch, remaining }),
        2 => (0..220_u16, any::<bool>(), 0..4_usize)
            .prop_map(|(min_age_ms, unpublished_only, max)| Command::Look { min_age_ms, unpublished_only, max }),
    ]
}

fn user(number: u8) -> UserId {
    UserId::new(format!("u{number}")).unwrap()
}

fn attempt_id(number: usize) -> AttemptId {
    AttemptId::from_uuid(uuid::Uuid::from_u128(number as u128))
}

fn order(number: usize) -> OrderId {
    OrderId::new(number as i64 + 1).unwrap()
}

fn near(present: u32, distance: i8) -> u32 {
    present.saturating_add_signed(i32::from(distance))
}

/// The rules once more: all allocations in one list, every sum counted anew.
struct Oracle {
    epoch: u32,
    opened: u32,
    phase: Phase,
    version: u64,
    /// Units that the store believes in: put in, less those that were voided.
    units: u64,
    latest_ms: i64,
    end_ms: i64,
    allocations: Vec<(UserId, Allocation)>,
}

impl Oracle {
    fn open(epoch: u32, version: u64, remaining: u64) -> Self {
        Self {
            epoch,
            opened: epoch,
            phase: Phase::Open,
            version,
            units: remaining,
            latest_ms: 0,
            end_ms: WINDOW.end.as_millis(),
            allocations: Vec::new(),
        }
    }

    fn allocation(&self, user: &UserId) -> Option<&Allocation> {
        self.allocations
            .iter()
            .find(|(name, _)| name == user)
            .map(|(_, allocation)| allocation)
    }

    fn sum(&self, counted: impl Fn(&Allocation) -> bool) -> u64 {
        let allocations = self
            .allocations
            .iter()
            .filter(|(_, allocation)| counted(allocation));
        allocations
            .map(|(_, allocation)| allocation.quantity.units())
            .sum()
    }

    fn available(&self) -> u64 {
        self.units - self.sum(|_| true)
    }

    fn forget(&mut self, user: &UserId) {
        self.allocations.retain(|(name, _)| name != user);
    }

    /// What the answer has to be; the caller adds the allocation if it is `None`, that is, reserved.
    fn refuse(&self, epoch: u32, request: &ReserveRequest, now_ms: i64) -> Option<ReserveOutcome> {
        let now_ms = now_ms.max(self.latest_ms);
        if epoch != self.epoch {
            return Some(ReserveOutcome::Recovering);
        }
        if let Some(allocation) = self.allocation(&request.user) {
            return Some(ReserveOutcome::AlreadyAllocated(allocation.clone()));
        }
        match self.phase {
            Phase::Paused => Some(ReserveOutcome::Paused),
            Phase::Closed => Some(ReserveOutcome::Ended),
            Phase::Recovering | Phase::Scheduled => Some(ReserveOutcome::Recovering),
            Phase::Open if now_ms < 100 => Some(ReserveOutcome::NotStarted {
                starts_at: WINDOW.start,
            }),
            Phase::Open if now_ms >= self.end_ms => Some(ReserveOutcome::Ended),
            Phase::Open if self.available() < request.quantity.units() => {
                Some(ReserveOutcome::SoldOut)
            }
            Phase::Open => None,
        }
    }

    fn settle(&mut self, settlement: &Settlement) -> SettleOutcome {
        let user = &settlement.user;
        let held = self.allocation(user).cloned();
        let undecided = held
            .clone()
            .filter(|h| matches!(h.state, AllocationState::Reserved { .. }));
        if held.is_some() && undecided.is_none() {
            return SettleOutcome::Unchanged;
        }
        let same = undecided
            .as_ref()
            .is_some_and(|h| h.attempt == settlement.attempt);
        let (outcome, attempt, quantity, order) = match settlement.decision {
            Decision::Success(order) if same => (
                SettleOutcome::Confirmed,
                settlement.attempt,
                settlement.quantity,
                order,
            ),
            Decision::Success(order) if undecided.is_some() => (
                SettleOutcome::Adopted,
                settlement.attempt,
                settlement.quantity,
                order,
            ),
            Decision::Success(_) if self.available() < settlement.quantity.units() => {
                self.phase = Phase::Recovering;
                return SettleOutcome::Drift;
            }
            Decision::Success(order) => (
                SettleOutcome::Healed,
                settlement.attempt,
                settlement.quantity,
                order,
            ),
            Decision::Failed(_) if !same => return SettleOutcome::Unchanged,
            Decision::Failed(FailReason::Duplicate(kept)) => (
                SettleOutcome::Merged,
                kept.attempt,
                kept.quantity,
                kept.order,
            ),
            Decision::Failed(FailReason::NoStock) => {
                self.units -= settlement.quantity.units();
                self.forget(user);
                return SettleOutcome::Voided;
            }
            Decision::Failed(
                FailReason::StaleEpoch | FailReason::Cancelled | FailReason::Expired,
            ) => {
                self.forget(user);
                return SettleOutcome::Released;
            }
        };
        self.forget(user);
        let allocation = Allocation {
            attempt,
            quantity,
            epoch: undecided
                .as_ref()
                .map_or(Epoch::new(self.opened), |h| h.epoch),
            seq: undecided.as_ref().map_or(0, |h| h.seq),
            reserved_at: undecided.map_or(settlement.reserved_at, |h| h.reserved_at),
            state: AllocationState::Sold(order),
        };
        self.allocations.push((user.clone(), allocation));
        // An order of more units than were reserved may take what the store does not have.
        self.units = self.units.max(self.sum(|_| true));
        outcome
    }

    fn undecided(&self) -> Vec<(UserId, Allocation)> {
        let allocations = self.allocations.iter();
        let mut undecided: Vec<_> = allocations
            .filter(|(_, allocation)| matches!(allocation.state, AllocationState::Reserved { .. }))
            .cloned()
            .collect();
        undecided.sort_by_key(|(_, allocation)| allocation.seq);
        undecided
    }
}

/// Which answers were given, over all runs.
#[derive(Default)]
struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    fn count(&mut self, answer: &impl std::fmt::Debug) {
        let text = format!("{answer:?}");
        let name = text.split([' ', '(']).next().unwrap_or_default().to_owned();
        *self
            .0
            .entry(format!("{}::{name}", kind_of(answer)))
            .or_default() += 1;
    }
}

fn kind_of<T>(_: &T) -> &'static str {
    std::any::type_name::<T>()
        .rsplit("::")
        .next()
        .unwrap_or_default()
}

struct Run<'a> {
    ledger: Ledger,
    oracle: Oracle,
    sale: SaleRef,
    now_ms: i64,
    attempts: Vec<Attempt>,
    ids: usize,
    coverage: &'a mut Coverage,
}

impl<'a> Run<'a> {
    fn new(stock: u64, coverage: &'a mut Coverage) -> Self {
        let sale = SaleRef {
            id: SaleId::new(1).unwrap(),
            product: ProductId::new(1).unwrap(),
            epoch: Epoch::FIRST,
        };
        Self {
            ledger: Ledger::open(sale, snapshot(1, stock)),
            oracle: Oracle::open(1, 1, stock),
            sale,
            now_ms: 60,
            attempts: Vec::new(),
            ids: 0,
            coverage,
        }
    }

    fn id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    fn attempt(&self, index: usize) -> Option<Attempt> {
        let count = self.attempts.len();
        (count > 0).then(|| self.attempts[index % count].clone())
    }

    fn command(&mut self, command: &Command) {
        match *command {
            Command::Reserve {
                user: number,
                units,
                epoch,
                wait_ms,
            } => {
                self.now_ms = (self.now_ms + i64::from(wait_ms)).max(0);
                let request = ReserveRequest {
                    attempt: attempt_id(self.id()),
                    user: user(number),
                    quantity: Quantity::new(u32::from(units)).unwrap(),
                };
                self.reserve(near(self.oracle.epoch, epoch), &request);
            }
            Command::Acknowledge { attempt } => {
                if let Some(attempt) = self.attempt(attempt) {
                    let news = self.ledger.acknowledge(&attempt.user, attempt.id);
                    let mut allocations = self.oracle.allocations.iter_mut();
                    let allocation = allocations.find(|(user, _)| *user == attempt.user);
                    let allocation =
                        allocation.filter(|(_, allocation)| allocation.attempt == attempt.id);
                    let unpublished = AllocationState::Reserved { logged: false };
                    let allocation =
                        allocation.filter(|(_, allocation)| allocation.state == unpublished);
                    assert_eq!(news, allocation.is_some());
                    if let Some((_, allocation)) = allocation {
                        allocation.state = AllocationState::Reserved { logged: true };
                    }
                }
            }
            Command::Settle {
                attempt,
                other_id,
                decision,
                units,
            } => {
                self.settle(attempt, other_id, decision, units);
            }
            Command::Undo { attempt } => {
                if let Some(attempt) = self.attempt(attempt) {
                    let held = self.oracle.allocation(&attempt.user).cloned();
                    let there = held.is_some_and(|allocation| allocation.attempt == attempt.id);
                    assert_eq!(self.ledger.undo(&attempt.user, attempt.id), there);
                    if there {
                        self.oracle.forget(&attempt.user);
                    }
                }
            }
            Command::Apply { version, change } => self.apply(version, change),
            Command::Fence { epoch } => {
                let epoch = near(self.oracle.epoch, epoch);
                let taken = self.ledger.fence(Epoch::new(epoch));
                assert_eq!(taken, epoch >= self.oracle.epoch);
                if epoch > self.oracle.epoch {
                    self.oracle.epoch = epoch;
                    self.oracle.phase = Phase::Recovering;
                }
            }
            Command::Open { epoch, remaining } => self.open(epoch, u64::from(remaining)),
            Command::Look {
                min_age_ms,
                unpublished_only,
                max,
            } => {
                self.look(min_age_ms, unpublished_only, max);
            }
        }
        self.check();
    }

    fn reserve(&mut self, epoch: u32, request: &ReserveRequest) {
        let now = Timestamp::from_millis(self.now_ms);
        let seq = self.ledger.levels().seq;
        let expected = self.oracle.refuse(epoch, request, self.now_ms);
        let outcome = self.ledger.reserve(Epoch::new(epoch), request, now);
        self.coverage.count(&outcome);
        match (expected, outcome) {
            (None, ReserveOutcome::Reserved(attempt)) => {
                let at = self.now_ms.max(self.oracle.latest_ms);
                assert_eq!(attempt.id, request.attempt);
                assert_eq!(attempt.user, request.user);
                assert_eq!(attempt.quantity, request.quantity);
                assert_eq!(attempt.epoch, Epoch::new(epoch));
                assert_eq!(attempt.reserved_at, Timestamp::from_millis(at));
                assert!(attempt.seq > seq);
                self.oracle.latest_ms = at;
                let allocation = Allocation {
                    attempt: attempt.id,
                    quantity: attempt.quantity,
                    epoch: attempt.epoch,
                    seq: attempt.seq,
                    reserved_at: attempt.reserved_at,
                    state: AllocationState::Reserved { logged: false },
                };
                self.oracle
                    .allocations
                    .push((attempt.user.clone(), allocation));
                self.attempts.push(attempt);
            }
            (expected, outcome) => assert_eq!(Some(outcome), expected),
        }
    }

    fn settle(&mut self, attempt: usize, other_id: bool, decision: DecisionKind, units: u8) {
        let Some(mut attempt) = self.attempt(attempt) else {
            return;
        };
        if other_id {
            attempt.id = attempt_id(self.id());
            attempt.quantity = Quantity::new(u32::from(units)).unwrap();
        }
        let settlement = Settlement {
            user: attempt.user,
            attempt: attempt.id,
            quantity: attempt.quantity,
            reserved_at: attempt.reserved_at,
            decision: match decision {
                DecisionKind::Success => Decision::Success(order(self.id())),
                DecisionKind::Duplicate => Decision::Failed(FailReason::Duplicate(Kept {
                    order: order(self.id()),
                    attempt: attempt_id(self.ids),
                    quantity: Quantity::new(u32::from(units)).unwrap(),
                })),
                DecisionKind::Failed(reason) => Decision::Failed(reason),
            },
        };
        let expected = self.oracle.settle(&settlement);
        let outcome = self.ledger.settle(&settlement);
        self.coverage.count(&outcome);
        assert_eq!(outcome, expected, "{settlement:?}");
        // Settling twice changes nothing. Drift alone is told again: it still is not settled.
        let before = self.ledger.levels();
        let again = self.ledger.settle(&settlement);
        let told_again = match outcome {
            SettleOutcome::Drift => SettleOutcome::Drift,
            // Without an allocation a failure is not this store's concern, whatever it was before.
            _ => SettleOutcome::Unchanged,
        };
        assert_eq!(again, told_again);
        assert_eq!(self.ledger.levels(), before);
    }

    fn apply(&mut self, version: i8, change: SaleChange) {
        let next = self.oracle.version + 1;
        let version = next.saturating_add_signed(i64::from(version));
        let outcome = self.ledger.apply(&StockEvent { version, change });
        self.coverage.count(&outcome);
        if version != next {
            let expected = if version < next {
                ApplyOutcome::Stale
            } else {
                ApplyOutcome::Gap { expected: next }
            };
            assert_eq!(outcome, expected);
            return;
        }
        let available = self.oracle.available();
        if matches!(change, SaleChange::Withdraw(units) if units > available) {
            assert_eq!(outcome, ApplyOutcome::TooFew { available });
            return;
        }
        assert_eq!(outcome, ApplyOutcome::Applied);
        self.oracle.version = version;
        let recovering = self.oracle.phase == Phase::Recovering;
        match change {
            SaleChange::Restock(units) => self.oracle.units += units,
            SaleChange::Close => self.oracle.phase = Phase::Closed,
            SaleChange::Pause if !recovering => self.oracle.phase = Phase::Paused,
            SaleChange::Resume if !recovering => self.oracle.phase = Phase::Open,
            SaleChange::Withdraw(units) => self.oracle.units -= units,
            SaleChange::Extend(end) => self.oracle.end_ms = end.as_millis(),
            SaleChange::Pause | SaleChange::Resume => {}
        }
    }

    fn open(&mut self, epoch: i8, remaining: u64) {
        let epoch = near(self.oracle.epoch, epoch);
        let outcome = self.ledger.opening(Epoch::new(epoch));
        self.coverage.count(&outcome);
        let expected = if epoch < self.oracle.epoch {
            OpenOutcome::Stale(Epoch::new(self.oracle.epoch))
        } else if epoch == self.oracle.opened {
            OpenOutcome::AlreadyOpen
        } else {
            OpenOutcome::Opened
        };
        assert_eq!(outcome, expected);
        if outcome == OpenOutcome::Opened {
            let version = self.oracle.version;
            self.sale.epoch = Epoch::new(epoch);
            self.ledger = Ledger::open(self.sale, snapshot(version, remaining));
            self.oracle = Oracle::open(epoch, version, remaining);
        }
    }

    fn look(&mut self, min_age_ms: u16, unpublished_only: bool, max: usize) {
        let now = Timestamp::from_millis(self.now_ms);
        let latest_ms = self.now_ms.max(self.oracle.latest_ms);
        let before = Timestamp::from_millis(latest_ms - i64::from(min_age_ms));
        let unpublished = AllocationState::Reserved { logged: false };
        let expected: Vec<_> = self
            .oracle
            .undecided()
            .into_iter()
            .filter(|(_, allocation)| allocation.reserved_at <= before)
            .filter(|(_, allocation)| !unpublished_only || allocation.state == unpublished)
            .map(|(user, allocation)| allocation.to_attempt(self.sale.id, self.sale.product, user))
            .take(max)
            .collect();
        assert_eq!(
            self.ledger
                .undecided(now, min_age_ms.into(), unpublished_only, max),
            expected
        );
    }

    /// What has to hold after every step.
    fn check(&self) {
        let (oracle, levels) = (&self.oracle, self.ledger.levels());
        let reserved =
            |allocation: &Allocation| matches!(allocation.state, AllocationState::Reserved { .. });
        let unpublished = |allocation: &Allocation| {
            allocation.state == AllocationState::Reserved { logged: false }
        };
        assert_eq!(levels.reserved, oracle.sum(reserved));
        assert_eq!(levels.sold, oracle.sum(|allocation| !reserved(allocation)));
        assert_eq!(levels.available, oracle.available());
        assert_eq!(
            levels.available + levels.reserved + levels.sold,
            oracle.units
        );
        assert_eq!(levels.phase, oracle.phase);
        assert_eq!(levels.version, oracle.version);
        assert_eq!(levels.epoch, Epoch::new(oracle.epoch));
        let undecided = oracle.undecided();
        assert_eq!(levels.undecided, undecided.len() as u64);
        let count = undecided
            .iter()
            .filter(|(_, allocation)| unpublished(allocation))
            .count();
        assert_eq!(levels.unpublished, count as u64);
        let oldest = undecided
            .first()
            .map(|(_, allocation)| allocation.reserved_at);
        assert_eq!(levels.oldest_reserved_at, oldest);
        for number in 0..6 {
            let user = user(number);
            assert_eq!(self.ledger.allocation(&user), oracle.allocation(&user));
        }
    }
}

fn snapshot(version: u64, remaining: u64) -> StockSnapshot {
    StockSnapshot {
        window: WINDOW,
        phase: Phase::Open,
        version,
        remaining,
        buyers: vec![],
    }
}

#[test]
fn random_commands_are_answered_as_by_the_oracle_and_every_answer_is_given() {
    let config = Config {
        cases: 1_500,
        failure_persistence: None,
        ..Config::default()
    };
    let coverage = std::cell::RefCell::new(Coverage::default());
    let commands = prop::collection::vec(command(), 1..80);
    let ran = TestRunner::new(config).run(&(1..9_u64, commands), |(stock, commands)| {
        let mut coverage = coverage.borrow_mut();
        let mut run = Run::new(stock, &mut coverage);
        for command in &commands {
            run.command(command);
        }
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    // `Sold` and `NotLoaded` are answers of a store, not of a ledger: the suites reach them.
    let answers = [
        "ReserveOutcome::Reserved",
        "ReserveOutcome::AlreadyAllocated",
        "ReserveOutcome::SoldOut",
        "ReserveOutcome::NotStarted",
        "ReserveOutcome::Ended",
        "ReserveOutcome::Paused",
        "ReserveOutcome::Recovering",
        "SettleOutcome::Confirmed",
        "SettleOutcome::Released",
        "SettleOutcome::Voided",
        "SettleOutcome::Merged",
        "SettleOutcome::Adopted",
        "SettleOutcome::Healed",
        "SettleOutcome::Drift",
        "SettleOutcome::Unchanged",
        "ApplyOutcome::Applied",
        "ApplyOutcome::Stale",
        "ApplyOutcome::Gap",
        "ApplyOutcome::TooFew",
        "OpenOutcome::Opened",
        "OpenOutcome::AlreadyOpen",
        "OpenOutcome::Stale",
    ];
    let coverage = coverage.into_inner().0;
    for answer in answers {
        assert!(
            coverage.contains_key(answer),
            "{answer} is never given: {coverage:?}"
        );
    }
}
