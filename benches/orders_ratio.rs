//! How fast attempts become orders, as a share of plain batched inserts into a table with the same
//! columns, keys and checks: the arbiter's decision by itself, and a whole worker that reads
//! attempts from Kafka, has them decided, and tells Redis and the buyers.
//!
//! `cargo bench -p flashsale-benches --bench orders_ratio`

use std::time::Instant;

use flashsale_benches::compare;
use flashsale_benches::distributed::Stack;
use flashsale_core::domain::{Attempt, Epoch, Quantity, Sale, Timestamp, UserId};
use flashsale_core::ports::{IdSource, OrderRepo};
use flashsale_embedded::UuidV7;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool};

const ROUNDS: usize = 9;
const ORDERS: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let stack = Stack::new();
    let sale = runtime.block_on(stack.sale("Lamp", 1 << 40));
    let (pool, orders) = runtime.block_on(async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect(stack.database_url());
        let pool = pool.await.expect("a database");
        make_plain(&pool).await;
        (pool, stack.database().orders())
    });
    let mut next_user = 0;
    let mut fresh = |count: usize| -> Vec<Attempt> {
        let first = next_user;
        next_user += count as u64;
        (first..next_user)
            .map(|user| attempt(&sale, user))
            .collect()
    };
    for batch in [50, 200, 512] {
        let fresh = std::cell::RefCell::new(&mut fresh);
        let pairs = compare(
            ROUNDS,
            || {
                let attempts = (fresh.borrow_mut())(ORDERS);
                let start = Instant::now();
                runtime.block_on(async {
                    for batch in attempts.chunks(batch) {
                        orders.commit(&sale.key(), batch).await.expect("a database");
                    }
                });
                start.elapsed()
            },
            || {
                let attempts = (fresh.borrow_mut())(ORDERS);
                let start = Instant::now();
                runtime.block_on(async {
                    for batch in attempts.chunks(batch) {
                        insert_plain(&pool, batch).await;
                    }
                });
                start.elapsed()
            },
        );
        let (ours, yardstick) = pairs.medians();
        let rate = |seconds: f64| ORDERS as f64 / seconds / 1_000.0;
        println!(
            "decisions, {batch:>3} a batch: {pairs}; {:.1} k/s against {:.1} k/s",
            rate(ours),
            rate(yardstick)
        );
    }
    worker::compare_with(&runtime, &stack, &pool, &mut fresh);
}

fn attempt(sale: &Sale, user: u64) -> Attempt {
    Attempt {
        id: UuidV7.attempt_id(),
        sale: sale.id,
        product: sale.product.id,
        user: UserId::new(format!("user-{user}")).expect("visible ASCII"),
        quantity: Quantity::ONE,
        epoch: Epoch::FIRST,
        seq: user + 1,
        reserved_at: Timestamp::from_millis(1_800_000_000_000),
    }
}

/// The orders' table once more, with all its keys, checks and indexes, and without its triggers.
async fn make_plain(pool: &PgPool) {
    for sql in [
        "CREATE TABLE plain (LIKE orders INCLUDING ALL)",
        "ALTER TABLE plain ADD FOREIGN KEY (sale_id, product_id)
            REFERENCES flash_sales (id, product_id)",
    ] {
        pool.execute(sql).await.expect("a table");
    }
}

async fn insert_plain(pool: &PgPool, attempts: &[Attempt]) {
    let ids: Vec<_> = attempts.iter().map(|a| a.id.as_uuid()).collect();
    let users: Vec<_> = attempts.iter().map(|a| a.user.as_str()).collect();
    let seqs: Vec<_> = attempts.iter().map(|a| a.seq as i64).collect();
    let insert = sqlx::query(
        "INSERT INTO plain (sale_id, product_id, quantity, epoch, seq, reserved_ms, decided_ms,
            attempt_id, user_id, status)
        SELECT $1, $2, 1, 1, a.seq, 1800000000000, 1800000000000, a.attempt, a.buyer, 'SUCCESS'
        FROM unnest($3::uuid[], $4::text[], $5::bigint[]) AS a (attempt, buyer, seq)",
    );
    let insert = insert
        .bind(attempts[0].sale.get())
        .bind(attempts[0].product.get())
        .bind(ids)
        .bind(users)
        .bind(seqs);
    insert.execute(pool).await.expect("an insert");
}

