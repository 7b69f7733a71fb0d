use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_client::Client;
use flashsale_core::domain::{Role, UserId};
use flashsale_core::ports::{Clock, TokenIssuer};
use flashsale_embedded::SystemClock;
use flashsale_server::{Background, BackgroundConfig, HttpConfig, Services, app, serve};
use poem::http::header::{AUTHORIZATION, CONTENT_TYPE};
use poem::listener::TcpListener as PoemListener;
use poem::{EndpointExt, Request, Response, Route, Server, handler, post};
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

/// Sends all requests over `connections` connections and returns how long it took.
///
/// # Panics
/// If an answer has another status than `status`.
pub async fn rush(
    address: SocketAddr,
    connections: usize,
    requests: Vec<String>,
    status: u16,
) -> Duration {
    flashsale_client::rush(address, connections, requests, status)
        .await
        .took
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
    let rush = flashsale_client::rush(address, connections, requests, status).await;
    (rush.took, rush.waits)
}

/// Sends one request on a connection of its own and returns the body of the answer.
///
/// # Panics
/// If there is no answer.
pub async fn body_of(address: SocketAddr, request: &str) -> String {
    let mut client = Client::connect(address).await.expect("a connection");
    client.write(request).await.expect("a request");
    let (_, body) = client.answer_bytes().await.expect("an answer");
    String::from_utf8(body.to_vec()).expect("text")
}
