use super::bench::Bench;
use crate::domain::{Arbiter, Attempt, Decision, Epoch, FailReason, OrderId, SaleChange};
use crate::testing::report::{Checked, Ran, ensure_eq};
use crate::testing::samples::units;
use crate::testing::{Fixture, OrderRepoRig, Seeded, Violation};

type Rigs<'a> = &'a dyn Fixture<OrderRepoRig>;

const COMMANDS: usize = 120;
const USERS: u64 = 15;
const STOCK: u64 = 6;

/// Several sales, 120 random commands each: the repository has to decide as the arbiter does.
pub(super) async fn random_attempts_are_decided_as_by_the_arbiter(rigs: Rigs<'_>) -> Checked {
    for seed in 0..rigs.random_sales() {
        let bench = Bench::open(rigs, STOCK).await?;
        let mut run = Run {
            arbiter: Arbiter::new(bench.sale.epoch, STOCK),
            bench,
            random: Seeded::new(seed),
            attempts: Vec::new(),
        };
        for number in 0..COMMANDS {
            run.command().await.map_err(|violation| {
                Violation::new(format!("seed {seed}, command {number}: {violation}"))
            })?;
        }
    }
    Ok(Ran::Yes)
}

/// A repository and the arbiter it has to agree with.
struct Run<'a> {
    bench: Bench<'a>,
    arbiter: Arbiter,
    random: Seeded,
    attempts: Vec<Attempt>,
}

impl Run<'_> {
    async fn command(&mut self) -> Result<(), Violation> {
        match self.random.below(10) {
            0 => self.restock().await?,
            1..3 => self.release().await?,
            _ => self.commit().await?,
        }
        let remaining = self.bench.totals().await?.remaining;
        ensure_eq!("units not sold", remaining, self.arbiter.remaining());
        Ok(())
    }

    async fn restock(&mut self) -> Result<(), Violation> {
        let units = 1 + self.random.below(2);
        self.arbiter.restock(units);
        self.bench.change(SaleChange::Restock(units)).await
    }

    /// New attempts, some of them old ones again.
    fn batch(&mut self) -> Vec<Attempt> {
        let count = 1 + self.random.below(6);
        (0..count).map(|_| self.attempt()).collect()
    }

    fn attempt(&mut self) -> Attempt {
        let made = self.attempts.len() as u64;
        if made > 0 && self.random.percent(30) {
            return self.attempts[self.random.below(made) as usize].clone();
        }
        let epoch = match self.random.below(10) {
            0 => Epoch::new(0),
            1 => self.bench.sale.epoch.next(),
            _ => self.bench.sale.epoch,
        };
        let attempt = Attempt {
            quantity: units(1 + self.random.below(2) as u32),
            epoch,
            ..self.bench.attempt(self.random.below(USERS))
        };
        self.attempts.push(attempt.clone());
        attempt
    }

    async fn commit(&mut self) -> Result<(), Violation> {
        let batch = self.batch();
        let decisions = self.bench.commit(&batch).await?;
        let expected: Vec<_> = batch
            .iter()
            .zip(&decisions)
            .map(|(attempt, told)| self.arbiter.decide(attempt, order_of(told)).decision)
            .collect();
        ensure_eq!(format!("commit {batch:?}"), decisions, expected);
        Ok(())
    }

    async fn release(&mut self) -> Result<(), Violation> {
        let batch = self.batch();
        let reason = match self.random.below(2) {
            0 => FailReason::Cancelled,
            _ => FailReason::Expired,
        };
        let decisions = self.bench.release(&batch, reason).await?;
        let expected: Vec<_> = batch
            .iter()
            .map(|attempt| self.arbiter.fail(attempt, reason).decision)
            .collect();
        ensure_eq!(format!("release {batch:?}"), decisions, expected);
        Ok(())
    }
}

/// The id that the repository has given: any will do.
fn order_of(decision: &Decision) -> OrderId {
    match decision {
        Decision::Success(order) => *order,
        Decision::Failed(_) => OrderId::new(1).expect("positive"),
    }
}
