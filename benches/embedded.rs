//! Durable attempts through the service and the embedded engine, by concurrent buyers.

use std::sync::Arc;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flashsale_benches::Shop;

fn durable_attempts(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let shop = Arc::new(runtime.block_on(Shop::open(1 << 40)));
    let mut group = criterion.benchmark_group("embedded/durable attempts");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for buyers in [1, 16, 64, 256] {
        group.bench_function(BenchmarkId::from_parameter(buyers), |bencher| {
            bencher.iter_custom(|attempts| {
                let start = Instant::now();
                runtime.block_on(shop.rush(buyers, attempts));
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, durable_attempts);
criterion_main!(benches);
