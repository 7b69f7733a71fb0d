//! What a crowd leaves in memory: that of an API process and of Redis, before and after a million
//! refused attempts, and what a winner leaves in Redis.
//!
//! `cargo bench -p flashsale-benches --bench distributed_memory`

use flashsale_benches::distributed::{Stack, play_part};
use flashsale_benches::http::{issuer, requests, rush};
use flashsale_core::services::AcceptAfter;

const UNITS: u64 = 10_000;
const REFUSED: u64 = 1_000_000;
const BATCH: u64 = 50_000;

fn main() {
    play_part();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let issuer = issuer();
    let stack = Stack::new();
    let sale = runtime.block_on(stack.sale("Lamp", UNITS)).id.get();
    let api = stack.part("api", AcceptAfter::Logged);
    let _worker = stack.part("worker", AcceptAfter::Logged);
    let send = |users, status| {
        let requests = requests(&issuer, sale, users);
        runtime.block_on(rush(api.address, 256, requests, status))
    };
    let empty = redis_bytes(&stack);
    send(1..UNITS + 1, 200);
    let won = redis_bytes(&stack);
    println!("Redis: {} bytes per winner", (won - empty) / UNITS);
    let mut next = UNITS + 1;
    let mut refuse = |count| {
        let mut left = count;
        while left > 0 {
            send(next..next + BATCH, 409);
            next += BATCH;
            left -= BATCH;
        }
    };
    // What the process needs for a crowd at all, it has after the first.
    refuse(2 * BATCH);
    let (api_before, redis_before) = (api.memory_kib(), redis_bytes(&stack));
    refuse(REFUSED);
    let (api_after, redis_after) = (api.memory_kib(), redis_bytes(&stack));
    println!("API: {api_before} KiB before, {api_after} KiB after {REFUSED} refused attempts");
    println!("Redis: {redis_before} bytes before, {redis_after} bytes after them");
}

fn redis_bytes(stack: &Stack) -> u64 {
    let info = stack.redis.cli(&["info", "memory"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory_dataset:"));
    line.and_then(|figure| figure.trim().parse().ok())
        .expect("a figure")
}
