//! Adapters of one engine beside those of the other.

use std::sync::Arc;

use flashsale_core::domain::{
    NewSale, Quantity, ReserveOutcome, ReserveRequest, Timestamp, UserId, Window,
};
use flashsale_core::ports::{IdSource, NoRecorder, StockStore, StockStoreExt};
use flashsale_core::services::{EnginePorts, StockReadiness};
use flashsale_core::testing::ManualClock;
use flashsale_embedded::{Decides, EmbeddedConfig, EmbeddedEngine, UuidV7};
use flashsale_redis::{RedisConfig, RedisStockStore};
use flashsale_stack::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_has_gone_back_is_noticed_by_orders_in_sqlite() {
    let mut redis = Redis::start();
    let url = redis.url();
    let folder = tempfile::tempdir().unwrap();
    let mut config = EmbeddedConfig::new(folder.path().join("orders"));
    config.decides = Decides::Later;
    let clock = Arc::new(ManualClock::default());
    clock.set(Timestamp::from_millis(1_000));
    let engine = EmbeddedEngine::open(config, clock).unwrap();
    // A process that has just been started has seen nothing of this Redis: the orders alone tell.
    let process = || {
        let mut config = RedisConfig::new(&url);
        config.work_budget_ms = 20_000;
        (config.budget_ms, config.response_ms) = (5_000, 1_000);
        let stock: Arc<dyn StockStore> = Arc::new(RedisStockStore::new(config).unwrap());
        let ports = EnginePorts {
            stock: stock.clone(),
            ..engine.ports(Arc::new(NoRecorder))
        };
        (stock, ports.orders.clone(), ports.services().sales)
    };
    let (stock, orders, sales) = process();
    let new = NewSale {
        product_name: "lamp".to_owned(),
        product_description: String::new(),
        window: Window {
            start: Timestamp::from_millis(0),
            end: Timestamp::from_millis(9_999_999_999_999),
        },
        stock: 10,
    };
    let key = sales.create(&new).await.unwrap().unwrap().sale.key();
    let buy = async |user: &str| {
        let request = ReserveRequest {
            attempt: UuidV7.attempt_id(),
            user: UserId::new(user).unwrap(),
            quantity: Quantity::ONE,
        };
        let outcome = stock.reserve_one(&key, &request).await.unwrap();
        let ReserveOutcome::Reserved(attempt) = outcome else {
            panic!("{outcome:?}");
        };
        orders.commit(&key, &[attempt]).await.unwrap();
    };
    buy("ann").await;
    let copy = redis.copy();
    buy("bob").await;
    let sale = sales.repo.find(key.id).await.unwrap().unwrap();
    assert_eq!(sale.decided_seq, 2);
    let ready = sales.prepare(&sale).await.unwrap();
    assert_eq!(ready, StockReadiness::Ready);
    redis.go_back_to(&copy);
    let (_, _, sales) = process();
    let prepared = sales.prepare(&sale).await.unwrap();
    assert_eq!(prepared, StockReadiness::Lost);
}
