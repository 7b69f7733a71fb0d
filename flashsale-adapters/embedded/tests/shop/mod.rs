//! What the tests of the engine share: a shop with one sale, and a test binary that plays a second
//! process.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use flashsale_core::domain::{
    AttemptId, NewSale, Quantity, ReserveRequest, Sale, Timestamp, UserId, Window,
};
use flashsale_core::ports::{Clock, IdSource, NoRecorder};
use flashsale_core::services::{EngineServices, Reconciliation, Verdict};
use flashsale_embedded::{Decides, EmbeddedConfig, EmbeddedEngine, SystemClock, UuidV7};

/// For as long as there is time.
pub(crate) const ALWAYS: Window = Window {
    start: Timestamp::from_millis(0),
    end: Timestamp::from_millis(i64::MAX),
};

pub(crate) fn open(path: &Path, decides: Decides) -> EmbeddedEngine {
    open_at(path, decides, Arc::new(SystemClock))
}

pub(crate) fn open_at(path: &Path, decides: Decides, clock: Arc<dyn Clock>) -> EmbeddedEngine {
    let mut config = EmbeddedConfig::new(path);
    config.decides = decides;
    EmbeddedEngine::open(config, clock).unwrap()
}

pub(crate) async fn services(engine: &EmbeddedEngine) -> EngineServices {
    engine.services(Arc::new(NoRecorder)).await.unwrap()
}

pub(crate) fn new_sale(name: &str, stock: u64) -> NewSale {
    NewSale {
        product_name: name.into(),
        product_description: String::new(),
        window: ALWAYS,
        stock,
    }
}

pub(crate) async fn sell(engine: &EmbeddedEngine, name: &str, stock: u64) -> Sale {
    let (sales, new) = (services(engine).await.sales, new_sale(name, stock));
    sales.create(&new).await.unwrap().unwrap().sale
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn request(name: &str) -> ReserveRequest {
    request_as(UuidV7.attempt_id(), name)
}

pub(crate) fn request_as(attempt: AttemptId, name: &str) -> ReserveRequest {
    ReserveRequest {
        attempt,
        user: user(name),
        quantity: Quantity::ONE,
    }
}

pub(crate) async fn account(engine: &EmbeddedEngine, sale: &Sale) -> Reconciliation {
    let auditor = services(engine).await.auditor;
    auditor.reconcile(sale.id).await.unwrap().unwrap()
}

pub(crate) async fn assert_exact(engine: &EmbeddedEngine, sale: &Sale) -> Reconciliation {
    let account = account(engine, sale).await;
    assert_eq!(account.verdict(), Verdict::Exact, "{account:?}");
    account
}

/// Starts this test binary again to run one ignored test on `path`.
pub(crate) fn start_child(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("SHOP_DB", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The path that a child was started with; nothing if the test runs on its own.
pub(crate) fn child_path() -> Option<std::path::PathBuf> {
    std::env::var_os("SHOP_DB").map(Into::into)
}
