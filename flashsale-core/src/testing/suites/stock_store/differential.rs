use std::collections::HashMap;

use super::bench::{Bench, order, settlement};
use crate::domain::{
    Allocation, AllocationState, ApplyOutcome, Attempt, Buyer, Decision, Epoch, FailReason, Kept,
    Ledger, OpenOutcome, ReserveOutcome, ReserveRequest, SaleChange, SaleId, SaleRef, SaleResult,
    Settlement, StockEvent, StockSnapshot, Timestamp, UserId,
};
use crate::testing::report::{Checked, Ran, ensure_eq};
use crate::testing::samples::{START, WINDOW, fresh_attempt_id, units, user};
use crate::testing::{Fixture, Seeded, StockStoreRig, Violation};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

const COMMANDS: usize = 250;
const USERS: u64 = 12;
const STOCK: u64 = 9;

/// Several sales, 250 random commands each: the store has to give the same answers as the ledger,
/// and to keep the results that supersede the others.
pub(super) async fn random_commands_are_answered_as_by_the_ledger(rigs: Rigs<'_>) -> Checked {
    for seed in 0..rigs.random_sales() {
        let mut run = Run::new(rigs, seed).await?;
        for number in 0..COMMANDS {
            let before = format!("{:?}", run.ledger.levels());
            run.command().await.map_err(|violation| {
                Violation::new(format!(
                    "seed {seed}, command {number}, after {before}: {violation}"
                ))
            })?;
        }
    }
    Ok(Ran::Yes)
}

/// A store and the ledger it has to agree with.
struct Run<'a> {
    bench: Bench<'a>,
    ledger: Ledger,
    random: Seeded,
    now: Timestamp,
    /// The latest moment so far.
    latest: Timestamp,
    /// Whether a new stock remembers the time before it is left open: the clock does not go back
    /// beyond the moment of the last open.
    earliest: Timestamp,
    /// What was ever reserved, to settle it well or badly.
    attempts: Vec<Attempt>,
    orders: i64,
    results: HashMap<UserId, SaleResult>,
}

impl<'a> Run<'a> {
    async fn new(rigs: Rigs<'a>, seed: u64) -> Result<Self, Violation> {
        let bench = Bench::open(rigs, STOCK).await?;
        let earliest = START.plus_ms(-200);
        Ok(Self {
            ledger: Ledger::open(bench.sale, bench.snapshot()),
            random: Seeded::new(seed),
            now: earliest,
            latest: earliest,
            earliest,
            attempts: Vec::new(),
            orders: 0,
            results: HashMap::new(),
            bench,
        })
    }

    async fn command(&mut self) -> Result<(), Violation> {
        match self.random.below(100) {
            0..40 => self.reserve().await?,
            40..65 => self.settle().await?,
            65..75 => self.acknowledge().await?,
            75..84 => self.apply().await?,
            84..86 => self.fence().await?,
            86..90 => self.open().await?,
            90..94 => self.put_results().await?,
            _ => self.look().await?,
        }
        let levels = self.bench.store.levels(&self.bench.sale).await?;
        ensure_eq!("the levels", levels, Some(self.ledger.levels()));
        Ok(())
    }

    /// The sale, mostly at its present epoch.
    fn sale(&mut self) -> SaleRef {
        let present = self.ledger.sale();
        let epoch = match self.random.below(20) {
            0 => Epoch::new(present.epoch.get().saturating_sub(1)),
            1 => present.epoch.next(),
            _ => present.epoch,
        };
        SaleRef { epoch, ..present }
    }

    fn move_clock(&mut self) {
        let step = match self.random.below(12) {
            0 => -(self.random.below(400) as i64),
            1 => self.random.below(WINDOW.end.since_ms(WINDOW.start) / 3) as i64,
            _ => self.random.below(60) as i64,
        };
        self.now = self.now.plus_ms(step).max(self.earliest);
        self.latest = self.latest.max(self.now);
        self.bench.clock.set(self.now);
    }

