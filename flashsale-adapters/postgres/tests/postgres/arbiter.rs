//! Several arbiters on one database, and the function of the database against the rules of core.

use std::collections::{BTreeMap, HashSet};

use flashsale_core::domain::{
    Arbiter, Attempt, Decision, Epoch, FailReason, OrderId, Quantity, SaleChange, SaleRef,
};
use flashsale_core::ports::{BATCH_MAX, OrderRepo, SaleRepo};
use flashsale_core::testing::Seeded;
use flashsale_postgres::PostgresDatabase;

use crate::shop;

#[tokio::test(flavor = "multi_thread")]
async fn two_arbiters_decide_the_same_batches_once() {
    let (url, database) = shop::fresh().await;
    let sale = shop::sale(&database, 700).await.key();
    // Each batch shares half of its attempts with the next, and some users try twice.
    let all = shop::attempts(&sale, 1_000);
    let mut seconds: Vec<_> = all.iter().step_by(7).map(|a| a.user.clone()).collect();
    let batches: Vec<Vec<_>> = (0..19)
        .map(|i| {
            let mut batch = all[i * 50..(i + 2) * 50].to_vec();
            batch.extend(seconds.pop().map(|user| shop::attempt(&sale, user)));
            batch
        })
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for arbiter in 0..3 {
        let (orders, mut batches) = (shop::database(url.as_str()).orders(), batches.clone());
        batches.rotate_left(arbiter * 5);
        tasks.spawn(async move {
            let mut decided = Vec::new();
            for batch in batches {
                let decisions = orders.commit(&sale, &batch).await.unwrap();
                decided.extend(batch.into_iter().zip(decisions));
            }
            decided
        });
    }
    let mut decisions = BTreeMap::new();
    let mut buyers = HashSet::new();
    for (attempt, decision) in tasks.join_all().await.into_iter().flatten() {
        let first = *decisions.entry(attempt.id).or_insert(decision);
        assert_eq!(first, decision, "an attempt is decided once");
        if let Decision::Success(order) = decision {
            buyers.insert((attempt.user, order));
        }
    }
    let users: HashSet<_> = buyers.iter().map(|(user, _)| user).collect();
    let orders: HashSet<_> = buyers.iter().map(|(_, order)| order).collect();
    assert_eq!((buyers.len(), users.len(), orders.len()), (700, 700, 700));
    let totals = database.orders().totals(sale.id).await.unwrap().unwrap();
    assert_eq!(
        (totals.sold, totals.remaining, totals.doubled_users),
        (700, 0, 0)
    );
    assert_eq!(totals.orders + totals.failed, decisions.len() as u64);
}

/// An arbiter and the database that has to agree with it.
struct Run {
    database: PostgresDatabase,
    sale: SaleRef,
    arbiter: Arbiter,
    random: Seeded,
    made: Vec<Attempt>,
}

impl Run {
    fn attempt(&mut self, users: u64) -> Attempt {
        let made = self.made.len() as u64;
        if made > 0 && self.random.percent(15) {
            return self.made[self.random.below(made) as usize].clone();
        }
        let epoch = match self.random.below(30) {
            0 => Epoch::new(0),
            1 => self.sale.epoch.next(),
            _ => self.sale.epoch,
        };
        let attempt = Attempt {
            quantity: Quantity::new(1 + self.random.below(4) as u32).unwrap(),
            epoch,
            seq: self.random.next_number(),
            ..shop::attempt(&self.sale, shop::user(self.random.below(users)))
        };
        self.made.push(attempt.clone());
        attempt
    }

    async fn step(&mut self, size: u64, users: u64) {
        let batch: Vec<_> = (0..size).map(|_| self.attempt(users)).collect();
        let orders = self.database.orders();
        let (decisions, expected): (_, Vec<_>) = if self.random.percent(10) {
            let reason = FailReason::Expired;
            let decisions = orders.release(&self.sale, &batch, reason).await.unwrap();
            let ruled = batch.iter().map(|a| self.arbiter.fail(a, reason).decision);
            (decisions, ruled.collect())
        } else {
            let decisions = orders.commit(&self.sale, &batch).await.unwrap();
            let told = batch.iter().zip(&decisions);
            let ruled = told.map(|(a, told)| self.arbiter.decide(a, order(told)).decision);
            let ruled = ruled.collect();
            (decisions, ruled)
        };
        assert_eq!(decisions, expected, "{batch:?}");
        let totals = orders.totals(self.sale.id).await.unwrap().unwrap();
        assert_eq!(totals.remaining, self.arbiter.remaining());
        assert_eq!(totals.remaining + totals.sold, totals.stock);
    }

    async fn restock(&mut self, units: u64) {
        let restock = SaleChange::Restock(units);
        self.database
            .sales()
            .change(self.sale.id, restock, None)
            .await
            .unwrap();
        self.arbiter.restock(units);
    }

