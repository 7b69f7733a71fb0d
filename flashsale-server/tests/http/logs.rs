use std::io;
use std::sync::{Arc, Mutex};

use flashsale_core::ErrorKind;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::failure;
use crate::shop::{Mood, START, Shop};

/// Keeps what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::INFO)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_request_that_fails_for_a_reason_of_ours_is_logged_once_with_its_cause() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.hasher.be(Mood::Fails(ErrorKind::Unavailable));
    let log = Log::default();
    let guard = log.start();
    let login = json!({ "username": "ann", "password": "correct horse" });
    let request = client
        .post("/api/auth/login")
        .header("x-request-id", "it-is-me");
    request.body_json(&login).send().await;
    drop(guard);

    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let fields = &lines[0]["fields"];
    assert_eq!(fields["request.id"], "it-is-me");
    assert_eq!(fields["http.route"], "/api/auth/login");
    assert_eq!(fields["http.status"], 503);
    assert!(
        fields["error"]
            .as_str()
            .unwrap()
            .starts_with("moody hash: "),
        "{fields}"
    );
    assert!(!lines[0].to_string().contains("correct horse"));
}

#[tokio::test]
async fn requests_that_do_not_fail_for_a_reason_of_ours_are_not_logged() {
    let shop = Shop::open().await;
    let client = shop.client();
    let sale = shop.sale("Console", START, 1).await;
    let log = Log::default();
    let guard = log.start();
    for user in ["ann", "ann", "bob"] {
        let request = client.post(format!("/api/flash-sale/attempt/{}", sale.id));
        request
            .header("authorization", shop.bearer(user))
            .send()
            .await;
    }
    client.post("/api/flash-sale/attempt/x").send().await;
    client.get("/nothing").send().await;
    let register = json!({ "username": "ann", "email": "a@b.org", "password": "correct horse" });
    client
        .post("/api/auth/register")
        .body_json(&register)
        .send()
        .await;
    drop(guard);
    assert_eq!(log.lines(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_password_hash_of_another_kind_is_401_and_one_warning_without_the_hash() {
    let shop = Shop::open().await;
    let client = shop.client();
    let hash = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub";
    let user = shop.user_with_hash("ann", hash).await;
    let log = Log::default();
    let guard = log.start();
    let login = json!({ "username": "ann", "password": "correct horse" });
    let known = client.post("/api/auth/login").body_json(&login);
    let known = failure(known.send().await, 401, "INVALID_CREDENTIALS").await;
    drop(guard);
    let login = json!({ "username": "bob", "password": "correct horse" });
    let unknown = client.post("/api/auth/login").body_json(&login);
    let unknown = failure(unknown.send().await, 401, "INVALID_CREDENTIALS").await;
    assert_eq!(known, unknown);

    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["level"], "WARN");
    assert_eq!(lines[0]["fields"]["user"], user.as_str());
    let line = lines[0].to_string();
    for secret in ["argon2", "c29t", "correct horse"] {
        assert!(!line.contains(secret), "{line}");
    }
}
