use std::net::SocketAddr;

use super::Client;

/// Users as the service before this one kept them: with ids, and with passwords hashed in ways of
/// which not all are known here.
pub(crate) const USERS: &str = "INSERT INTO users (id, username, email, password_hash, role) VALUES
    (1, 'php', 'php@example.org', '$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW',
        'BUYER'),
    (2, 'argon', 'argon@example.org', '$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub',
        'BUYER'),
    (3, 'md5', 'md5@example.org', '5f4dcc3b5aa765d61d8327deb882cf99', 'BUYER'),
    (4, 'none', 'none@example.org', '', 'BUYER'),
    (1000, 'last', 'last@example.org', 'garbage', 'BUYER')";

/// The user 1000 in tokens of that service, signed with the secret of the tests:
/// `{"userId":1000,"username":"old-1000","exp":4102444800}`, and one that ended in 2023.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJ1c2VySWQiOjEwMDAsInVzZXJuYW1lIjoib2xkLTEwMDAiLCJleHAiOjQxMDI0NDQ4MDB9.\
    vahmdxhgmuFQTJFEsDSgyvEem35o5e_vMrOLyA9RpPM";
const ENDED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJ1c2VySWQiOiIxMDAwIiwidXNlcm5hbWUiOiJvbGQtMTAwMCIsImV4cCI6MTcwMDAwMDAwMH0.\
    ITSnaxXTZwuwvP27T6pZqdQq4YaSeq8aNh8r1Lpqydg";

/// A server over [`USERS`] that sells `sale` is as good to them as to any others.
pub(crate) async fn ensure_lives_on(server: SocketAddr, sale: i64) {
    let mut client = Client::connect(server).await.unwrap();
    // Several, since the first five ids are those that are likely to be taken.
    for number in 1..=7 {
        let new = format!(
            r#"{{"username":"new-{number}","email":"new-{number}@example.org","password":"correct horse"}}"#
        );
        let answer = client.post("/api/auth/register", "", &new).await.unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        let again = new.replacen("new-", "again-", 1);
        let answer = client.post("/api/auth/register", "", &again).await.unwrap();
        assert_eq!((answer.status, answer.code()), (409, "EMAIL_TAKEN"));
    }

    let login = |username: &str, password: &str| {
        format!(r#"{{"username":"{username}","password":"{password}"}}"#)
    };
    let right = login("php", "U*U");
    let answer = client.post("/api/auth/login", "", &right).await.unwrap();
    assert_eq!((answer.status, answer.data("userId")), (200, "1"));
    let unknown = login("nobody", "U*U");
    let unknown = client.post("/api/auth/login", "", &unknown).await.unwrap();
    for username in ["php", "argon", "md5", "none", "last"] {
        let wrong = login(username, "password");
        let answer = client.post("/api/auth/login", "", &wrong).await.unwrap();
        assert_eq!(answer.status, 401, "{username}: {answer:?}");
        assert_eq!(answer.body, unknown.body);
    }

    for path in ["/api/flash-sale/status", "/api/flash-sale/status/"] {
        let answer = client.get(path, TOKEN).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.body["data"]["id"], sale);
        let answer = client.get(path, ENDED).await.unwrap();
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
    }
    let answer = client.attempt(sale, TOKEN).await.unwrap();
    assert_eq!((answer.status, answer.data("userId")), (200, "1000"));
}

/// A page of `origin` may send these headers, and pages of other origins may not.
pub(crate) async fn ensure_pages_may_call(server: SocketAddr, origin: &str, headers: &str) {
    for (from, allowed) in [(origin, true), ("https://evil.example", false)] {
        let preflight = format!(
            "OPTIONS /api/flash-sale/attempt/1 HTTP/1.1\r\nhost: shop\r\norigin: {from}\r\n\
             access-control-request-method: POST\r\naccess-control-request-headers: {headers}\r\n\
             connection: close\r\n\r\n"
        );
        let answer = exchange(server, &preflight).await;
        assert_eq!(answer.starts_with("http/1.1 204 "), allowed, "{answer}");
        let marks = [
            format!("\r\naccess-control-allow-origin: {from}\r\n"),
            "\r\naccess-control-allow-credentials: true\r\n".to_owned(),
        ];
        for mark in marks {
            assert_eq!(answer.contains(&mark), allowed, "{mark:?}: {answer}");
        }
        let sent = answer.split_once("\r\naccess-control-allow-headers: ");
        let sent = sent.map(|(_, rest)| rest.lines().next().unwrap_or_default());
        let sent: Vec<_> = sent.unwrap_or_default().split(", ").collect();
        for header in headers.split(',') {
            assert_eq!(sent.contains(&header), allowed, "{header}: {answer}");
        }
    }
}

/// The head of the answer, in lower case.
async fn exchange(server: SocketAddr, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    format!("{}\r\n", head.to_ascii_lowercase())
}
