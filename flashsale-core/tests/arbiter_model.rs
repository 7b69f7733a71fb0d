//! The arbiter against an oracle that keeps every decision in one list and searches it each time.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, also in its own functions"
)]

use std::collections::BTreeSet;

use flashsale_core::domain::{
    Arbiter, Attempt, AttemptId, Decision, Epoch, FailReason, Kept, OrderId, ProductId, Quantity,
    SaleId, Timestamp, UserId,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[derive(Clone, Debug)]
enum Command {
    /// A new attempt.
    Decide {
        user: u8,
        units: u8,
        epoch: u32,
    },
    /// An old one again.
    Again {
        attempt: usize,
    },
    Fail {
        user: u8,
        again: Option<usize>,
    },
    UndoLast,
    Restock(u64),
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => (0..8_u8, 1..4_u8, prop_oneof![1 => Just(1), 8 => Just(2), 1 => Just(3)])
            .prop_map(|(user, units, epoch)| Command::Decide { user, units, epoch }),
        2 => (0..1_000_usize).prop_map(|attempt| Command::Again { attempt }),
        2 => (0..8_u8, prop::option::of(0..1_000_usize))
            .prop_map(|(user, again)| Command::Fail { user, again }),
        1 => Just(Command::UndoLast),
        1 => (1..3_u64).prop_map(Command::Restock),
    ]
}

/// All that was decided, and all the stock there ever was.
struct Oracle {
    stock: u64,
    decided: Vec<(Attempt, Decision)>,
}

impl Oracle {
    fn sold(&self) -> u64 {
        let orders = self.orders();
        orders.map(|(attempt, _)| attempt.quantity.units()).sum()
    }

    fn orders(&self) -> impl Iterator<Item = &(Attempt, Decision)> {
        let decided = self.decided.iter();
        decided.filter(|(_, decision)| matches!(decision, Decision::Success(_)))
    }

    fn find(&self, id: AttemptId) -> Option<Decision> {
        let mut decided = self.decided.iter();
        decided
            .find(|(attempt, _)| attempt.id == id)
            .map(|(_, decision)| *decision)
    }

    fn fresh(&self, attempt: &Attempt, order: OrderId) -> Decision {
        let kept = self.orders().find(|(other, _)| other.user == attempt.user);
        match kept {
            _ if attempt.epoch.get() < 2 => Decision::Failed(FailReason::StaleEpoch),
            Some((other, Decision::Success(order))) => {
                Decision::Failed(FailReason::Duplicate(Kept {
                    order: *order,
                    attempt: other.id,
                    quantity: other.quantity,
                }))
            }
            _ if self.stock - self.sold() < attempt.quantity.units() => {
                Decision::Failed(FailReason::NoStock)
            }
            _ => Decision::Success(order),
        }
    }
}

struct Run {
    arbiter: Arbiter,
    oracle: Oracle,
    attempts: Vec<Attempt>,
    reached: BTreeSet<&'static str>,
}

impl Run {
    fn new(stock: u64) -> Self {
        Self {
            arbiter: Arbiter::new(Epoch::new(2), stock),
            oracle: Oracle {
                stock,
                decided: vec![],
            },
            attempts: Vec::new(),
            reached: BTreeSet::new(),
        }
    }

    fn attempt(&mut self, user: u8, units: u8, epoch: u32) -> Attempt {
        let number = self.attempts.len() as u64 + 1;
        let attempt = Attempt {
            id: AttemptId::from_uuid(uuid::Uuid::from_u128(number.into())),
            sale: SaleId::new(1).unwrap(),
            product: ProductId::new(1).unwrap(),
            user: UserId::new(format!("u{user}")).unwrap(),
            quantity: Quantity::new(units.into()).unwrap(),
            epoch: Epoch::new(epoch),
            seq: number,
            reserved_at: Timestamp::from_millis(5),
        };
        self.attempts.push(attempt.clone());
        attempt
    }

    fn old(&self, index: usize) -> Option<Attempt> {
        let count = self.attempts.len();
        (count > 0).then(|| self.attempts[index % count].clone())
    }

    fn command(&mut self, command: &Command) {
        match *command {
            Command::Decide { user, units, epoch } => {
                let attempt = self.attempt(user, units, epoch);
                self.decide(&attempt);
            }
            Command::Again { attempt } => {
                if let Some(attempt) = self.old(attempt) {
                    self.decide(&attempt);
                }
            }
            Command::Fail { user, again } => {
                let old = again.and_then(|index| self.old(index));
                let attempt = old.unwrap_or_else(|| self.attempt(user, 1, 2));
                let known = self.oracle.find(attempt.id);
                let expected = known.unwrap_or(Decision::Failed(FailReason::Expired));
                let ruling = self.arbiter.fail(&attempt, FailReason::Expired);
                assert_eq!((ruling.decision, ruling.fresh), (expected, known.is_none()));
                if ruling.fresh {
                    self.oracle.decided.push((attempt, expected));
                }
            }
            Command::UndoLast => {
                if let Some((attempt, _)) = self.oracle.decided.pop() {
                    self.arbiter.undo(&attempt);
                }
            }
            Command::Restock(units) => {
                self.arbiter.restock(units);
                self.oracle.stock += units;
            }
        }
        self.check();
    }

    fn decide(&mut self, attempt: &Attempt) {
        let order = OrderId::new(self.oracle.decided.len() as i64 + 1).unwrap();
        let known = self.oracle.find(attempt.id);
        let expected = known.unwrap_or_else(|| self.oracle.fresh(attempt, order));
        let ruling = self.arbiter.decide(attempt, order);
        assert_eq!((ruling.decision, ruling.fresh), (expected, known.is_none()));
        self.reached.insert(match (known, ruling.decision) {
            (Some(_), _) => "known",
            (None, Decision::Success(_)) => "success",
            (None, Decision::Failed(reason)) => reason.name(),
        });
        if ruling.fresh {
            self.oracle.decided.push((attempt.clone(), expected));
        }
    }

    /// What has to hold after every step.
    fn check(&self) {
        let oracle = &self.oracle;
        assert!(oracle.sold() <= oracle.stock, "units are oversold");
        assert_eq!(self.arbiter.remaining(), oracle.stock - oracle.sold());
        let users: Vec<_> = oracle.orders().map(|(attempt, _)| &attempt.user).collect();
        let distinct: BTreeSet<_> = users.iter().collect();
        assert_eq!(users.len(), distinct.len(), "a user has two orders");
        for attempt in &self.attempts {
            assert_eq!(self.arbiter.find(attempt.id), oracle.find(attempt.id));
        }
    }
}

#[test]
fn random_attempts_are_decided_as_by_the_oracle_and_every_decision_is_reached() {
    let config = Config {
        cases: 1_000,
        failure_persistence: None,
        ..Config::default()
    };
    let reached = std::cell::RefCell::new(BTreeSet::new());
    let commands = prop::collection::vec(command(), 1..60);
    let ran = TestRunner::new(config).run(&(0..8_u64, commands), |(stock, commands)| {
        let mut run = Run::new(stock);
        for command in &commands {
            run.command(command);
        }
        reached.borrow_mut().append(&mut run.reached);
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    let all = ["DUPLICATE", "NO_STOCK", "STALE_EPOCH", "known", "success"];
    assert_eq!(reached.into_inner(), BTreeSet::from(all));
}
