//! A crowd at the login.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use flashsale_client::Answer;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Client, DEADLINE, ServerProcess, Shop};

const PASSWORD: &str = "correct horse";

fn credentials(name: &str) -> String {
    format!(r#"{{"username":"{name}","password":"{PASSWORD}"}}"#)
}

async fn log_in(address: SocketAddr, name: &str) -> Answer {
    let mut client = Client::connect(address).await.unwrap();
    let answer = client.post("/api/auth/login", "", &credentials(name)).await;
    answer.unwrap()
}

/// A server whose passwords take long enough for a queue.
async fn server(shop: &Shop) -> ServerProcess {
    let server = ServerProcess::start(shop.serve_command().env("BCRYPT_COST", "6"));
    let mut client = Client::connect(server.address).await.unwrap();
    let ann = format!(r#"{{"username":"ann","email":"ann@example.org","password":"{PASSWORD}"}}"#);
    let registered = client.post("/api/auth/register", "", &ann).await.unwrap();
    assert_eq!(registered.status, 201);
    server
}

/// 96 clients, each of which asks again at once when it is answered, until they are stopped.
struct Flood {
    clients: JoinSet<()>,
    stop: Arc<AtomicBool>,
    limited: Arc<AtomicUsize>,
}

impl Flood {
    const CLIENTS: usize = 96;

    /// Each client asks for the name that `name` gives its number.
    async fn start(address: SocketAddr, name: fn(usize) -> String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let limited = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for number in 0..Self::CLIENTS {
            let (stop, limited) = (Arc::clone(&stop), Arc::clone(&limited));
            clients.spawn(async move {
                let body = credentials(&name(number));
                let mut client = Client::connect(address).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.post("/api/auth/login", "", &body).await.unwrap();
                    match answer.status {
                        401 => {}
                        429 => {
                            assert_eq!(answer.code(), "RATE_LIMITED");
                            limited.fetch_add(1, Ordering::Relaxed);
                        }
                        other => panic!("{other}"),
                    }
                }
            });
        }
        Self {
            clients,
            stop,
            limited,
        }
    }

    async fn told_to_stay_away(&self) {
        while self.limited.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
    }
}

#[tokio::test]
async fn a_flood_on_one_name_shuts_nobody_else_out() {
    let shop = Shop::new();
    let server = server(&shop).await;
    let flood = Flood::start(server.address, |_| "mallory".to_owned()).await;
    let told = timeout(DEADLINE, flood.told_to_stay_away()).await;
    told.expect("a flood is told to stay away");
    for time in 1..=10 {
        let answer = log_in(server.address, "ann").await;
        assert_eq!(answer.status, 200, "time {time}: {answer:?}");
    }
    flood.end().await;
}
