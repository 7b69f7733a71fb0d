//! How fast attempts over HTTP are, as a share of what a bare poem route does that checks the same
//! token and answers with as many bytes. The load generator runs in the same process.
//!
//! `cargo bench -p flashsale-benches --bench http_ratio`

use std::sync::Arc;

use flashsale_benches::http::{body_of, issuer, requests, rush, serve_bare, serve_shop};
use flashsale_benches::{Shop, compare};
use poem::http::StatusCode;

fn main() {
    let runtime = |threads| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (servers, clients) = (runtime(2), runtime(1));
    let issuer = issuer();
    let mut next_user = 1;
    let mut new_users = |sale, count| {
        next_user += count;
        requests(&issuer, sale, next_user - count..next_user)
    };
    let refusing_units = 1;
    let cases = [
        ("winners, durable", 1 << 40, StatusCode::OK),
        ("refused as sold out", refusing_units, StatusCode::CONFLICT),
    ];
    for (name, stock, status) in cases {
        let shop = servers.block_on(Shop::open(stock));
        let sale = shop.sale.id.get();
        let address = servers.block_on(serve_shop(&shop, Arc::clone(&issuer)));
        let first = new_users(sale, 2);
        clients.block_on(body_of(address, &first[0]));
        let body = clients.block_on(body_of(address, &first[1]));
        let bare = servers.block_on(serve_bare(Arc::clone(&issuer), status, body));
        for (connections, attempts) in [(16, 20_000), (64, 40_000), (256, 40_000)] {
            let status = status.as_u16();
            let mut rushes = (0..=9)
                .map(|_| new_users(sale, attempts))
                .collect::<Vec<_>>()
                .into_iter();
            let mut again: Vec<String> = Vec::new();
            let again = std::cell::RefCell::new(&mut again);
            let pairs = compare(
                9,
                || {
                    let requests = rushes.next().expect("one per round");
                    **again.borrow_mut() = requests.clone();
                    clients.block_on(rush(address, connections, requests, status))
                },
                || {
                    let requests = again.borrow().clone();
                    clients.block_on(rush(bare, connections, requests, status))
                },
            );
            let (ours, yardstick) = pairs.medians();
            let rate = |seconds: f64| attempts as f64 / seconds / 1_000.0;
            println!(
                "{name}, {connections:>3} connections: {pairs}; {:.1} k/s against {:.1} k/s",
                rate(ours),
                rate(yardstick)
            );
        }
    }
}
