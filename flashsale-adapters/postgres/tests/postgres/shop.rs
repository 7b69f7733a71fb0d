//! A PostgreSQL for the tests of one binary, and what they all need.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flashsale_core::domain::{
    Attempt, AttemptId, NewSale, Quantity, Sale, SaleRef, Timestamp, UserId, Window,
};
use flashsale_core::ports::{CreateSaleOutcome, SaleRepo};
use flashsale_postgres::{PostgresConfig, PostgresDatabase};
use flashsale_stack::Postgres;
use uuid::Uuid;

/// How long a test waits for something that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// For tests that do the server no harm.
pub(crate) static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);

/// The defaults, with waits that suit a test.
pub(crate) fn config(url: impl Into<String>) -> PostgresConfig {
    PostgresConfig {
        lock_timeout_ms: 500,
        ..PostgresConfig::new(url)
    }
}

pub(crate) fn database(url: impl Into<String>) -> PostgresDatabase {
    PostgresDatabase::new(config(url)).unwrap()
}

/// A migrated database of its own on the shared server.
pub(crate) async fn fresh() -> (String, PostgresDatabase) {
    let url = SERVER.fresh_database();
    let database = database(url.as_str());
    database.migrate().await.unwrap();
    (url, database)
}

pub(crate) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A sale of a product of its own.
pub(crate) async fn sale(database: &PostgresDatabase, stock: u64) -> Sale {
    let new = NewSale {
        product_name: format!("product {}", number()),
        product_description: String::new(),
        window: Window {
            start: Timestamp::from_millis(0),
            end: Timestamp::from_millis(1_000),
        },
        stock,
    };
    match database.sales().create(&new).await.unwrap() {
        CreateSaleOutcome::Created(sale) => sale,
        CreateSaleOutcome::Refused(refused) => panic!("{refused}"),
    }
}

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(format!("user-{number}")).unwrap()
}

pub(crate) fn attempt(sale: &SaleRef, user: UserId) -> Attempt {
    Attempt {
        id: AttemptId::from_uuid(Uuid::now_v7()),
        sale: sale.id,
        product: sale.product,
        user,
        quantity: Quantity::ONE,
        epoch: sale.epoch,
        seq: 1,
        reserved_at: Timestamp::from_millis(5),
    }
}

/// Attempts of users that no other batch has.
pub(crate) fn attempts(sale: &SaleRef, count: usize) -> Vec<Attempt> {
    (0..count).map(|_| attempt(sale, user(number()))).collect()
}

/// Tries until it works.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(
            since.elapsed() < PATIENCE,
            "{what}: never within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs psql on another thread, so that this one can go on.
pub(crate) fn psql(url: &str, sql: &str) -> String {
    SERVER.psql(url, sql).trim().to_owned()
}

/// The URL of another database of the same server.
pub(crate) fn named(url: &str, database: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{database}")
}
