use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Client;

/// How long a [`rush`] took.
#[derive(Clone, Debug)]
pub struct Rush {
    /// From the first request to the last answer.
    pub took: Duration,
    /// Each answer by itself, in no order.
    pub waits: Vec<Duration>,
}

/// Sends all requests over `connections` connections that are kept alive, each waiting for its
/// answer before the next request.
///
/// # Panics
/// If a connection breaks, or an answer has another status than `status`.
pub async fn rush(
    address: SocketAddr,
    connections: usize,
    requests: Vec<String>,
    status: u16,
) -> Rush {
    let mut shares = vec![Vec::new(); connections];
    for (n, request) in requests.into_iter().enumerate() {
        shares[n % connections].push(request);
    }
    let mut clients = Vec::with_capacity(connections);
    for share in shares {
        let client = Client::connect(address).await.expect("a connection");
        clients.push((client, share));
    }
    let start = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|(client, share)| tokio::spawn(ask_all(client, share, status)))
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.expect("no client panics"));
    }
    Rush {
        took: start.elapsed(),
        waits,
    }
}

async fn ask_all(mut client: Client, requests: Vec<String>, status: u16) -> Vec<Duration> {
    let mut waits = Vec::with_capacity(requests.len());
    for request in requests {
        let asked = Instant::now();
        client.write(&request).await.expect("no connection breaks");
        let answer = client.answer_bytes().await;
        let (told, body) = answer.expect("no connection breaks");
        waits.push(asked.elapsed());
        assert_eq!(told, status, "{}", String::from_utf8_lossy(body));
    }
    waits
}
