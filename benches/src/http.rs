use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::domain::{Role, UserId};
use flashsale_core::ports::{Clock, TokenIssuer};
use flashsale_embedded::SystemClock;
use flashsale_server::{Background, BackgroundConfig, HttpConfig, Services, app, serve};
use poem::http::header::{AUTHORIZATION, CONTENT_TYPE};
use poem::listener::TcpListener as PoemListener;
use poem::{EndpointExt, Request, Response, Route, Server, handler, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Shop;

/// Issues the tokens that both servers accept.
pub fn issuer() -> Arc<JwtTokenIssuer> {
    let key = JwtKey::hs256("bench", *b"a secret for benches, 32 bytes +");
    Arc::new(JwtTokenIssuer::new(JwtConfig::new([key])).expect("a valid configuration"))
}

/// Ready-made attempts of new users in a sale.
pub fn requests(issuer: &JwtTokenIssuer, sale: i64, users: std::ops::Range<u64>) -> Vec<String> {
    users
        .map(|user| {
            let user = UserId::new(user.to_string()).expect("digits");
            let issued = issuer.issue(&user, user.as_str(), Role::Buyer, SystemClock.now());
            let token = issued.expect("a token").token;
            format!(
                "POST /api/flash-sale/attempt/{sale} HTTP/1.1\r\nhost: shop\r\n\
                 authorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
            )
        })
        .collect()
}

/// Serves the contract over a shop's engine.
pub async fn serve_shop(shop: &Shop, tokens: Arc<JwtTokenIssuer>) -> SocketAddr {
    let config = BcryptConfig {
        cost: 4,
        ..BcryptConfig::default()
    };
    let hasher = Arc::new(BcryptPasswordHasher::new(config).expect("a valid configuration"));
    let services = Arc::new(Services::embedded(&shop.engine, hasher, tokens));
    let background = Background::start(&services, &BackgroundConfig::default()).await;
    let app = app(services, &HttpConfig::default()).expect("a valid configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let never = std::future::pending();
        let served = serve(listener, app, &HttpConfig::default(), never, Duration::ZERO).await;
        drop(background);
        served
    });
    address
}

/// The yardstick: a bare poem route that checks the token and answers with as many bytes.
pub async fn serve_bare(
    tokens: Arc<JwtTokenIssuer>,
    status: poem::http::StatusCode,
    body: String,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let route = Route::new().at(
        "/api/flash-sale/attempt/:sale",
        post(bare)
            .data(tokens)
            .data((status, Arc::<str>::from(body))),
    );
    let ready = PoemListener::bind(address.to_string());
    tokio::spawn(Server::new(ready).run(route));
    loop {
        match TcpStream::connect(address).await {
            Ok(_) => return address,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[handler]
fn bare(
    request: &Request,
    tokens: poem::web::Data<&Arc<JwtTokenIssuer>>,
    answer: poem::web::Data<&(poem::http::StatusCode, Arc<str>)>,
) -> Response {
    let header = request.headers().get(AUTHORIZATION);
    let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let claims = tokens.verify(token.unwrap_or_default(), SystemClock.now());
    let _ = claims.expect("a valid token");
    let (status, body) = answer.0;
    Response::builder()
        .status(*status)
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string())
}

/// Sends all requests over `connections` connections that are kept alive, each waiting for its
/// answer before the next request, and returns how long it took.
///
/// # Panics
/// If an answer has another status than `status`.
pub async fn rush(
    address: SocketAddr,
    connections: usize,
    requests: Vec<String>,
    status: u16,
) -> Duration {
    timed_rush(address, connections, requests, status).await.0
}

/// Like [`rush`], and says how long each answer took.
///
/// # Panics
/// If an answer has another status than `status`.
pub async fn timed_rush(
    address: SocketAddr,
    connections: usize,
    requests: Vec<String>,
    status: u16,
) -> (Duration, Vec<Duration>) {
    let mut shares = vec![Vec::new(); connections];
    for (n, request) in requests.into_iter().enumerate() {
        shares[n % connections].push(request);
    }
    let mut streams = Vec::new();
    for share in shares {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP socket");
        streams.push((stream, share));
    }
    let start = Instant::now();
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|(stream, share)| tokio::spawn(client(stream, share, status)))
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        let own = task.await.expect("no client panics");
        waits.extend(own.expect("no connection breaks"));
    }
    (start.elapsed(), waits)
}

async fn client(
    mut stream: TcpStream,
    requests: Vec<String>,
    status: u16,
) -> io::Result<Vec<Duration>> {
    let mut buffer = [0; 2048];
    let expected = format!("HTTP/1.1 {status} ");
    let mut waits = Vec::with_capacity(requests.len());
    for request in requests {
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut read = 0;
        while !is_whole(&buffer[..read]) {
            let more = stream.read(&mut buffer[read..]).await?;
            if more == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read += more;
        }
        waits.push(asked.elapsed());
        let answer = String::from_utf8_lossy(&buffer[..read]);
        assert!(answer.starts_with(&expected), "{answer}");
    }
    Ok(waits)
}

/// Whether this is a head and as many bytes of body as it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
        return false;
    };
    let name = b"content-length: ";
    let length = answer[..head]
        .windows(name.len())
        .position(|start| start.eq_ignore_ascii_case(name))
        .map(|at| {
            let digits = answer[at + name.len()..]
                .iter()
                .take_while(|b| b.is_ascii_digit());
            digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
        });
    answer.len() >= head + 4 + length.unwrap_or(0)
}

/// Sends one request on a connection of its own and returns the body of the answer.
///
/// # Panics
/// If there is no answer.
pub async fn body_of(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut answer = Vec::new();
    let mut buffer = [0; 2048];
    while !is_whole(&answer) {
        let read = stream.read(&mut buffer).await.expect("an answer");
        answer.extend_from_slice(&buffer[..read]);
    }
    let answer = String::from_utf8(answer).expect("text");
    answer
        .split("\r\n\r\n")
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}
