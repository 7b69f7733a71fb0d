//! What the rules and the services cost by themselves, without any I/O.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flashsale_core::domain::{
    AttemptId, Epoch, Ledger, NewSale, Phase, ProductId, Quantity, ReserveRequest, SaleId, SaleRef,
    StockSnapshot, Timestamp, UserId, Window,
};
use flashsale_core::ports::NoRecorder;
use flashsale_core::services::{Catalogue, FlashSalePorts, FlashSaleService, SaleService};
use flashsale_core::testing::{
    ManualClock, MemoryAttemptQueue, MemoryDatabase, MemoryOrderRepo, MemorySaleRepo,
    MemoryStockStore, SequentialIds,
};
use uuid::Uuid;

const WINDOW: Window = Window {
    start: Timestamp::from_millis(0),
    end: Timestamp::from_millis(i64::MAX),
};

fn user(number: u64) -> UserId {
    UserId::new(number.to_string()).expect("digits")
}

fn ledger(criterion: &mut Criterion) {
    let sale = SaleRef {
        id: SaleId::new(1).expect("positive"),
        product: ProductId::new(1).expect("positive"),
        epoch: Epoch::FIRST,
    };
    let open = |remaining| {
        Ledger::open(
            sale,
            StockSnapshot {
                window: WINDOW,
                phase: Phase::Open,
                version: 1,
                remaining,
                buyers: Vec::new(),
            },
        )
    };
    let requests: Vec<_> = (1..=1_000)
        .map(|number| ReserveRequest {
            attempt: AttemptId::from_uuid(Uuid::from_u128(u128::from(number))),
            user: user(number),
            quantity: Quantity::ONE,
        })
        .collect();
    let now = Timestamp::from_millis(1);
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(1_000));
    for (name, stock) in [("1,000 winners", 1_000), ("1,000 refused", 0)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || open(stock),
                |ledger| {
                    for request in &requests {
                        std::hint::black_box(ledger.reserve(sale.epoch, request, now));
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn service(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("service with in-memory ports");
    group.throughput(Throughput::Elements(1));
    for (name, stock) in [("one winner", 1 << 40), ("one refused", 1)] {
        let (service, sale) = runtime.block_on(in_memory(stock));
        let mut number = 0;
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| {
                number += 1;
                let (service, user) = (&service, user(number));
                async move { service.attempt(&user, sale).await }
            });
        });
    }
    group.finish();
}

async fn in_memory(stock: u64) -> (FlashSaleService, SaleId) {
    let clock = Arc::new(ManualClock::default());
    let database = MemoryDatabase::new();
    let repo = Arc::new(MemorySaleRepo::new(database.clone()));
    let store = Arc::new(MemoryStockStore::new(clock.clone()));
    let catalogue = Arc::new(Catalogue::new(repo.clone()));
    let sales = SaleService {
        repo,
        orders: Arc::new(MemoryOrderRepo::new(database, clock.clone())),
        stock: store.clone(),
        catalogue: Arc::clone(&catalogue),
        clock: clock.clone(),
    };
    let new = NewSale {
        product_name: "lamp".into(),
        product_description: String::new(),
        window: WINDOW,
        stock,
    };
    let created = sales.create(&new).await.expect("memory does not fail");
    let sale = created.expect("a valid sale").sale.id;
    let service = FlashSaleService::new(FlashSalePorts {
        catalogue,
        stock: store,
        queue: Arc::new(MemoryAttemptQueue::new()),
        clock,
        ids: Arc::new(SequentialIds::default()),
        recorder: Arc::new(NoRecorder),
    });
    (service, sale)
}

criterion_group!(benches, ledger, service);
criterion_main!(benches);
