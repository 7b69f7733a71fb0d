//! What an operator is told.

use std::time::{Duration, Instant};

use flashsale_core::domain::{NewUser, Role, SaleChange, Timestamp};
use flashsale_core::ports::{
    AttemptRecord, AttemptRepo, CreateUserOutcome, HealthCheck, OrderRepo, RecordedOutcome,
    SaleRepo, UserRepo,
};
use flashsale_core::{Effect, ErrorKind};
use flashsale_postgres::{PostgresConfig, PostgresDatabase};
use flashsale_stack::Postgres;

use crate::migrations::remedy;
use crate::shop;

/// Does everything once that needs a right.
pub(crate) async fn use_everything(url: &str) {
    let config = PostgresConfig {
        refusals_max: 1,
        ..shop::config(url)
    };
    let database = PostgresDatabase::new(config).unwrap();
    let (sales, orders) = (database.sales(), database.orders());
    let sale = shop::sale(&database, 3).await;
    let key = sale.key();
    sales.opened(&sale.key(), 1).await.unwrap();
    sales
        .change(sale.id, SaleChange::Restock(2), None)
        .await
        .unwrap();
    assert_eq!(sales.events(sale.id, 0).await.unwrap().len(), 1);
    let mut attempts = shop::attempts(&key, 4);
    orders.commit(&key, &attempts).await.unwrap();
    attempts.extend(shop::attempts(&key, 4));
    orders.commit(&key, &attempts).await.unwrap();
    let reason = flashsale_core::domain::FailReason::Cancelled;
    orders.release(&key, &attempts, reason).await.unwrap();
    assert_eq!(orders.totals(sale.id).await.unwrap().unwrap().orders, 5);
    let name = format!("ann-{}", shop::number());
    let ann = NewUser {
        username: name.clone(),
        email: name.clone(),
        full_name: None,
        password_hash: "$2b$".to_owned(),
        role: Role::Buyer,
    };
    let created = database.users().create(&ann).await.unwrap();
    assert!(matches!(created, CreateUserOutcome::Created(_)));
    let refusal = AttemptRecord {
        sale: sale.id,
        user: shop::user(1),
        at: Timestamp::from_millis(1),
        outcome: RecordedOutcome::SoldOut,
    };
    let attempts = database.attempts();
    attempts.record(&[refusal.clone(), refusal]).await.unwrap();
    let history = attempts.history(sale.id, &shop::user(1), 5).await;
    assert_eq!(history.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_unknown_names_are_told_with_a_remedy() {
    let server = Postgres::with_password();
    for (url, words) in [
        (
            server.url_for("postgres", "hunter2"),
            ["password authentication failed", "correct"],
        ),
        (server.url_for("nobody", "hunter2"), ["nobody", "correct"]),
        (
            shop::named(&server.url(), "nowhere"),
            ["nowhere", "create it"],
        ),
    ] {
        let database = shop::database(url);
        for fault in [
            database.check().await.unwrap_err(),
            database.migrate().await.unwrap_err(),
            database.sales().list().await.unwrap_err(),
        ] {
            let shown = format!("{fault:?}");
            assert!(
                !shown.contains("hunter2") && !shown.contains("open-sesame"),
                "{shown}"
            );
            let line = remedy(fault);
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
        }
    }
    let database = shop::database(server.url());
    database.migrate().await.unwrap();
    database.check().await.unwrap();
    assert!(!format!("{database:?}").contains("open-sesame"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_database_that_lose_orders_or_cannot_take_them_are_told() {
    for (setting, word) in [
        ("default_transaction_read_only = on", "read-only"),
        ("synchronous_commit = off", "synchronous_commit"),
    ] {
        let (url, _) = shop::fresh().await;
        let name = url.rsplit('/').next().unwrap();
        shop::psql(
            &shop::SERVER.url(),
            &format!("ALTER DATABASE {name} SET {setting}"),
        );
        let database = shop::database(url.as_str());
        let line = remedy(database.check().await.unwrap_err());
        assert!(line.contains(word), "{line}");
    }
    let name = format!("latin_{}", shop::number());
    let sql = format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    shop::psql(&shop::SERVER.url(), &sql);
    let url = shop::named(&shop::SERVER.url(), &name);
    let line = remedy(shop::database(url).migrate().await.unwrap_err());
    assert!(line.contains("LATIN1") && line.contains("UTF8"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_to_a_read_only_database_is_told_and_works_once_it_may() {
    let (url, database) = shop::fresh().await;
    let sale = shop::sale(&database, 3).await.key();
    let name = url.rsplit('/').next().unwrap();
    let set = |value: &str| {
        let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
        shop::psql(&shop::SERVER.url(), &sql);
    };
    set("on");
    let database = shop::database(url.as_str());
    let attempts = shop::attempts(&sale, 1);
    let fault = database
        .orders()
        .commit(&sale, &attempts)
        .await
        .unwrap_err();
    let line = remedy(fault);
    assert!(line.contains("primary"), "{line}");
    set("off");
    shop::until("it may write", || async {
        database.orders().commit(&sale, &attempts).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_told_and_works_once_it_is_promoted() {
    let mut server = Postgres::start();
    let database = shop::database(server.url());
    database.migrate().await.unwrap();
    let sale = shop::sale(&database, 3).await.key();
    let attempts = shop::attempts(&sale, 1);
    let folder = server.psql(&server.url(), "SHOW data_directory");
    std::fs::write(format!("{}/standby.signal", folder.trim()), "").unwrap();
    server.restart();
    let line = remedy(database.check().await.unwrap_err());
    assert!(
        line.contains("standby") && line.contains("primary"),
        "{line}"
    );
    let line = remedy(database.migrate().await.unwrap_err());
    assert!(line.contains("standby"), "{line}");
    let commit = database.orders().commit(&sale, &attempts).await;
    let line = remedy(commit.unwrap_err());
    assert!(line.contains("primary"), "{line}");
    // It can still be read.
    assert_eq!(database.sales().list().await.unwrap().len(), 1);
    server.psql(&server.url(), "SELECT pg_promote()");
    database.check().await.unwrap();
    database.orders().commit(&sale, &attempts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_hangs_is_unavailable_in_time() {
    let mut server = Postgres::reserve();
    let config = PostgresConfig {
        acquire_timeout_ms: 500,
        statement_timeout_ms: 500,
        ..shop::config(server.url())
    };
    let database = PostgresDatabase::new(config).unwrap();
    let ensure_unavailable = async || {
        let since = Instant::now();
        for fault in [
            database.check().await.unwrap_err(),
            database.migrate().await.unwrap_err(),
            database.sales().list().await.unwrap_err(),
        ] {
            assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault:?}");
            assert_eq!(fault.effect(), Effect::None, "{fault:?}");
        }
        // Half a second to connect and half a second to answer, with a second to spare.
        assert!(
            since.elapsed() < Duration::from_secs(3 * 2 + 1),
            "{:?}",
            since.elapsed()
        );
    };
    ensure_unavailable().await;
    server.start_now();
    database.migrate().await.unwrap();
    database.check().await.unwrap();
    server.freeze();
    ensure_unavailable().await;
    server.thaw();
    shop::until("it answers again", || async { database.check().await.ok() }).await;
    server.stop();
    ensure_unavailable().await;
    server.restart();
    shop::until("it is back", || async { database.check().await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_server_is_unavailable_and_the_pool_goes_on() {
    let mut server = Postgres::start();
    server.psql(&server.url(), "ALTER SYSTEM SET max_connections = 12");
    server.restart();
    let database = shop::database(server.url());
    database.migrate().await.unwrap();
    database.sales().list().await.unwrap();
    // Every connection that is left.
    let mut crowd = Vec::new();
    while let Ok(one) = <sqlx::PgConnection as sqlx::Connection>::connect(&server.url()).await {
        crowd.push(one);
    }
    let late = shop::database(server.url());
    let fault = late.check().await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault:?}");
    // Those that we have are enough.
    database.check().await.unwrap();
    database.sales().list().await.unwrap();
    drop(crowd);
    shop::until("there is room", || async { late.check().await.ok() }).await;
}
