//! What a call says when the server or a lock stands in its way, and that all works again by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flashsale_core::domain::{Attempt, AttemptId, Decision, SaleRef};
use flashsale_core::ports::{OrderRepo, SaleRepo};
use flashsale_core::{Effect, ErrorKind, PortError};
use flashsale_postgres::{PostgresConfig, PostgresDatabase, PostgresOrderRepo};
use flashsale_stack::Postgres;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::shop;

fn ensure_unavailable(fault: &PortError, effect: Effect) {
    assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault:?}");
    assert_eq!(fault.effect(), effect, "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_another_session_holds_is_unavailable_and_works_afterwards() {
    let (url, database) = shop::fresh().await;
    let sale = shop::sale(&database, 10).await.key();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let lock = "BEGIN; SELECT 1 FROM flash_sales FOR UPDATE";
    other.execute(lock).await.unwrap();
    let attempts = shop::attempts(&sale, 3);
    let orders = database.orders();
    for _ in 0..3 {
        let since = Instant::now();
        let fault = orders.commit(&sale, &attempts).await.unwrap_err();
        ensure_unavailable(&fault, Effect::None);
        // The tests wait half a second for a lock.
        let waited = since.elapsed();
        assert!(
            waited > Duration::from_millis(450) && waited < Duration::from_secs(3),
            "{waited:?}"
        );
    }
    // Reading waits for nobody.
    assert_eq!(orders.totals(sale.id).await.unwrap().unwrap().remaining, 10);
    other.execute("ROLLBACK").await.unwrap();
    let decisions = orders.commit(&sale, &attempts).await.unwrap();
    assert!(decisions.iter().all(|d| matches!(d, Decision::Success(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_with_somebody_else_is_unavailable_and_works_afterwards() {
    let (url, _) = shop::fresh().await;
    // The server looks for deadlocks once per wait, and has to find this one complete by then.
    shop::psql(
        &url,
        "DO $$ BEGIN EXECUTE format(
            'ALTER DATABASE %I SET deadlock_timeout = ''5s''', current_database()); END $$",
    );
    let config = PostgresConfig {
        lock_timeout_ms: 20_000,
        statement_timeout_ms: 25_000,
        ..PostgresConfig::new(url.as_str())
    };
    let database = PostgresDatabase::new(config).unwrap();
    let sale = shop::sale(&database, 10).await.key();
    let elsewhere = shop::sale(&database, 10).await.key();
    let attempts = shop::attempts(&sale, 1);
    // It inserts our attempt by hand, which we then wait for while it waits for our sale.
    let mut other = PgConnection::connect(&url).await.unwrap();
    let insert = format!(
        "SET deadlock_timeout = '1min'; BEGIN;
        INSERT INTO orders (sale_id, product_id, quantity, epoch, seq, reserved_ms, decided_ms,
            attempt_id, user_id, status)
        VALUES ({}, {}, 1, 1, 1, 1, 1, '{}', 'eve', 'SUCCESS')",
        elsewhere.id, elsewhere.product, attempts[0].id
    );
    other.execute(AssertSqlSafe(insert)).await.unwrap();
    let committing = tokio::spawn({
        let (orders, attempts) = (database.orders(), attempts.clone());
        async move { orders.commit(&sale, &attempts).await }
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    shop::until("we wait", || async {
        (shop::psql(&url, waiting) == "1").then_some(())
    })
    .await;
    let lock = format!(
        "SELECT 1 FROM flash_sales WHERE id = {} FOR UPDATE",
        sale.id
    );
    other.execute(AssertSqlSafe(lock)).await.unwrap();
    let fault = committing.await.unwrap().unwrap_err();
    ensure_unavailable(&fault, Effect::None);
    assert!(format!("{fault:?}").contains("40P01"), "{fault:?}");
    other.execute("ROLLBACK").await.unwrap();
    let decisions = database.orders().commit(&sale, &attempts).await.unwrap();
    assert!(matches!(decisions[..], [Decision::Success(_)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_given_up() {
    let (url, database) = shop::fresh().await;
    let sale = shop::sale(&database, 10).await.key();
    shop::psql(
        &url,
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$;
        CREATE TRIGGER linger AFTER INSERT ON orders EXECUTE FUNCTION linger()",
    );
    let config = PostgresConfig {
        statement_timeout_ms: 300,
        ..shop::config(url.as_str())
    };
    let orders = PostgresDatabase::new(config).unwrap().orders();
    let attempts = shop::attempts(&sale, 3);
    let since = Instant::now();
    let fault = orders.commit(&sale, &attempts).await.unwrap_err();
    ensure_unavailable(&fault, Effect::None);
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
    shop::psql(&url, "DROP TRIGGER linger ON orders");
    assert_eq!(orders.commit(&sale, &attempts).await.unwrap().len(), 3);
    assert_eq!(orders.totals(sale.id).await.unwrap().unwrap().orders, 3);
}

/// Commits batches, each again until it is decided, and checks every answer and the books.
struct Crowd {
    database: PostgresDatabase,
    sale: SaleRef,
    batches: Vec<Vec<Attempt>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    batches: AtomicUsize,
    faults: AtomicUsize,
    /// Faults with an unknown effect.
    unknown: AtomicUsize,
    done: AtomicBool,
}

impl Crowd {
    const BATCH: usize = 50;

    async fn gather(url: String, batches: usize) -> Self {
        let database = shop::database(url);
        database.migrate().await.unwrap();
        let stock = (Self::BATCH * batches * 3 / 4) as u64;
        let sale = shop::sale(&database, stock).await.key();
        let batches = (0..batches).map(|_| shop::attempts(&sale, Self::BATCH));
        Self {
            batches: batches.collect(),
            database,
            sale,
            progress: Arc::default(),
        }
    }

    /// Has four committers go through all batches, two from either end, and does harm each time
    /// that they have come on by `every` batches.
    async fn commit_all_while(&self, every: usize, mut harm: impl FnMut() + Send + 'static) {
        let progress = Arc::clone(&self.progress);
        let harming = std::thread::spawn(move || {
            let mut times = 0;
            while !progress.done.load(Ordering::Relaxed) {
                let batches = progress.batches.load(Ordering::Relaxed);
                if batches >= (times + 1) * every {
                    harm();
                    times += 1;
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            (times, harm)
        });
        let mut tasks = tokio::task::JoinSet::new();
        for committer in 0..4 {
            let (orders, sale) = (self.database.orders(), self.sale);
            let (progress, mut batches) = (Arc::clone(&self.progress), self.batches.clone());
            if committer % 2 == 1 {
                batches.reverse();
            }
            tasks.spawn(async move {
                let mut told = Vec::new();
                for batch in batches {
                    let decisions = commit(&orders, &sale, &batch, &progress).await;
                    told.extend(batch.iter().map(|attempt| attempt.id).zip(decisions));
                }
                told
            });
        }
        let told = tasks.join_all().await;
        self.progress.done.store(true, Ordering::Relaxed);
        let Progress {
            faults, unknown, ..
        } = &*self.progress;
        // What does the harm has the server, which has to be there for the rest.
        let (times, _harm) = harming.join().unwrap();
        println!("harmed {times} times: {faults:?} faults, {unknown:?} of them of unknown effect");
        assert!(times > 5, "nothing was harmed");
        self.ensure_decided_once(told.into_iter().flatten()).await;
    }

    async fn ensure_decided_once(&self, told: impl Iterator<Item = (AttemptId, Decision)>) {
        let mut decided = HashMap::new();
        for (attempt, decision) in told {
            let first = *decided.entry(attempt).or_insert(decision);
            assert_eq!(first, decision, "an attempt is decided once");
        }
        let orders = self.database.orders();
        for batch in &self.batches {
            let ids: Vec<_> = batch.iter().map(|attempt| attempt.id).collect();
            for order in orders.find(&ids).await.unwrap() {
                let order = order.unwrap();
                assert_eq!(decided[&order.attempt], order.decision);
            }
        }
        let totals = orders.totals(self.sale.id).await.unwrap().unwrap();
        assert_eq!(
            (totals.sold, totals.remaining),
            (totals.stock, 0),
            "{totals:?}"
        );
        assert_eq!(
            (totals.orders, totals.doubled_users),
            (totals.stock, 0),
            "{totals:?}"
        );
        assert_eq!(
            totals.orders + totals.failed,
            decided.len() as u64,
            "{totals:?}"
        );
    }
}

/// Commits a batch again until it is decided.
async fn commit(
    orders: &PostgresOrderRepo,
    sale: &SaleRef,
    batch: &[Attempt],
    progress: &Progress,
) -> Vec<Decision> {
    let since = Instant::now();
    loop {
        match orders.commit(sale, batch).await {
            Ok(decisions) => {
                progress.batches.fetch_add(1, Ordering::Relaxed);
                return decisions;
            }
            Err(fault) => {
                assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault:?}");
                progress.faults.fetch_add(1, Ordering::Relaxed);
                let unknown = fault.effect() == Effect::Unknown;
                progress
                    .unknown
                    .fetch_add(unknown.into(), Ordering::Relaxed);
            }
        }
        assert!(since.elapsed() < shop::PATIENCE, "a batch is never decided");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_sessions_cost_nothing_but_another_try() {
    let server = Postgres::start();
    let crowd = Crowd::gather(server.url(), 60).await;
    let harm = move || {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'flashsale'";
        server.psql(&server.url(), sql);
    };
    crowd.commit_all_while(2, harm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_restarted_in_the_middle_loses_and_doubles_nothing() {
    let mut server = Postgres::start();
    let crowd = Crowd::gather(server.url(), 120).await;
    let mut kill = false;
    let harm = move || {
        kill = !kill;
        if kill {
            server.kill();
        }
        server.restart();
    };
    crowd.commit_all_while(40, harm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_must_not_be_made_twice_survives_connections_that_died_unseen() {
    let mut server = Postgres::start();
    let database = shop::database(server.url());
    database.migrate().await.unwrap();
    // Fill the pool.
    let sales = database.sales();
    let lists = (0..32).map(|_| {
        let sales = sales.clone();
        tokio::spawn(async move { sales.list().await.unwrap() })
    });
    for list in lists.collect::<Vec<_>>() {
        list.await.unwrap();
    }
    for kill in [false, true] {
        if kill {
            server.kill();
        }
        server.restart();
        let sale = shop::sale(&database, 10).await.key();
        server.restart();
        let attempts = shop::attempts(&sale, 3);
        database.orders().commit(&sale, &attempts).await.unwrap();
        server.restart();
        let changed = sales
            .change(sale.id, flashsale_core::domain::SaleChange::Close, None)
            .await;
        assert!(matches!(
            changed,
            Ok(flashsale_core::ports::ChangeOutcome::Changed(..))
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_takes_no_connection_with_it() {
    let server = Postgres::start();
    let config = PostgresConfig {
        connections_max: 2,
        acquire_timeout_ms: 300,
        statement_timeout_ms: 300,
        ..shop::config(server.url())
    };
    let database = PostgresDatabase::new(config).unwrap();
    database.migrate().await.unwrap();
    let sale = shop::sale(&database, 1_000).await.key();
    let attempts = shop::attempts(&sale, 10);
    let orders = database.orders();
    orders.commit(&sale, &attempts[..5]).await.unwrap();
    server.freeze();
    let mut unknown = 0;
    for _ in 0..6 {
        let since = Instant::now();
        let fault = orders.commit(&sale, &attempts).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault:?}");
        unknown += usize::from(fault.effect() == Effect::Unknown);
        assert!(
            since.elapsed() < Duration::from_secs(2),
            "{:?}",
            since.elapsed()
        );
    }
    assert!(unknown > 0, "one was sent and not answered");
    server.thaw();
    commit(&orders, &sale, &attempts, &Progress::default()).await;
    let totals = orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!((totals.orders, totals.remaining), (10, 990));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_dropped_in_the_middle_leave_the_pool_usable() {
    let (url, _) = shop::fresh().await;
    let config = PostgresConfig {
        connections_max: 2,
        ..shop::config(url.as_str())
    };
    let database = PostgresDatabase::new(config).unwrap();
    let sale = shop::sale(&database, 100_000).await.key();
    let orders = database.orders();
    let mut batches = Vec::new();
    for micros in (0..4_000).step_by(100) {
        let batch = shop::attempts(&sale, 20);
        let commit = orders.commit(&sale, &batch);
        let _ = tokio::time::timeout(Duration::from_micros(micros), commit).await;
        batches.push(batch);
    }
    for batch in &batches {
        let decisions = commit(&orders, &sale, batch, &Progress::default()).await;
        assert!(decisions.iter().all(|d| matches!(d, Decision::Success(_))));
    }
    let totals = orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!(totals.orders, batches.len() as u64 * 20);
    assert_eq!(totals.remaining, 100_000 - totals.orders);
}
