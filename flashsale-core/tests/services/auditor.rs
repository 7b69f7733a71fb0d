use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{
    Attempt, AttemptId, Decision, FailReason, Order, OrderId, Phase, SaleChange, SaleId, SaleRef,
    StockSnapshot, Totals,
};
use flashsale_core::ports::{CreateSaleOutcome, OrderRepo};
use flashsale_core::services::{Finding, Verdict};

use crate::shop::{Shop, WINDOW, lamps, user};

async fn findings(shop: &Shop, sale: SaleId) -> (Verdict, Vec<Finding>) {
    let account = shop.auditor().reconcile(sale).await.unwrap().unwrap();
    (account.verdict(), account.findings)
}

#[tokio::test]
async fn every_unit_is_accounted_for_at_every_stage() {
    let (shop, sale) = Shop::selling(3).await;
    let exact = (Verdict::Exact, vec![]);
    assert_eq!(findings(&shop, sale.id).await, exact);
    shop.accepted("ann", sale.id).await;
    assert_eq!(findings(&shop, sale.id).await, exact);
    shop.work().await;
    assert_eq!(findings(&shop, sale.id).await, exact);
    shop.change(sale.id, SaleChange::Restock(2)).await;
    assert_eq!(findings(&shop, sale.id).await, exact);
    let unknown = SaleId::new(99).unwrap();
    assert_eq!(shop.auditor().reconcile(unknown).await.unwrap(), None);
}

#[tokio::test]
async fn a_scheduled_sale_need_not_be_loaded_an_open_one_has_to() {
    let shop = Shop::empty();
    let CreateSaleOutcome::Created(sale) = shop.sales.create(&lamps(3)).await.unwrap() else {
        panic!("it must be created");
    };
    assert_eq!(findings(&shop, sale.id).await, (Verdict::Exact, vec![]));
    // Closed before it was ever opened.
    shop.sales
        .change(sale.id, SaleChange::Close, None)
        .await
        .unwrap();
    assert_eq!(findings(&shop, sale.id).await, (Verdict::Exact, vec![]));
    let (shop, sale) = Shop::selling(3).await;
    shop.memory_stock.forget();
    let lost = (Verdict::Drift, vec![Finding::NotLoaded]);
    assert_eq!(findings(&shop, sale.id).await, lost);
}

