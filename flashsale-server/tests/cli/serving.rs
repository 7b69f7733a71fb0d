//! `serve`: one server a file and a port, and how it leaves.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flashsale_core::domain::{AttemptId, Quantity, ReserveOutcome, ReserveRequest, SaleId, UserId};
use flashsale_core::ports::{AttemptQueue, IdSource, SaleRepo, StockStore};
use flashsale_embedded::{Decides, EmbeddedConfig, EmbeddedEngine, SystemClock, UuidV7};
use rustix::process::Signal;
use serde_json::Value;

use crate::complaint;
use crate::support::{Client, DEADLINE, ServerProcess, Shop, past};

#[test]
fn a_second_server_on_the_same_file_is_told_who_has_it() {
    let shop = Shop::new();
    let server = shop.serve();
    let mut second = shop.command(&["serve"]);
    let output = second
        .env("PORT", "0")
        .env("JWT_SECRET", Shop::SECRET)
        .output()
        .unwrap();
    let said = complaint(&output, 1);
    assert!(said.contains("in use by another process"), "{said}");
    assert!(said.contains(&server.id().to_string()), "{said}");
}

#[cfg(unix)]
#[test]
fn a_link_to_the_file_is_the_same_file() {
    let shop = Shop::new();
    let server = shop.serve();
    let mut other = Shop::new();
    let link = other.folder().join("link.db");
    std::os::unix::fs::symlink(&shop.file, &link).unwrap();
    other.file = link;
    let mut second = other.command(&["serve"]);
    let output = second
        .env("PORT", "0")
        .env("JWT_SECRET", Shop::SECRET)
        .output()
        .unwrap();
    assert!(complaint(&output, 1).contains("in use by another process"));
    shop.open_sale("Lamp", 10);
    assert_eq!(other.json(&["sale", "list", "--json"])[0]["stock"], 10);
    drop(server);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let shop = Shop::new();
    let mut command = shop.command(&["serve", "--port", &port]);
    let output = command.env("JWT_SECRET", Shop::SECRET).output().unwrap();
    let said = complaint(&output, 1);
    assert!(said.contains(&format!("PORT {port}")), "{said}");
    assert!(said.contains("is taken"), "{said}");
}

