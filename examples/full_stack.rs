//! The whole distributed engine in one program: stock in Redis, attempts through Kafka, orders in
//! PostgreSQL, and the API of the server beside calls of one's own.
//!
//! `cargo run -p flashsale-examples --bin full_stack`; it takes `DATABASE_URL`, `REDIS_URL` and
//! `KAFKA_BROKERS` from the environment, or starts servers of its own (which have to be installed:
//! `dev/services install`).

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::domain::{NewSale, OrderStatus, UserId, Window};
use flashsale_core::ports::Clock;
use flashsale_core::services::{AcceptAfter, AttemptOutcome, OnPublishFailure};
use flashsale_embedded::SystemClock;
use flashsale_kafka::KafkaConfig;
use flashsale_postgres::PostgresConfig;
use flashsale_redis::RedisConfig;
use flashsale_server::{
    Background, BackgroundConfig, Distributed, DistributedConfig, HttpConfig, Role, app,
};
use flashsale_stack::{Kafka, Postgres, Redis};
use poem::test::TestClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = ["DATABASE_URL", "REDIS_URL", "KAFKA_BROKERS"].map(|name| env::var(name).ok());
    let (own, [database, redis, brokers]) = match settings {
        [Some(database), Some(redis), Some(brokers)] => (None, [database, redis, brokers]),
        _ => {
            println!("starting Redis, PostgreSQL and Kafka");
            let servers = (Postgres::start(), Redis::start(), Kafka::start());
            let places = [servers.0.url(), servers.1.url(), servers.2.brokers()];
            (Some(servers), places)
        }
    };
    let engine = Distributed::new(DistributedConfig {
        postgres: PostgresConfig::new(database),
        redis: RedisConfig::new(redis),
        kafka: Some(KafkaConfig::new(brokers)),
        accept_after: AcceptAfter::Logged,
        on_publish_failure: OnPublishFailure::Complete,
    })?;
    engine.migrate().await?;

    let hasher = Arc::new(BcryptPasswordHasher::new(BcryptConfig::default())?);
    let key = JwtKey::hs256("1", *b"32 bytes, and better random ones");
    let tokens = Arc::new(JwtTokenIssuer::new(JwtConfig::new([key]))?);
    let services = Arc::new(engine.services(hasher, tokens, Role::All));
    let background = Background::start(&services, &BackgroundConfig::default()).await;

    // poem::Server would serve this on a socket.
    let client = TestClient::new(app(Arc::clone(&services), &HttpConfig::default())?);
    client.get("/health").send().await.assert_status_is_ok();

    let now = SystemClock.now();
    let lamps = NewSale {
        product_name: format!("Lamp {now}"),
        product_description: "One per person".to_owned(),
        window: Window {
            start: now,
            end: now.plus_ms(60 * 60 * 1_000),
        },
        stock: 100,
    };
    let shop = &services.engine;
    let sale = shop.sales.create(&lamps).await??.sale;
    let ann = UserId::new("ann")?;
    match shop.flash_sale.attempt(&ann, sale.id).await? {
        AttemptOutcome::Accepted(yes) => println!("ann: attempt {}", yes.attempt),
        no => return Err(format!("ann: {no:?}").into()),
    }
    // A worker, here in the same process, makes it an order.
    let ordered = async {
        loop {
            let purchase = shop
                .flash_sale
                .purchase_status(&ann, sale.product.id)
                .await?;
            if purchase.status == OrderStatus::Success {
                return Ok::<_, Box<dyn Error>>(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ordered).await??;
    println!("ann: SUCCESS");

    background.stop(Duration::from_secs(1)).await;
    engine.close(Duration::from_secs(1)).await;
    drop(own);
    Ok(())
}
