//! How processes start, change and leave.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use flashsale_stack::{Kafka, Postgres, Redis};
use rustix::process::Signal;

use crate::crowd::{Rush, results};
use crate::rushes::{ensure_sold, ensure_told};
use crate::shop::{Own, Shop};
use crate::support::{Answer, Client, ServerProcess};

const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is as wished.
pub(crate) async fn until(
    what: &str,
    server: &ServerProcess,
    request: (&str, &str, &str),
    wished: impl Fn(&Answer) -> bool,
) -> Answer {
    let (method, path, token) = request;
    let since = Instant::now();
    loop {
        let mut client = Client::connect(server.address).await.unwrap();
        let answer = match method {
            "GET" => client.get(path, token).await.unwrap(),
            _ => client.post(path, token, "").await.unwrap(),
        };
        if wished(&answer) {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_may_come_up_in_any_order() {
    let (redis, kafka, postgres) = (Redis::reserve(), Kafka::reserve(), Postgres::reserve());
    let mut shop = Shop::of(redis, Own { kafka, postgres });
    let listen = |role| ServerProcess::listen(&mut shop.serve_command(role));
    let (api, worker) = (listen("api"), listen("worker"));
    let health = until("alive", &api, ("GET", "/health", ""), |_| true).await;
    assert_eq!(health.status, 200);
    let ready = until("not ready", &api, ("GET", "/ready", ""), |_| true).await;
    assert_eq!(ready.status, 503, "{ready:?}");
    let checks = serde_json::json!({"stock": "down", "queue": "down", "database": "down"});
    assert_eq!(ready.body["checks"], checks);
    let token = crate::support::Shop::token("early");
    let early = until(
        "early",
        &api,
        ("POST", "/api/flash-sale/attempt/1", &token),
        |_| true,
    )
    .await;
    assert_eq!((early.status, early.code()), (503, "UNAVAILABLE"));

    shop.own().postgres.start_now();
    shop.redis.start_now();
    let degraded =
        |answer: &Answer| answer.status == 200 && answer.body["checks"]["queue"] == "down";
    let ready = until("without Kafka", &api, ("GET", "/ready", ""), degraded).await;
    assert_eq!(ready.body["status"], "degraded");
    let (sale, product) = shop.sale("Lamp", 50, "now", "+1h");
    let rush = Rush {
        addresses: vec![api.address],
        sale,
        users: 200,
        connections: 20,
        pace: Duration::ZERO,
    };
    let told = rush.run().await;
    ensure_told(&told, 50);
    for told in told.iter().filter(|told| told.accepted()) {
        assert_eq!(told.answer.data("durability"), "RESERVED");
    }

    shop.own().kafka.start_now();
    let up = |answer: &Answer| answer.body["checks"]["queue"] == "up";
    until("with Kafka", &api, ("GET", "/ready", ""), up).await;
    until("with Kafka", &worker, ("GET", "/ready", ""), up).await;
    let succeeded = results(api.address, product, &told, PATIENCE).await;
    assert_eq!(succeeded, 50);
    ensure_sold(&shop, (sale, product), 50).await;
    let logged = |answer: &Answer| answer.status == 200 && answer.data("durability") == "LOGGED";
    let (sale, _) = shop.sale("Chair", 1_000, "now", "+1h");
    let path = format!("/api/flash-sale/attempt/{sale}");
    let token = crate::support::Shop::token("late");
    until("after it", &api, ("POST", &path, &token), logged).await;
}

#[test]
fn several_processes_migrate_at_once() {
    let shop = Shop::new();
    let migrations: Vec<_> = (0..4)
        .map(|_| shop.command(&["migrate"]).spawn().unwrap())
        .collect();
    for mut migration in migrations {
        assert!(migration.wait().unwrap().success());
    }
    assert_eq!(
        shop.json(&["sale", "list", "--json"]),
        serde_json::json!([])
    );
}

#[tokio::test]
async fn a_worker_answers_the_service_routes_only() {
    let shop = Shop::new();
    shop.sale("Lamp", 1, "now", "+1h");
    let mut command = shop.serve_command("worker");
    command.env_remove("JWT_SECRET");
    let worker = ServerProcess::start(&mut command);
    let ready = |answer: &Answer| answer.status == 200;
    until("ready", &worker, ("GET", "/ready", ""), ready).await;
    let token = crate::support::Shop::token("ann");
    for request in [
        ("POST", "/api/flash-sale/attempt/1", &*token),
        ("GET", "/api/flash-sale/status", &token),
        ("POST", "/api/auth/login", ""),
    ] {
        let answer = until("not here", &worker, request, |_| true).await;
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_asked_to_leave_finishes_what_it_accepted() {
    let shop = Shop::new();
    let (sale, product) = shop.sale("Lamp", 300, "now", "+1h");
    for stage in ["logged", "reserved"] {
        let start =
            |role| ServerProcess::start(shop.serve_command(role).env("ACCEPT_AFTER", stage));
        let (mut api, mut worker) = (start("api"), start("worker"));
        let users: Vec<_> = (0..40).map(|number| format!("{stage}-{number}")).collect();
        let mut client = Client::connect(api.address).await.unwrap();
        for user in &users {
            let token = crate::support::Shop::token(user);
            let answer = loop {
                let answer = client.attempt(sale, &token).await.unwrap();
                if answer.status != 503 {
                    break answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        for process in [&mut api, &mut worker] {
            let since = Instant::now();
            process.signal(Signal::TERM);
            assert!(process.wait_for_end().success());
            let took = since.elapsed();
            assert!(took < Duration::from_secs(10), "leaving took {took:?}");
        }
        let next = shop.serve("all");
        let path = format!("/api/orders/status/{product}");
        for user in &users {
            let token = crate::support::Shop::token(user);
            let success =
                |answer: &Answer| answer.status == 200 && answer.data("status") == "SUCCESS";
            until("an order", &next, ("GET", &path, &token), success).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_trail_has_every_accepted_attempt_and_the_refusals() {
    let shop = Shop::new();
    let (sale, product) = shop.sale("Lamp", 10, "now", "+1h");
    let server = shop.serve("all");
    let rush = Rush {
        addresses: vec![server.address],
        sale,
        users: 300,
        connections: 30,
        pace: Duration::ZERO,
    };
    let told = rush.run().await;
    ensure_told(&told, 10);
    results(server.address, product, &told, PATIENCE).await;
    let outcomes =
        format!("SELECT count(*) FROM purchase_attempts WHERE sale_id = {sale} AND outcome");
    let since = Instant::now();
    while shop.count(&format!("{outcomes} = 'SOLD_OUT'")) < 290 {
        assert!(since.elapsed() < PATIENCE, "refusals are missing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(shop.count(&format!("{outcomes} = 'ACCEPTED'")), 10);
}

/// Leads from a port to a server, from now on.
fn lead(port: u16, server: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_turns_out_wrong_ends_nobody_who_serves() {
    let shop = Shop::new();
    let late = Redis::reserve();
    let forgetful = Redis::with(&["--maxmemory-policy", "allkeys-lru"]);
    let start = |role| {
        let mut command = shop.serve_command(role);
        ServerProcess::start(command.env("REDIS_URL", late.url()))
    };
    let (worker, api) = (start("worker"), start("api"));
    lead(late.port(), forgetful.port());
    for server in [&worker, &api] {
        let line = server.wait_for_log("cannot be used as it is set up");
        assert!(line.contains("REDIS_URL"), "{line}");
        assert!(line.contains("set maxmemory-policy noeviction"), "{line}");
    }
    let down = |answer: &Answer| answer.body["checks"]["stock"] == "down";
    let ready = ("GET", "/ready", "");
    let degraded = until("degraded", &worker, ready, down).await;
    assert_eq!(degraded.status, 200);
    assert_eq!(degraded.body["status"], "degraded");
    let unusable = until("unusable", &api, ready, down).await;
    assert_eq!(unusable.status, 503);

    // Several checks later it is said once, and nobody has ended.
    tokio::time::sleep(Duration::from_secs(1)).await;
    forgetful.cli(&["config", "set", "maxmemory-policy", "noeviction"]);
    for server in [&worker, &api] {
        let fine = |answer: &Answer| answer.status == 200 && answer.body["status"] == "ok";
        until("mended", server, ready, fine).await;
        let log = server.rest_of_log();
        let again = log
            .iter()
            .filter(|line| line.contains("cannot be used as it is"));
        assert_eq!(again.count(), 0, "{log:#?}");
    }
}
