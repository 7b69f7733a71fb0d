//! Attempts over HTTP that win, through the whole server, by number of connections.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flashsale_benches::Shop;
use flashsale_benches::http::{issuer, requests, rush, serve_shop};

fn attempts_that_win(criterion: &mut Criterion) {
    let runtime = |threads| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (servers, clients) = (runtime(2), runtime(1));
    let issuer = issuer();
    let shop = servers.block_on(Shop::open(1 << 40));
    let address = servers.block_on(serve_shop(&shop, Arc::clone(&issuer)));
    let mut next_user = 1;
    let mut group = criterion.benchmark_group("http/attempts that win");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for connections in [1, 16, 64, 256] {
        group.bench_function(BenchmarkId::from_parameter(connections), |bencher| {
            bencher.iter_custom(|attempts| {
                let users = next_user..next_user + attempts;
                next_user = users.end;
                let requests = requests(&issuer, shop.sale.id.get(), users);
                clients.block_on(rush(address, connections, requests, 200))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, attempts_that_win);
criterion_main!(benches);
