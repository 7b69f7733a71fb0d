//! Addresses as people have them.

use flashsale_core::ErrorKind;
use flashsale_core::ports::HealthCheck;
use flashsale_postgres::PostgresDatabase;
use flashsale_stack::Postgres;

use crate::shop;

async fn works(database: &PostgresDatabase) {
    database.migrate().await.unwrap();
    database.check().await.unwrap();
}

#[tokio::test]
async fn a_server_is_reached_by_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    let postgres = Postgres::start();
    let url = postgres.fresh_database();
    works(&shop::database(url.replace("127.0.0.1", "[::1]"))).await;
}

#[tokio::test]
async fn a_password_with_every_sign_of_a_url_works_percent_encoded() {
    let postgres = Postgres::with_password();
    let make = "CREATE ROLE shop LOGIN SUPERUSER PASSWORD 'a#b/c@d,e?f&g:h%i'";
    postgres.psql(&postgres.url(), make);
    let password = "a%23b%2Fc%40d%2Ce%3Ff%26g%3Ah%25i";
    works(&shop::database(postgres.url_for("shop", password))).await;
    let wrong = shop::database(postgres.url_for("shop", "a%23b"));
    let fault = wrong.check().await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Misconfigured, "{fault:?}");
}

#[tokio::test]
async fn the_url_of_a_managed_service_works_with_its_parameters() {
    let postgres = Postgres::start();
    let url = postgres.fresh_database();
    let parameters = "channel_binding=require&connect_timeout=10&keepalives=1&\
        target_session_attrs=read-write&gssencmode=disable&sslmode=prefer";
    works(&shop::database(format!("{url}?{parameters}"))).await;
}