/// A whole worker.
mod worker {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use flashsale_benches::compare;
    use flashsale_benches::distributed::{Stack, own_cpu};
    use flashsale_core::domain::Attempt;
    use flashsale_core::ports::{AttemptQueue, NoRecorder, Published};
    use flashsale_core::services::{Catalogue, Worker, WorkerPorts};
    use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
    use sqlx::PgPool;

    use super::{ORDERS, ROUNDS, insert_plain};

    pub(super) fn compare_with(
        runtime: &tokio::runtime::Runtime,
        stack: &Stack,
        pool: &PgPool,
        fresh: &mut dyn FnMut(usize) -> Vec<Attempt>,
    ) {
        let (queue, mut reader, worker) = runtime.block_on(async {
            let config = KafkaConfig {
                publish_wait_ms: 20_000,
                ..KafkaConfig::new(stack.kafka.brokers())
            };
            let queue = KafkaAttemptQueue::new(config).expect("a valid configuration");
            let reader = queue.subscribe("bench").await.expect("a reader");
            let sales = Arc::new(stack.database().sales());
            let catalogue = Arc::new(Catalogue::new(sales));
            catalogue.refresh().await.expect("a database");
            let worker = Worker::new(WorkerPorts {
                catalogue,
                orders: Arc::new(stack.database().orders()),
                stock: Arc::new(stack.stock()),
                dead_letters: Arc::new(stack.database().dead_letters()),
                recorder: Arc::new(NoRecorder),
            });
            (queue, reader, worker)
        });
        let fresh = std::cell::RefCell::new(fresh);
        let used = || {
            let mut all = vec![("worker", own_cpu())];
            all.extend(stack.cpu());
            all
        };
        let spent = std::cell::RefCell::new(Vec::<(&str, Duration)>::new());
        let pairs = compare(
            ROUNDS,
            || {
                let attempts = (fresh.borrow_mut())(ORDERS);
                runtime.block_on(async {
                    for batch in attempts.chunks(1_024) {
                        let published = queue.publish(batch).await.expect("a queue");
                        assert!(published.iter().all(|p| *p == Published::Logged));
                    }
                    let before = used();
                    let start = Instant::now();
                    let mut decided = 0;
                    while decided < ORDERS {
                        let step = worker.step(&mut *reader, 1_000).await.expect("a step");
                        decided += step.decided;
                        assert!(start.elapsed() < Duration::from_secs(60));
                    }
                    let took = start.elapsed();
                    let mut spent = spent.borrow_mut();
                    for (after, before) in used().into_iter().zip(before) {
                        spent.push((after.0, after.1 - before.1));
                    }
                    took
                })
            },
            || {
                let attempts = (fresh.borrow_mut())(ORDERS);
                let start = Instant::now();
                runtime.block_on(async {
                    for batch in attempts.chunks(Worker::BATCH) {
                        insert_plain(pool, batch).await;
                    }
                });
                start.elapsed()
            },
        );
        let (ours, yardstick) = pairs.medians();
        let rate = |seconds: f64| ORDERS as f64 / seconds / 1_000.0;
        println!(
            "a whole worker, {} a batch: {pairs}; {:.1} k/s against {:.1} k/s",
            Worker::BATCH,
            rate(ours),
            rate(yardstick)
        );
        let spent = spent.borrow();
        let rounds = spent.iter().filter(|(name, _)| *name == "worker").count();
        let each = |name: &str| {
            let times = spent.iter().filter(|(other, _)| *other == name);
            let sum: Duration = times.map(|(_, time)| *time).sum();
            sum.as_secs_f64() * 1e6 / (rounds * ORDERS) as f64
        };
        println!(
            "    CPU per order, in µs: worker {:.1}, Redis {:.1}, Kafka {:.1}, PostgreSQL {:.1}",
            each("worker"),
            each("Redis"),
            each("Kafka"),
            each("PostgreSQL")
        );
    }
}