    /// What is stored is what was told.
    async fn ensure_stored(&self) {
        let ids: Vec<_> = self.made.iter().map(|attempt| attempt.id).collect();
        for (ids, made) in ids.chunks(BATCH_MAX).zip(self.made.chunks(BATCH_MAX)) {
            let found = self.database.orders().find(ids).await.unwrap();
            for (order, attempt) in found.into_iter().zip(made) {
                let decision = order.as_ref().map(|order| order.decision);
                assert_eq!(decision, self.arbiter.find(attempt.id), "{attempt:?}");
                let order = order.unwrap();
                assert_eq!((order.attempt, &order.user), (attempt.id, &attempt.user));
                assert_eq!(order.quantity, attempt.quantity);
            }
        }
    }
}

fn order(decision: &Decision) -> OrderId {
    match decision {
        Decision::Success(order) => *order,
        Decision::Failed(_) => OrderId::new(1).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_are_decided_as_by_the_arbiter() {
    let (_, database) = shop::fresh().await;
    // Few users and few units, many users and enough units, and both in between.
    for (seed, (users, stock)) in
        (0..).zip([(20, 30), (100_000, 100_000), (300, 200), (2_000, 900)])
    {
        let sale = shop::sale(&database, stock).await.key();
        let mut run = Run {
            database: database.clone(),
            sale,
            arbiter: Arbiter::new(sale.epoch, stock),
            random: Seeded::new(seed),
            made: Vec::new(),
        };
        for step in 0..25 {
            println!("seed {seed}, step {step}");
            let size = match run.random.below(4) {
                0 => 1 + run.random.below(5),
                1 => BATCH_MAX as u64,
                _ => 1 + run.random.below(200),
            };
            run.step(size, users).await;
            if run.random.percent(20) {
                let units = 1 + run.random.below(50);
                run.restock(units).await;
            }
        }
        run.ensure_stored().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_pages_by_id_misses_nothing() {
    let (url, database) = shop::fresh().await;
    let sales = [
        shop::sale(&database, 100_000).await.key(),
        shop::sale(&database, 100_000).await.key(),
    ];
    const BATCHES: usize = 40;
    const SIZE: usize = 25;
    let mut tasks = tokio::task::JoinSet::new();
    for committer in 0..4 {
        let (orders, sale) = (shop::database(url.as_str()).orders(), sales[committer % 2]);
        tasks.spawn(async move {
            for _ in 0..BATCHES {
                let batch = shop::attempts(&sale, SIZE);
                orders.commit(&sale, &batch).await.unwrap();
            }
        });
    }
    let orders = database.orders();
    let mut listed = Vec::new();
    let sale = sales[0].id;
    let reading = async {
        while listed.len() < 2 * BATCHES * SIZE {
            let after = listed.last().copied();
            let page = orders.list(sale, after, 60).await.unwrap();
            listed.extend(page.into_iter().map(|order| order.id));
        }
    };
    tokio::time::timeout(shop::PATIENCE, reading).await.unwrap();
    tasks.join_all().await;
    let all = orders.list(sale, None, 100_000).await.unwrap();
    let all: Vec<_> = all.into_iter().map(|order| order.id).collect();
    assert_eq!(listed, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_an_epoch_before_a_recovery_is_stale() {
    let (url, database) = shop::fresh().await;
    let sale = shop::sale(&database, 10).await.key();
    shop::psql(&url, "UPDATE flash_sales SET epoch = 5, sealed_epoch = 5");
    let of = |epoch, user| Attempt {
        epoch: Epoch::new(epoch),
        ..shop::attempt(&sale, shop::user(user))
    };
    let batch = [of(4, 1), of(5, 1), of(6, 2), of(u32::MAX, 3)];
    let decisions = database.orders().commit(&sale, &batch).await.unwrap();
    let stale = Decision::Failed(FailReason::StaleEpoch);
    let [first, rest @ ..] = decisions.as_slice() else {
        panic!()
    };
    assert_eq!(*first, stale);
    assert!(
        rest.iter().all(|d| matches!(d, Decision::Success(_))),
        "{rest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_values_are_kept() {
    let (_, database) = shop::fresh().await;
    let sale = shop::sale(&database, flashsale_core::domain::UNITS_MAX)
        .await
        .key();
    let longest = "~".repeat(64);
    let attempt = Attempt {
        user: flashsale_core::domain::UserId::new(&longest).unwrap(),
        quantity: Quantity::new(u32::MAX).unwrap(),
        seq: u64::MAX,
        epoch: Epoch::new(u32::MAX),
        reserved_at: flashsale_core::domain::Timestamp::from_millis(i64::MIN),
        ..shop::attempt(&sale, shop::user(0))
    };
    let batch: Vec<_> = (0..300)
        .map(|n| Attempt {
            user: shop::user(n),
            ..Attempt {
                id: shop::attempt(&sale, shop::user(n)).id,
                ..attempt.clone()
            }
        })
        .chain([attempt.clone()])
        .collect();
    let decisions = database.orders().commit(&sale, &batch).await.unwrap();
    let won = decisions
        .iter()
        .filter(|d| matches!(d, Decision::Success(_)));
    assert_eq!(
        won.count(),
        256,
        "2^40 units hold (2^32 - 1) units 256 times"
    );
    let found = database.orders().find(&[attempt.id]).await.unwrap();
    let order = found[0].as_ref().unwrap();
    assert_eq!(
        (order.user.as_str(), order.quantity),
        (longest.as_str(), attempt.quantity)
    );
    assert_eq!(order.reserved_at, attempt.reserved_at);
}
