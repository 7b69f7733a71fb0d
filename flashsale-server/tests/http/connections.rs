use std::net::SocketAddr;
use std::time::Duration;

use flashsale_server::{HttpConfig, app, serve};
use poem::endpoint::make;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::shop::Shop;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Running {
    async fn start<E>(app: E, config: HttpConfig, grace: Duration) -> Self
    where
        E: poem::IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve(listener, app, &config, stopped, grace).await.unwrap();
        });
        Self {
            address,
            stop,
            server,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap();
    }
}

async fn shop_with(config: HttpConfig) -> Running {
    let shop = Shop::open().await;
    let app = app(shop.services.clone(), &config).unwrap();
    Running::start(app, config, Duration::from_secs(10)).await
}

fn impatient() -> HttpConfig {
    HttpConfig {
        request_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(2),
        ..HttpConfig::default()
    }
}

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

/// Reads one answer of the health route.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"}") {
        let byte = stream.read_u8().await.unwrap();
        text.push(byte);
    }
    String::from_utf8(text).unwrap()
}

/// Reads until the connection ends, however it ends.
async fn end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = shop_with(HttpConfig::default()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(HEALTH).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_of_http_2_is_told_how_many_requests_it_may_have_at_a_time() {
    for (streams_max, config) in [
        (100, HttpConfig::default()),
        (
            7,
            HttpConfig {
                streams_max: 7,
                ..HttpConfig::default()
            },
        ),
    ] {
        let server = shop_with(config).await;
        let mut stream = server.connect().await;
        let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        stream.write_all(&empty_settings).await.unwrap();
        // RFC 9113, section 6.5: the server's first frame has its settings, six bytes each.
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[3], 4, "a frame of settings");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut settings = vec![0; length as usize];
        stream.read_exact(&mut settings).await.unwrap();
        let said = settings.chunks(6).find(|one| one[..2] == [0, 3]);
        let said = said.map(|one| u32::from_be_bytes(one[2..].try_into().unwrap()));
        assert_eq!(said, Some(streams_max));
        drop(stream);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_cut() {
    let server = shop_with(impatient()).await;
    let mut silent = server.connect().await;
    assert_eq!(end(&mut silent).await, "");
    let mut once = server.connect().await;
    once.write_all(HEALTH).await.unwrap();
    answer(&mut once).await;
    assert_eq!(end(&mut once).await, "");
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_trickles_is_cut() {
    let server = shop_with(impatient()).await;
    let (mut reader, mut writer) = server.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        writer
            .write_all(b"GET /health HTTP/1.1\r\nx: ")
            .await
            .unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while writer.write_all(b"y").await.is_ok() {
            pace.tick().await;
        }
    });
    let mut text = Vec::new();
    let _ = reader.read_to_end(&mut text).await;
    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("200 OK"), "{text}");
    trickle.await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_gets_an_answer() {
    let server = shop_with(HttpConfig {
        body_timeout: Duration::from_millis(50),
        ..HttpConfig::default()
    })
    .await;
    let mut stream = server.connect().await;
    let head = b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{";
    stream.write_all(head).await.unwrap();
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("REQUEST_TIMEOUT"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_too_much_gets_to_see_the_answer() {
    let server = shop_with(HttpConfig::default()).await;
    for framing in ["Content-Length: 200000", "Transfer-Encoding: chunked"] {
        let mut stream = server.connect().await;
        let head =
            format!("POST /api/flash-sale/attempt/1 HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        let mut request = head.into_bytes();
        if framing.ends_with("chunked") {
            for _ in 0..200 {
                request.extend(b"3e8\r\n");
                request.extend([b'x'; 1_000]);
                request.extend(b"\r\n");
            }
            request.extend(b"0\r\n\r\n");
        } else {
            request.extend([b'x'; 200_000]);
        }
        stream.write_all(&request).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
        stream.write_all(HEALTH).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_after_the_head_leaves_the_connection_usable() {
    let server = shop_with(HttpConfig::default()).await;
    let mut stream = server.connect().await;
    stream.set_nodelay(true).unwrap();
    for _ in 0..3 {
        let head =
            b"POST /api/flash-sale/attempt/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
        stream.write_all(head).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(b"{}").await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn past_the_limit_a_connection_waits_until_another_ends() {
    let server = shop_with(HttpConfig {
        connections_max: 1,
        ..HttpConfig::default()
    })
    .await;
    let mut first = server.connect().await;
    first.write_all(HEALTH).await.unwrap();
    answer(&mut first).await;

    let mut second = server.connect().await;
    second.write_all(HEALTH).await.unwrap();
    first.write_all(HEALTH).await.unwrap();
    answer(&mut first).await;
    let mut nothing = [0; 1];
    let unanswered = second.try_read(&mut nothing);
    assert_eq!(
        unanswered.unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );

    drop(first);
    answer(&mut second).await;
    drop(second);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_closes_idle_connections() {
    let (entered, mut waiting) = tokio::sync::mpsc::channel(1);
    let (release, released) = tokio::sync::watch::channel(false);
    let slow = make(move |_| {
        let (entered, mut released) = (entered.clone(), released.clone());
        async move {
            entered.send(()).await.unwrap();
            released.wait_for(|released| *released).await.unwrap();
            Ok::<_, poem::Error>("{done}")
        }
    });
    let running = Running::start(slow, HttpConfig::default(), Duration::from_secs(10)).await;
    let mut idle = running.connect().await;
    let mut busy = running.connect().await;
    busy.write_all(HEALTH).await.unwrap();
    waiting.recv().await.unwrap();

    running.stop.send(()).unwrap();
    assert_eq!(end(&mut idle).await, "");
    release.send(true).unwrap();
    assert!(answer(&mut busy).await.ends_with("{done}"));
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_stop_cuts_what_does_not_finish_in_time() {
    let (entered, mut waiting) = tokio::sync::mpsc::channel(1);
    let stuck = make(move |_| {
        let entered = entered.clone();
        async move {
            entered.send(()).await.unwrap();
            std::future::pending::<Result<(), poem::Error>>().await
        }
    });
    let running = Running::start(stuck, HttpConfig::default(), Duration::from_millis(50)).await;
    let mut stream = running.connect().await;
    stream.write_all(HEALTH).await.unwrap();
    waiting.recv().await.unwrap();
    running.stop().await;
    assert_eq!(end(&mut stream).await, "");
}
