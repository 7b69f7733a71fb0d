//! How fast winning attempts over HTTP, Redis and Kafka are, as a share of what a bare poem route
//! does that checks the same token and makes the same merged script calls, and what a whole winner
//! costs: the processor time of every process, orders and results included.
//!
//! Everything runs on this machine, the load generator too. API, workers and yardstick are processes
//! of their own; two workers share the twelve partitions. Each round is a rush of new users; then the
//! workers are waited for.
//!
//! `cargo bench -p flashsale-benches --bench distributed_ratio`, with fewer rounds than 7 and only
//! for some connections: `-- --rounds 2 --connections 128`

use std::time::{Duration, Instant};

use flashsale_benches::compare;
use flashsale_benches::distributed::{Part, Stack, play_part};
use flashsale_benches::http::{issuer, requests, rush, timed_rush};
use flashsale_core::domain::{Epoch, Phase, ProductId, SaleId, SaleRef, StockSnapshot};
use flashsale_core::ports::StockStore;
use flashsale_core::services::AcceptAfter;
use sqlx::PgPool;
use tokio::runtime::Runtime;

const ROUNDS: usize = 7;
const CONNECTIONS: [usize; 3] = [64, 128, 256];
const ATTEMPTS: u64 = 20_000;

fn main() {
    play_part();
    let chosen = |name: &str| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        arguments.nth(1).and_then(|value| value.parse().ok())
    };
    let rounds = chosen("--rounds").unwrap_or(ROUNDS);
    let connections = chosen("--connections").map_or(CONNECTIONS.to_vec(), |one| vec![one]);
    let mut bench = Bench::new();
    for accept_after in [AcceptAfter::Logged, AcceptAfter::Reserved] {
        for connections in &connections {
            bench.measure(accept_after, *connections, rounds);
        }
    }
}

struct Bench {
    runtime: Runtime,
    stack: Stack,
    bare_sale: i64,
    pool: PgPool,
    next_user: u64,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let stack = Stack::new();
        let bare_sale = runtime.block_on(open_bare(&stack));
        let pool = runtime.block_on(PgPool::connect(stack.database_url()));
        Self {
            runtime,
            stack,
            bare_sale,
            pool: pool.expect("a database"),
            next_user: 1,
        }
    }

    fn users(next_user: &mut u64, sale: i64) -> Vec<String> {
        *next_user += ATTEMPTS;
        requests(&issuer(), sale, *next_user - ATTEMPTS..*next_user)
    }

    fn measure(&mut self, accept_after: AcceptAfter, connections: usize, rounds: usize) {
        let Self {
            runtime,
            stack,
            bare_sale,
            pool,
            next_user,
        } = self;
        let product = format!("Lamp {accept_after:?} {connections}");
        let sale = runtime.block_on(stack.sale(&product, 1 << 40));
        let api = stack.part("api", accept_after);
        let workers = [
            stack.part("worker", accept_after),
            stack.part("worker", accept_after),
        ];
        let bare = stack.part("bare", accept_after);
        // The first messages to a topic may take a second, and a group that forms takes longer.
        let mut ordered = 0;
        for _ in 0..2 {
            let warm = Self::users(next_user, sale.id.get());
            ordered += warm.len() as u64;
            runtime.block_on(rush(api.address, connections, warm, 200));
            runtime.block_on(wait_for(pool, sale.id, ordered));
        }
        let next_user = std::cell::RefCell::new(next_user);
        let (mut spent, mut waits) = (Vec::new(), Vec::new());
        let pairs = compare(
            rounds,
            || {
                let requests = Self::users(&mut next_user.borrow_mut(), sale.id.get());
                let before = cpu(stack, &api, &workers);
                let rush = timed_rush(api.address, connections, requests, 200);
                let (took, own) = runtime.block_on(rush);
                ordered += ATTEMPTS;
                runtime.block_on(wait_for(pool, sale.id, ordered));
                let after = cpu(stack, &api, &workers);
                let of_round = after.iter().zip(before).map(|(after, before)| {
                    let each = (after.1 - before.1).as_secs_f64() * 1e6 / ATTEMPTS as f64;
                    (after.0, each)
                });
                spent.push(of_round.collect::<Vec<_>>());
                waits.extend(own);
                took
            },
            || {
                let requests = Self::users(&mut next_user.borrow_mut(), *bare_sale);
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
        waits.sort();
        let at = |share: f64| waits[(waits.len() as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "    answers after {:.1} ms (p50), {:.1} ms (p99)",
            at(0.5),
            at(0.99)
        );
        let mean =
            |part: usize| spent.iter().map(|round| round[part].1).sum::<f64>() / spent.len() as f64;
        let parts = spent[0].iter().enumerate();
        let parts: Vec<_> = parts
            .map(|(part, (name, _))| format!("{name} {:.1}", mean(part)))
            .collect();
        let sum: f64 = (0..spent[0].len()).map(mean).sum();
        println!(
            "    CPU per winner, in µs: {}; together {sum:.1}",
            parts.join(", ")
        );
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

fn cpu(stack: &Stack, api: &Part, workers: &[Part; 2]) -> Vec<(&'static str, Duration)> {
    let deciding = workers.iter().map(Part::cpu).sum();
    let mut all = vec![("API", api.cpu()), ("workers", deciding)];
    all.extend(stack.cpu());
    all
}
