//! How fast the embedded engine is, as a share of what plain SQLite does with the same rows.
//!
//! `cargo bench -p flashsale-benches --bench durable_ratio`

use std::sync::Arc;
use std::time::Instant;

use flashsale_benches::{PlainSqlite, Shop, compare};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let shop = Arc::new(runtime.block_on(Shop::open(1 << 40)));
    let mut plain = PlainSqlite::open();
    for (buyers, attempts) in [(1, 2_000), (16, 20_000), (64, 60_000), (256, 100_000)] {
        let pairs = compare(
            9,
            || {
                let start = Instant::now();
                let accepted = runtime.block_on(shop.rush(buyers, attempts));
                assert_eq!(accepted, attempts);
                start.elapsed()
            },
            || {
                let start = Instant::now();
                plain.commit(buyers, attempts);
                start.elapsed()
            },
        );
        let (ours, yardstick) = pairs.medians();
        let rate = |seconds: f64| attempts as f64 / seconds / 1_000.0;
        println!(
            "{buyers:>3} buyers: {pairs}; {:.1} k/s against {:.1} k/s",
            rate(ours),
            rate(yardstick)
        );
    }
}
