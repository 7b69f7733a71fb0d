//! How fast winning attempts over HTTP, Redis and Kafka are, as a share of what a bare poem route
//! does that checks the same token and makes the same merged script calls, and what a whole winner
//! costs: the processor time of every process, orders and results included.
//!
//! Everything runs on this machine, the load generator too. API, worker and yardstick are processes
//! of their own. Each round is a rush of new users; then the worker is waited for.
//!
//! `cargo bench -p flashsale-benches --bench distributed_ratio`

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use flashsale_benches::compare;
use flashsale_benches::distributed::{Stack, play_part};
use flashsale_benches::http::{issuer, requests, rush};
use flashsale_core::domain::{Epoch, Phase, ProductId, SaleId, SaleRef, StockSnapshot};
use flashsale_core::ports::StockStore;
use flashsale_core::services::AcceptAfter;
use sqlx::PgPool;

const ROUNDS: usize = 7;
const ATTEMPTS: u64 = 20_000;

fn main() {
    play_part();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let issuer = issuer();
    let mut next_user = 1;
    let mut users = |sale: i64| {
        next_user += ATTEMPTS;
        requests(&issuer, sale, next_user - ATTEMPTS..next_user)
    };
    let stack = Stack::new();
    let bare_sale = runtime.block_on(open_bare(&stack));
    let pool = runtime.block_on(PgPool::connect(stack.database_url()));
    let pool = pool.expect("a database");
    for accept_after in [AcceptAfter::Logged, AcceptAfter::Reserved] {
        for connections in [64, 256] {
            let product = format!("Lamp {accept_after:?} {connections}");
            let sale = runtime.block_on(stack.sale(&product, 1 << 40));
            let api = stack.part("api", accept_after);
            let worker = stack.part("worker", accept_after);
            let bare = stack.part("bare", accept_after);
            let ordered = Cell::new(0);
            let spent = RefCell::new(Vec::<(&str, Duration)>::new());
            let rounds = Cell::new(0);
            let users = RefCell::new(&mut users);
            // The first messages to a topic may take a second.
            let warm = (users.borrow_mut())(sale.id.get());
            let count = warm.len() as u64;
            runtime.block_on(rush(api.address, connections, warm, 200));
            ordered.set(count);
            runtime.block_on(wait_for(&pool, sale.id, count));
            let pairs = compare(
                ROUNDS,
                || {
                    let requests = (users.borrow_mut())(sale.id.get());
                    let before = cpu(&stack, &api, &worker);
                    let took = runtime.block_on(rush(api.address, connections, requests, 200));
                    ordered.set(ordered.get() + ATTEMPTS);
                    runtime.block_on(wait_for(&pool, sale.id, ordered.get()));
                    let after = cpu(&stack, &api, &worker);
                    let mut spent = spent.borrow_mut();
                    spent.resize(after.len(), ("", Duration::ZERO));
                    for (sum, (after, before)) in spent.iter_mut().zip(after.iter().zip(&before)) {
                        *sum = (after.0, sum.1 + (after.1 - before.1));
                    }
                    rounds.set(rounds.get() + 1);
                    took
                },
                || {
                    let requests = (users.borrow_mut())(bare_sale);
                    runtime.block_on(rush(bare.address, connections, requests, 200))
                },
            );
            let (ours, yardstick) = pairs.medians();
            let rate = |seconds: f64| ATTEMPTS as f64 / seconds / 1_000.0;
            println!(
                "{accept_after:?}, {connections:>3} connections: {pairs}; {:.1} k/s against {:.1} k/s",
                rate(ours),
                rate(yardstick)
            );
            let all = rounds.get() * ATTEMPTS;
            let each = |time: Duration| time.as_secs_f64() * 1e6 / all as f64;
            let parts = spent.borrow();
            let parts: Vec<_> = parts
                .iter()
                .map(|(name, time)| format!("{name} {:.1}", each(*time)))
                .collect();
            let sum: Duration = spent.borrow().iter().map(|(_, time)| *time).sum();
            println!(
                "    CPU per winner, in µs: {}; together {:.1}",
                parts.join(", "),
                each(sum)
            );
        }
    }
}

/// A sale that is in Redis only, under a number for sale and product.
async fn open_bare(stack: &Stack) -> i64 {
    const NUMBER: i64 = 1_000_000;
    let sale = SaleRef {
        id: SaleId::new(NUMBER).expect("positive"),
        product: ProductId::new(NUMBER).expect("positive"),
        epoch: Epoch::FIRST,
    };
    let window = flashsale_core::domain::Window {
        start: flashsale_core::domain::Timestamp::from_millis(0),
        end: flashsale_core::domain::Timestamp::from_millis(1 << 50),
    };
    let snapshot = StockSnapshot {
        window,
        phase: Phase::Open,
        version: 1,
        remaining: 1 << 40,
        buyers: Vec::new(),
    };
    let opened = stack.stock().open(&sale, &snapshot).await;
    opened.expect("a working Redis");
    NUMBER
}

async fn wait_for(pool: &PgPool, sale: SaleId, count: u64) {
    let since = Instant::now();
    loop {
        let sold = sqlx::query_scalar(
            "SELECT initial_stock - remaining_stock FROM flash_sales WHERE id = $1",
        );
        let sold: i64 = sold
            .bind(sale.get())
            .fetch_one(pool)
            .await
            .expect("a database");
        if sold == count as i64 {
            return;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{sold} of {count} orders"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn cpu(
    stack: &Stack,
    api: &flashsale_benches::distributed::Part,
    worker: &flashsale_benches::distributed::Part,
) -> Vec<(&'static str, Duration)> {
    let mut all = vec![("API", api.cpu()), ("worker", worker.cpu())];
    all.extend(stack.cpu());
    all
}
