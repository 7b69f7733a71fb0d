//! A crowd at the door, over real HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Answer, Client, Shop};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Lets this process open as many sockets as the system allows.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_users_for_a_hundred_units() {
    const USERS: usize = 2_000;
    const UNITS: usize = 100;
    raise_open_files();
    let shop = Shop::new();
    shop.open_sale("Lamp", UNITS as u64);
    let server = shop.serve();

    // Everybody is connected before the first one asks, and asks twice.
    let start = Arc::new(Barrier::new(USERS));
    let mut crowd = JoinSet::new();
    for user in 0..USERS {
        let (address, start) = (server.address, Arc::clone(&start));
        crowd.spawn(async move {
            let token = Shop::token(&format!("user-{user}"));
            let mut client = Client::connect(address).await.unwrap();
            start.wait().await;
            let first = client.attempt(1, &token).await.unwrap();
            let again = client.attempt(1, &token).await.unwrap();
            let status = client.get("/api/orders/status/1", &token).await.unwrap();
            (first, again, status)
        });
    }
    let mut attempts = HashSet::new();
    let mut refused = 0;
    while let Some(answers) = crowd.join_next().await {
        let (first, again, status) = answers.unwrap();
        if first.status == 200 {
            assert_eq!(first.data("status"), "SUCCESS");
            assert_eq!(again.status, 200);
            assert_eq!(again.data("attemptId"), first.data("attemptId"));
            assert_eq!(status.data("status"), "SUCCESS");
            assert!(attempts.insert(first.data("attemptId").to_owned()));
        } else {
            for answer in [&first, &again] {
                assert_eq!((answer.status, answer.code()), (409, "SOLD_OUT"));
            }
            assert_eq!(status.data("status"), "PENDING");
            assert_eq!(status.body["data"]["attempted"], false);
            refused += 1;
        }
    }
    assert_eq!((attempts.len(), refused), (UNITS, USERS - UNITS));

    let report = shop.json(&["audit", "1", "--json"]);
    assert_eq!(
        (&report["verdict"], &report["orders"]),
        (&"EXACT".into(), &UNITS.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_attempts_of_one_user_are_one_attempt() {
    const CONNECTIONS: usize = 500;
    const AT_ONCE: usize = 20;
    raise_open_files();
    let shop = Shop::new();
    shop.open_sale("Lamp", 100);
    let server = shop.serve();

    let token = Shop::token("impatient");
    let start = Arc::new(Barrier::new(CONNECTIONS));
    let mut connections: JoinSet<Vec<Answer>> = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, start, token) = (server.address, Arc::clone(&start), token.clone());
        connections.spawn(async move {
            let mut client = Client::connect(address).await.unwrap();
            start.wait().await;
            client.attempts(1, &token, AT_ONCE).await.unwrap()
        });
    }
    let mut told: HashMap<String, usize> = HashMap::new();
    while let Some(answers) = connections.join_next().await {
        for answer in answers.unwrap() {
            assert_eq!(answer.status, 200, "{answer:?}");
            *told.entry(answer.data("attemptId").to_owned()).or_default() += 1;
        }
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told.values().sum::<usize>(), CONNECTIONS * AT_ONCE);

    let report = shop.json(&["audit", "1", "--json"]);
    assert_eq!(
        (&report["verdict"], &report["sold"]),
        (&"EXACT".into(), &1.into())
    );
}
