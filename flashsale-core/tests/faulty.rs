//! What a faulty port does to its calls.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::domain::{
    Attempt, AttemptId, Decision, Epoch, FailReason, Order, OrderId, ProductId, Quantity, SaleId,
    SaleRef, Timestamp, Totals, UserId,
};
use flashsale_core::ports::{AttemptQueue, Delivery, OrderRepo, StockStore};
use flashsale_core::testing::{
    self, FaultRates, Faults, Faulty, Fixture, ManualClock, MemoryAttemptQueue, MemoryStockStore,
    StockStoreRig,
};
use flashsale_core::{Effect, ErrorKind, PortError};

/// Counts the calls that get through.
#[derive(Debug, Default)]
struct Counting(std::sync::atomic::AtomicU64);

impl Counting {
    fn calls(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[async_trait]
impl OrderRepo for Counting {
    async fn commit(&self, _: &SaleRef, _: &[Attempt]) -> Result<Vec<Decision>, PortError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(vec![])
    }

    async fn release(
        &self,
        _: &SaleRef,
        _: &[Attempt],
        _: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        Ok(vec![])
    }

    async fn find(&self, _: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        Ok(vec![])
    }

    async fn list(&self, _: SaleId, _: Option<OrderId>, _: usize) -> Result<Vec<Order>, PortError> {
        Ok(vec![])
    }

    async fn totals(&self, _: SaleId) -> Result<Option<Totals>, PortError> {
        Ok(None)
    }
}

fn sale() -> SaleRef {
    SaleRef {
        id: SaleId::new(1).unwrap(),
        product: ProductId::new(1).unwrap(),
        epoch: Epoch::FIRST,
    }
}

fn faulty(seed: u64, rates: FaultRates) -> (Arc<Counting>, Arc<dyn OrderRepo>) {
    let counting = Arc::new(Counting::default());
    let inner: Arc<dyn OrderRepo> = counting.clone();
    let port = Faulty::new(inner, Arc::new(Faults::new(seed, rates)));
    (counting, Arc::new(port))
}

#[tokio::test]
async fn a_failure_before_the_call_has_no_effect() {
    let rates = FaultRates {
        fail_before: 100,
        ..FaultRates::NOTHING
    };
    let (inner, port) = faulty(1, rates);
    let error = port.commit(&sale(), &[]).await.unwrap_err();
    assert_eq!(
        (error.effect(), error.kind()),
        (Effect::None, ErrorKind::Unavailable)
    );
    assert_eq!((error.adapter(), error.operation()), ("faulty", "commit"));
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn a_failure_after_the_call_has_an_unknown_effect() {
    let rates = FaultRates {
        fail_after: 100,
        ..FaultRates::NOTHING
    };
    let (inner, port) = faulty(1, rates);
    let error = port.commit(&sale(), &[]).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown);
    assert_eq!(inner.calls(), 1);
}

#[tokio::test]
async fn a_duplicated_call_is_made_twice() {
    let rates = FaultRates {
        duplicate: 100,
        ..FaultRates::NOTHING
    };
    let (inner, port) = faulty(1, rates);
    port.commit(&sale(), &[]).await.unwrap();
    assert_eq!(inner.calls(), 2);
}

#[tokio::test]
async fn a_delayed_call_is_pending_and_made_once() {
    let rates = FaultRates {
        delay: 100,
        ..FaultRates::NOTHING
    };
    let (inner, port) = faulty(1, rates);
    let (sale, mut pending) = (sale(), 0);
    let mut call = port.commit(&sale, &[]);
    let answer = std::future::poll_fn(|context| {
        let polled = call.as_mut().poll(context);
        pending += u32::from(polled.is_pending());
        polled
    });
    answer.await.unwrap();
    assert!((1..=4).contains(&pending), "it was pending {pending} times");
    assert_eq!(inner.calls(), 1);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let (inner, port) = faulty(seed, FaultRates::EVERYTHING);
        let mut run = Vec::new();
        for _ in 0..200 {
            let answer = port.commit(&sale(), &[]).await;
            run.push((answer.map_err(|error| error.effect()), inner.calls()));
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn healed_faults_are_gone() {
    let rates = FaultRates {
        fail_before: 100,
        ..FaultRates::NOTHING
    };
    let faults = Arc::new(Faults::new(1, rates));
    let inner: Arc<dyn OrderRepo> = Arc::new(Counting::default());
    let port = Faulty::new(inner, faults.clone());
    port.commit(&sale(), &[]).await.unwrap_err();
    faults.heal();
    port.commit(&sale(), &[]).await.unwrap();
}

#[tokio::test]
async fn a_faulty_reader_gives_everything_at_least_once() {
    for seed in 0..20 {
        let queue = MemoryAttemptQueue::new();
        let faults = Arc::new(Faults::new(seed, FaultRates::EVERYTHING));
        let faulty = Faulty::<dyn AttemptQueue>::new(Arc::new(queue.clone()), faults);
        let attempts: Vec<_> = (1..=30).map(attempt).collect();
        queue.publish(&attempts).await.unwrap();
        let mut reader = loop {
            if let Ok(reader) = faulty.subscribe("workers").await {
                break reader;
            }
        };
        let mut missing: std::collections::HashSet<_> = attempts.iter().map(|a| a.id).collect();
        while !missing.is_empty() {
            let items = reader.poll(4, 0).await.unwrap_or_default();
            assert!(items.len() <= 4, "seed {seed}");
            for item in items {
                if let Delivery::Attempt(attempt) = item {
                    missing.remove(&attempt.id);
                }
            }
            let _ = reader.commit().await;
        }
    }
}

fn attempt(number: u64) -> Attempt {
    Attempt {
        id: testing::SequentialIds::id(number),
        sale: sale().id,
        product: sale().product,
        user: UserId::new("ann").unwrap(),
        quantity: Quantity::ONE,
        epoch: Epoch::FIRST,
        seq: number,
        reserved_at: Timestamp::default(),
    }
}

#[derive(Debug)]
struct Delayed;

#[async_trait]
impl Fixture<StockStoreRig> for Delayed {
    async fn open(&self, _place: &str) -> Result<StockStoreRig, PortError> {
        let clock = Arc::new(ManualClock::default());
        let rates = FaultRates {
            delay: 60,
            ..FaultRates::NOTHING
        };
        let inner = Arc::new(MemoryStockStore::new(clock.clone()));
        let faults = Arc::new(Faults::new(3, rates));
        Ok(StockStoreRig {
            store: Arc::new(Faulty::<dyn StockStore>::new(inner, faults)),
            clock,
            sales: None,
            decides_at_once: false,
        })
    }
}

#[tokio::test]
async fn a_port_that_is_only_slow_keeps_its_contract() {
    testing::stock_store(&Delayed).await.assert_passed();
}