#[tokio::test]
async fn a_sale_whose_place_a_later_one_has_taken_need_not_be_loaded() {
    let (shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    shop.memory_stock.forget();
    let mut later = lamps(3);
    later.window.start = WINDOW.end;
    later.window.end = WINDOW.end.plus_ms(60_000);
    shop.sale_service().create(&later).await.unwrap().unwrap();
    assert_eq!(findings(&shop, sale.id).await, (Verdict::Exact, vec![]));

    // One that was closed early makes room for one that starts at once.
    let (shop, sale) = Shop::selling(3).await;
    shop.change(sale.id, SaleChange::Close).await;
    shop.memory_stock.forget();
    shop.sale_service()
        .create(&lamps(3))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(findings(&shop, sale.id).await, (Verdict::Exact, vec![]));
}

#[tokio::test]
async fn an_order_that_the_stock_store_still_offers_is_drift() {
    let (shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    shop.memory_stock.forget();
    open(&shop, &sale.key(), 3).await;
    let drift = (Verdict::Drift, vec![Finding::OrderedNotTaken { units: 1 }]);
    assert_eq!(findings(&shop, sale.id).await, drift);
}

#[tokio::test]
async fn stock_that_differs_is_drift() {
    let (shop, sale) = Shop::selling(3).await;
    shop.sales
        .change(sale.id, SaleChange::Restock(2), None)
        .await
        .unwrap();
    let differs = Finding::StockDiffers {
        held: 3,
        expected: 5,
    };
    assert_eq!(
        findings(&shop, sale.id).await,
        (Verdict::Drift, vec![differs])
    );
}

#[tokio::test]
async fn units_sold_without_an_order_are_a_violation() {
    let (shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    let attempts = shop.stock.overdue(&sale.key(), 0, 10).await.unwrap();
    let settlement = flashsale_core::domain::Settlement {
        user: attempts[0].user.clone(),
        attempt: attempts[0].id,
        quantity: attempts[0].quantity,
        reserved_at: attempts[0].reserved_at,
        decision: Decision::Success(OrderId::new(1).unwrap()),
    };
    shop.stock.settle(&sale.key(), &[settlement]).await.unwrap();
    let without_order = Finding::SoldWithoutOrder { units: 1 };
    let violation = (Verdict::Violation, vec![without_order]);
    assert_eq!(findings(&shop, sale.id).await, violation);
}

async fn open(shop: &Shop, sale: &SaleRef, remaining: u64) {
    let snapshot = StockSnapshot {
        window: WINDOW,
        phase: Phase::Open,
        version: 1,
        remaining,
        buyers: vec![],
    };
    shop.stock.open(sale, &snapshot).await.unwrap();
}

/// Books that say whatever they are told to.
#[derive(Debug)]
struct Books {
    inner: Arc<dyn OrderRepo>,
    totals: Totals,
}

#[async_trait]
impl OrderRepo for Books {
    async fn commit(&self, sale: &SaleRef, all: &[Attempt]) -> Result<Vec<Decision>, PortError> {
        self.inner.commit(sale, all).await
    }

    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        self.inner.release(sale, attempts, reason).await
    }

    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        self.inner.find(attempts).await
    }

    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError> {
        self.inner.list(sale, after, max).await
    }

    async fn totals(&self, _: SaleId) -> Result<Option<Totals>, PortError> {
        Ok(Some(self.totals))
    }
}

#[tokio::test]
async fn books_that_do_not_balance_are_a_violation() {
    let (mut shop, sale) = Shop::selling(3).await;
    let good = Totals {
        stock: 3,
        remaining: 3,
        ..Totals::default()
    };
    let cases = [
        (
            Totals {
                remaining: 2,
                ..good
            },
            Finding::BooksDoNotBalance {
                stock: 3,
                remaining: 2,
                sold: 0,
            },
        ),
        (
            Totals {
                sold: 5,
                remaining: 0,
                ..good
            },
            Finding::Oversold { units: 2 },
        ),
        (
            Totals {
                doubled_users: 1,
                ..good
            },
            Finding::DoubledUsers { users: 1 },
        ),
    ];
    let inner = shop.orders.clone();
    for (totals, finding) in cases {
        shop.orders = Arc::new(Books {
            inner: inner.clone(),
            totals,
        });
        let (verdict, findings) = findings(&shop, sale.id).await;
        assert_eq!(verdict, Verdict::Violation);
        assert!(findings.contains(&finding), "{findings:?}");
        assert!(!finding.to_string().is_empty());
    }
}

#[tokio::test]
async fn a_user_s_story_is_told_from_all_stores() {
    let (shop, sale) = Shop::selling(1).await;
    let auditor = shop.auditor();
    let timeline = async |name: &str| {
        auditor
            .timeline(sale.id, &user(name))
            .await
            .unwrap()
            .unwrap()
    };
    let accepted = shop.accepted("ann", sale.id).await;
    let pending = timeline("ann").await;
    assert_eq!(pending.allocation.unwrap().attempt, accepted.attempt);
    assert!(pending.orders.is_empty() && pending.result.is_none());
    shop.work().await;
    let bought = timeline("ann").await;
    assert_eq!(bought.orders.len(), 1);
    assert_eq!(bought.orders[0].attempt, accepted.attempt);
    assert!(bought.result.is_some());
    let stranger = timeline("bob").await;
    assert_eq!((stranger.allocation, stranger.result), (None, None));
    let unknown = SaleId::new(99).unwrap();
    assert_eq!(auditor.timeline(unknown, &user("ann")).await.unwrap(), None);
}
