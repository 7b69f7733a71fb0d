//! Many users who know what they want and do not give up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{self, Answer, Client};

/// No answer may take longer than this, whatever is away: the budgets of the parts, and what two
/// busy cores add.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(5);
/// When a user gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one user was told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) user: String,
    /// The final answer: accepted or refused.
    pub(crate) answer: Answer,
    pub(crate) slowest: Duration,
}

impl Told {
    pub(crate) fn accepted(&self) -> bool {
        self.answer.status == 200
    }
}

/// A rush of users, a number of connections at a time; each user asks until the answer is final.
#[derive(Clone, Debug)]
pub(crate) struct Rush {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) sale: i64,
    pub(crate) users: usize,
    pub(crate) connections: usize,
    /// The pause of each connection between two users.
    pub(crate) pace: Duration,
}

impl Rush {
    pub(crate) async fn run(self) -> Vec<Told> {
        let rush = Arc::new(self);
        let mut crowd = JoinSet::new();
        for connection in 0..rush.connections {
            let rush = Arc::clone(&rush);
            crowd.spawn(async move {
                let address = rush.addresses[connection % rush.addresses.len()];
                let mut told = Vec::new();
                for user in (connection..rush.users).step_by(rush.connections) {
                    told.push(ask(address, rush.sale, format!("user-{user}")).await);
                    sleep(rush.pace).await;
                }
                told
            });
        }
        let told: Vec<_> = crowd.join_all().await.into_iter().flatten().collect();
        assert_eq!(told.len(), rush.users);
        told
    }
}

async fn ask(address: SocketAddr, sale: i64, user: String) -> Told {
    let token = support::Shop::token(&user);
    let since = Instant::now();
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let attempt = async {
            let mut client = Client::connect(address).await?;
            client.attempt(sale, &token).await
        };
        let answer = timeout(ANSWER_MAX * 2, attempt).await;
        let answer = answer.unwrap_or_else(|_| panic!("{user} got no answer in time"));
        slowest = slowest.max(asked.elapsed());
        match answer {
            // A process may not have heard yet of a sale that another one has just made.
            Ok(answer) if answer.status == 404 => assert_eq!(answer.code(), "SALE_NOT_FOUND"),
            Ok(answer) if answer.status != 503 => {
                return Told {
                    user,
                    answer,
                    slowest,
                };
            }
            Ok(answer) => assert_eq!(answer.code(), "UNAVAILABLE", "{answer:?}"),
            Err(_) => {}
        }
        assert!(since.elapsed() < PATIENCE, "{user} was never answered");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Asks for the results of everybody who was accepted until none is pending; returns how many
/// succeeded.
pub(crate) async fn results(
    address: SocketAddr,
    product: i64,
    told: &[Told],
    within: Duration,
) -> usize {
    let deadline = Instant::now() + within;
    let mut succeeded = 0;
    let mut client = Client::connect(address).await.unwrap();
    for told in told.iter().filter(|told| told.accepted()) {
        let token = support::Shop::token(&told.user);
        let path = format!("/api/orders/status/{product}");
        loop {
            let status = match client.get(&path, &token).await {
                Ok(answer) if answer.status == 200 => answer.data("status").to_owned(),
                Ok(answer) => answer.code().to_owned(),
                Err(_) => {
                    client = Client::connect(address).await.unwrap();
                    continue;
                }
            };
            match status.as_str() {
                "SUCCESS" => {
                    succeeded += 1;
                    break;
                }
                "FAILED" => break,
                _ => {}
            }
            let user = &told.user;
            assert!(Instant::now() < deadline, "{user} is still {status}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    succeeded
}
