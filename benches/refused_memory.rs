//! Whether users who are refused leave anything in memory: the resident memory of a sold-out shop
//! before and after a million of them.
//!
//! `cargo bench -p flashsale-benches --bench refused_memory`; exits with 1 if it grows by more
//! than 5 %.

use std::process::ExitCode;
use std::sync::Arc;

use flashsale_benches::Shop;

const WARM_UP: u64 = 100_000;
const REFUSED: u64 = 1_000_000;
const BUYERS: u64 = 64;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let shop = Arc::new(runtime.block_on(Shop::open(1_000)));
    let accepted = runtime.block_on(shop.rush(BUYERS, WARM_UP));
    assert_eq!(accepted, 1_000, "the sale sells out");
    let Some(before) = resident_kib() else {
        println!("skipped: this system does not tell how much memory a process has");
        return ExitCode::SUCCESS;
    };
    assert_eq!(runtime.block_on(shop.rush(BUYERS, REFUSED)), 0);
    let after = resident_kib().unwrap_or(u64::MAX);
    println!("before {before} KiB, after {REFUSED} refused users {after} KiB");
    if after <= before + before / 20 {
        ExitCode::SUCCESS
    } else {
        println!("it has grown by more than 5 %");
        ExitCode::FAILURE
    }
}

/// The resident memory of this process in KiB, where Linux tells it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