#[test]
fn a_server_waits_for_a_command_that_is_about_to_finish() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    // Several at once: each has the file for a moment, and none gets in the way of another.
    let commands: Vec<_> = (0..4)
        .map(|_| {
            shop.command(&["sale", "show", "1"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let server = shop.serve();
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
    drop(server);
}

#[tokio::test]
async fn a_request_that_was_accepted_is_answered_before_the_server_leaves() {
    for signal in [Signal::TERM, Signal::INT] {
        let shop = Shop::new();
        let mut server = shop.serve();
        let mut client = Client::connect(server.address).await.unwrap();
        let body = r#"{"username":"nobody","password":"something"}"#;
        let head = format!(
            "POST /api/auth/login HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write(&head).await.unwrap();
        assert_eq!(
            client.answer().await.unwrap().status,
            100,
            "the request is under way"
        );

        let asked = Instant::now();
        server.signal(signal);
        server.wait_for_log("stopping");
        client.write(body).await.unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.code(), "INVALID_CREDENTIALS");

        let status = server.wait_for_end();
        assert_eq!(status.code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(10));
        assert!(Client::connect(server.address).await.is_err());
    }
}

#[tokio::test]
async fn a_server_that_leaves_says_so_before_it_closes_the_port() {
    let shop = Shop::new();
    let mut command = shop.serve_command();
    let mut server = ServerProcess::start(command.env("SHUTDOWN_DELAY", "1h"));
    let mut client = Client::connect(server.address).await.unwrap();
    assert_eq!(client.get("/ready", "").await.unwrap().status, 200);

    server.signal(Signal::TERM);
    server.wait_for_log("leaving");
    let mut newcomer = Client::connect(server.address).await.unwrap();
    let ready = newcomer.get("/ready", "").await.unwrap();
    assert_eq!((ready.status, ready.code()), (503, "UNAVAILABLE"));
    assert_eq!(newcomer.get("/health", "").await.unwrap().status, 200);

    // Who signals once more does not want to wait.
    server.signal(Signal::TERM);
    assert_eq!(server.wait_for_end().code(), Some(0));
    assert!(Client::connect(server.address).await.is_err());
}

#[tokio::test]
async fn the_port_is_closed_when_the_time_is_over() {
    let shop = Shop::new();
    let mut command = shop.serve_command();
    let mut server = ServerProcess::start(command.env("SHUTDOWN_DELAY", "1s"));
    server.signal(Signal::TERM);
    server.wait_for_log("leaving");
    server.wait_for_log("stopping");
    assert_eq!(server.wait_for_end().code(), Some(0));
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_server() {
    let shop = Shop::new();
    let mut server = shop.serve();
    let mut client = Client::connect(server.address).await.unwrap();
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\n\
                content-type: application/json\r\ncontent-length: 10\r\n\r\n";
    client.write(head).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 100);
    let asked = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_for_end().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_idle_server_leaves_at_once_and_its_log_is_json_without_secrets() {
    let shop = Shop::new();
    let mut server = shop.serve();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_for_end().code(), Some(0));
    let stopped: Value = serde_json::from_str(&server.wait_for_log("stopped")).unwrap();
    assert_eq!(stopped["level"], "INFO");
}

#[tokio::test]
async fn attempts_survive_a_restart() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    let mut server = shop.serve();
    let token = Shop::token("ann");
    let mut client = Client::connect(server.address).await.unwrap();
    let first = client.attempt(1, &token).await.unwrap();
    server.signal(Signal::TERM);
    server.wait_for_end();

    let server = shop.serve();
    let mut client = Client::connect(server.address).await.unwrap();
    let again = client.attempt(1, &token).await.unwrap();
    assert_eq!(again.data("attemptId"), first.data("attemptId"));
    let status = client.get("/api/orders/status/1", &token).await.unwrap();
    assert_eq!(status.data("status"), "SUCCESS");
    drop(server);
}

#[tokio::test]
async fn attempts_that_an_earlier_process_left_undecided_are_decided() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    let attempts = undecided(&shop, &["ann", "ben"]).await;

    let server = shop.serve();
    let mut client = Client::connect(server.address).await.unwrap();
    for (user, attempt) in [("ann", attempts[0]), ("ben", attempts[1])] {
        let token = Shop::token(user);
        let asked = Instant::now();
        let answer = loop {
            let answer = client.attempt(1, &token).await.unwrap();
            if answer.data("status") == "SUCCESS" {
                break answer;
            }
            assert!(asked.elapsed() < DEADLINE, "{answer:?}");
        };
        assert_eq!(answer.data("attemptId"), attempt.to_string());
    }
    assert_eq!(shop.json(&["audit", "1", "--json"])["orders"], 2);
}

/// Reserves a unit for each user without deciding; the queue gets the first attempt only.
async fn undecided(shop: &Shop, users: &[&str]) -> Vec<AttemptId> {
    let config = EmbeddedConfig {
        decides: Decides::Later,
        ..EmbeddedConfig::new(&shop.file)
    };
    let engine = EmbeddedEngine::open(config, Arc::new(SystemClock)).unwrap();
    let sale = engine
        .sales()
        .find(SaleId::new(1).unwrap())
        .await
        .unwrap()
        .unwrap()
        .key();
    let request = |user: &&str| ReserveRequest {
        attempt: UuidV7.attempt_id(),
        user: UserId::new(user).unwrap(),
        quantity: Quantity::ONE,
    };
    let requests: Vec<_> = users.iter().map(request).collect();
    let reserved = engine.stock().reserve(&sale, &requests).await.unwrap();
    let ReserveOutcome::Reserved(first) = &reserved[0] else {
        panic!("{reserved:?}");
    };
    engine
        .queue()
        .publish(std::slice::from_ref(first))
        .await
        .unwrap();
    requests.iter().map(|request| request.attempt).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_the_service_before_this_one_go_on() {
    let shop = Shop::new();
    let sale = shop.open_sale("Lamp", 3);
    let database = rusqlite::Connection::open(&shop.file).unwrap();
    database.execute(past::USERS, []).unwrap();
    drop(database);
    let mut command = shop.serve_command();
    let origin = "https://shop.example";
    command
        .env("CORS_ORIGINS", origin)
        .env("CORS_HEADERS", "X-Shop");
    let server = ServerProcess::start(&mut command);
    past::ensure_lives_on(server.address, sale["id"].as_i64().unwrap()).await;
    let headers = "authorization,baggage,traceparent,x-requested-with,x-shop";
    past::ensure_pages_may_call(server.address, origin, headers).await;
}