    async fn reserve(&mut self) -> Result<(), Violation> {
        self.move_clock();
        let sale = self.sale();
        let requests: Vec<_> = (0..=self.random.below(5))
            .map(|_| ReserveRequest {
                attempt: fresh_attempt_id(),
                user: user(self.random.below(USERS)),
                quantity: units(1 + self.random.below(3) as u32 / 2),
            })
            .collect();
        let answers = self.bench.store.reserve(&sale, &requests).await?;
        let expected: Vec<_> = requests
            .iter()
            .map(|request| self.ledger.reserve(sale.epoch, request, self.now))
            .collect();
        self.attempts
            .extend(expected.iter().filter_map(|outcome| match outcome {
                ReserveOutcome::Reserved(attempt) => Some(attempt.clone()),
                _ => None,
            }));
        ensure_eq!(format!("{requests:?} at {}", self.now), answers, expected);
        Ok(())
    }

    /// An attempt that was made, or one that never was.
    fn attempt(&mut self) -> Attempt {
        let made = self.attempts.len() as u64;
        if made > 0 && !self.random.percent(10) {
            // Mostly one of the last, which are likely to be undecided.
            let last = if self.random.percent(70) { 8 } else { made };
            let back = self.random.below(last.min(made)) as usize;
            return self.attempts[self.attempts.len() - 1 - back].clone();
        }
        let sale = self.ledger.sale();
        let number = self.random.below(USERS);
        crate::testing::samples::attempt(&sale, user(number), 3)
    }

    fn decision(&mut self) -> Decision {
        self.orders += 1;
        let kept = Kept {
            order: order(self.orders),
            attempt: fresh_attempt_id(),
            quantity: units(1 + self.random.below(2) as u32),
        };
        match self.random.below(10) {
            0..4 => Decision::Success(order(self.orders)),
            4 => Decision::Failed(FailReason::NoStock),
            5 => Decision::Failed(FailReason::Duplicate(kept)),
            6 => Decision::Failed(FailReason::StaleEpoch),
            7 => Decision::Failed(FailReason::Expired),
            _ => Decision::Failed(FailReason::Cancelled),
        }
    }

    async fn settle(&mut self) -> Result<(), Violation> {
        let mut batch: Vec<Settlement> = Vec::new();
        for _ in 0..=self.random.below(4) {
            let repeated = self.random.percent(15);
            match batch.last() {
                Some(last) if repeated => batch.push(last.clone()),
                _ => {
                    let (attempt, decision) = (self.attempt(), self.decision());
                    batch.push(settlement(&attempt, decision));
                }
            }
        }
        let sale = self.sale();
        let answers = self.bench.store.settle(&sale, &batch).await?;
        let expected: Vec<_> = batch.iter().map(|s| self.ledger.settle(s)).collect();
        ensure_eq!(format!("{batch:?}"), answers, expected);
        Ok(())
    }

    async fn acknowledge(&mut self) -> Result<(), Violation> {
        let batch: Vec<_> = (0..=self.random.below(4)).map(|_| self.attempt()).collect();
        let sale = self.sale();
        self.bench.store.acknowledge(&sale, &batch).await?;
        for attempt in &batch {
            self.ledger.acknowledge(&attempt.user, attempt.id);
        }
        Ok(())
    }

    async fn apply(&mut self) -> Result<(), Violation> {
        let change = match self.random.below(50) {
            0..12 => SaleChange::Pause,
            12..30 => SaleChange::Resume,
            30..39 => SaleChange::Restock(1 + self.random.below(2)),
            39..45 => SaleChange::Withdraw(1 + self.random.below(2)),
            45..49 => {
                let later = self.random.below(1_000).cast_signed();
                SaleChange::Extend(WINDOW.end.plus_ms(later))
            }
            _ => SaleChange::Close,
        };
        // Mostly the next version, sometimes an old one or one too far.
        let next = self.ledger.levels().version + 1;
        let version = match self.random.below(10) {
            0 => next - 1,
            1 => next.saturating_sub(2),
            2 => next + 1,
            3 => next + 2,
            _ => next,
        };
        let event = StockEvent { version, change };
        let answer = self.bench.store.apply(&self.bench.sale, &event).await?;
        let expected: ApplyOutcome = self.ledger.apply(&event);
        ensure_eq!(format!("{event:?}"), answer, expected);
        Ok(())
    }

    async fn fence(&mut self) -> Result<(), Violation> {
        let sale = self.sale();
        let answer = self.bench.store.fence(&sale).await?;
        self.ledger.fence(sale.epoch);
        ensure_eq!(
            format!("fence {sale:?}"),
            answer,
            Some(self.ledger.levels())
        );
        Ok(())
    }

    async fn open(&mut self) -> Result<(), Violation> {
        let mut sale = self.sale();
        if self.random.percent(50) {
            sale.epoch = self.ledger.sale().epoch.next();
        }
        let buyers: Vec<_> = (0..USERS)
            .filter_map(|number| {
                let allocation = self.ledger.allocation(&user(number))?;
                let AllocationState::Sold(order) = allocation.state else {
                    return None;
                };
                Some(buyer(number, allocation, order))
            })
            .take(2)
            .collect();
        let snapshot = StockSnapshot {
            remaining: STOCK,
            buyers,
            version: self.ledger.levels().version,
            ..self.bench.snapshot()
        };
        let answer = self.bench.store.open(&sale, &snapshot).await?;
        let expected = self.ledger.opening(sale.epoch);
        if expected == OpenOutcome::Opened {
            self.ledger = Ledger::open(sale, snapshot);
            self.earliest = self.latest;
            // Whether seq goes on or starts anew under a new epoch is left open too.
            let levels = self.bench.levels().await?;
            self.ledger.resume_at(levels.seq);
        }
        ensure_eq!(format!("open {sale:?}"), answer, expected);
        Ok(())
    }

    /// A result of this sale or of another of the product, some of whose ids have more digits than
    /// others or differ only where a float would not see it.
    fn result(&mut self) -> SaleResult {
        let id = match self.random.below(6) {
            0 => self.bench.sale.id.get() + 1,
            1 => 9,
            2 => 10,
            3 => (1 << 53) + self.random.below(2).cast_signed(),
            _ => self.bench.sale.id.get(),
        };
        let decision = self.decision();
        SaleResult {
            user: user(self.random.below(USERS / 3)),
            product: self.bench.sale.product,
            sale: SaleId::new(id).expect("positive"),
            attempt: fresh_attempt_id(),
            decision,
            reserved_at: START.plus_ms(self.random.below(4).cast_signed() - 1),
        }
    }

    async fn put_results(&mut self) -> Result<(), Violation> {
        let results: Vec<_> = (0..=self.random.below(5)).map(|_| self.result()).collect();
        self.bench.store.put_results(&results).await?;
        for new in results {
            match self.results.get_mut(&new.user) {
                Some(kept) if !new.supersedes(kept) => {}
                Some(kept) => *kept = new,
                None => {
                    self.results.insert(new.user.clone(), new);
                }
            }
        }
        let users: Vec<_> = (0..USERS).map(user).collect();
        let product = self.bench.sale.product;
        let kept = self.bench.store.results(product, &users).await?;
        let expected: Vec<_> = users.iter().map(|u| self.results.get(u).cloned()).collect();
        ensure_eq!("the results", kept, expected);
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Violation> {
        let users: Vec<_> = (0..USERS).map(user).collect();
        let sale = self.sale();
        let allocations = self.bench.store.allocations(&sale, &users).await?;
        let expected: Vec<_> = users
            .iter()
            .map(|u| self.ledger.allocation(u).cloned())
            .collect();
        ensure_eq!("the allocations", allocations, expected);
        let min_age_ms = self.random.below(200);
        let max = 1 + self.random.below(6) as usize;
        let unpublished = self.bench.store.unpublished(&sale, min_age_ms, max).await?;
        ensure_eq!(
            "unpublished",
            unpublished,
            self.ledger.undecided(self.now, min_age_ms, true, max)
        );
        let overdue = self.bench.store.overdue(&sale, min_age_ms, max).await?;
        ensure_eq!(
            "overdue",
            overdue,
            self.ledger.undecided(self.now, min_age_ms, false, max)
        );
        Ok(())
    }
}

fn buyer(number: u64, allocation: &Allocation, order: crate::domain::OrderId) -> Buyer {
    Buyer {
        user: user(number),
        attempt: allocation.attempt,
        quantity: allocation.quantity,
        order,
        reserved_at: allocation.reserved_at,
    }
}
