//! What the tests share: sales, users, requests, and a proxy that loses answers.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flashsale_core::domain::{
    Attempt, AttemptId, Decision, Epoch, FailReason, Levels, OpenOutcome, OrderId, Phase,
    ProductId, Quantity, ReserveOutcome, ReserveRequest, SaleId, SaleRef, Settlement,
    StockSnapshot, Timestamp, UserId, Window,
};
use flashsale_core::ports::{StockStore, StockStoreExt};
use flashsale_redis::{RedisConfig, RedisStockStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) const CANCELLED: Decision = Decision::Failed(FailReason::Cancelled);

/// A sale that the clock of every Redis finds open.
pub(crate) const ALWAYS: Window = Window {
    start: Timestamp::from_millis(0),
    end: Timestamp::from_millis(9_999_999_999_999),
};

/// A store that waits for a busy machine.
pub(crate) fn store(url: impl Into<String>) -> Arc<RedisStockStore> {
    with(url, |_| {})
}

/// A store with the default budgets.
pub(crate) fn punctual(url: impl Into<String>) -> Arc<RedisStockStore> {
    Arc::new(RedisStockStore::new(RedisConfig::new(url)).unwrap())
}

pub(crate) fn with(
    url: impl Into<String>,
    change: impl FnOnce(&mut RedisConfig),
) -> Arc<RedisStockStore> {
    let mut config = RedisConfig::new(url);
    config.budget_ms = 5_000;
    config.response_ms = 1_000;
    config.work_budget_ms = 20_000;
    change(&mut config);
    Arc::new(RedisStockStore::new(config).unwrap())
}

/// The sale with this number, of the product with this number.
pub(crate) fn sale_of(id: i64, product: i64) -> SaleRef {
    SaleRef {
        id: SaleId::new(id).unwrap(),
        product: ProductId::new(product).unwrap(),
        epoch: Epoch::FIRST,
    }
}

pub(crate) fn sale() -> SaleRef {
    sale_of(1, 42)
}

pub(crate) fn snapshot(remaining: u64) -> StockSnapshot {
    StockSnapshot {
        window: ALWAYS,
        phase: Phase::Open,
        version: 1,
        remaining,
        buyers: Vec::new(),
    }
}

pub(crate) async fn open(store: &RedisStockStore, stock: u64) {
    let opened = store.open(&sale(), &snapshot(stock)).await.unwrap();
    assert_eq!(opened, OpenOutcome::Opened);
}

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(format!("user-{number}")).unwrap()
}

pub(crate) fn fresh_id() -> AttemptId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    AttemptId::from_uuid(Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into()))
}

pub(crate) fn request(number: u64) -> ReserveRequest {
    ReserveRequest {
        attempt: fresh_id(),
        user: user(number),
        quantity: Quantity::ONE,
    }
}

pub(crate) async fn buy(store: &RedisStockStore, number: u64) -> ReserveOutcome {
    store.reserve_one(&sale(), &request(number)).await.unwrap()
}

pub(crate) async fn reserve(store: &RedisStockStore, number: u64) -> Attempt {
    match buy(store, number).await {
        ReserveOutcome::Reserved(attempt) => attempt,
        other => panic!("user {number} must get a unit, is told {other:?}"),
    }
}

pub(crate) fn order(number: i64) -> OrderId {
    OrderId::new(number).unwrap()
}

pub(crate) fn settlement(attempt: &Attempt, decision: Decision) -> Settlement {
    Settlement {
        user: attempt.user.clone(),
        attempt: attempt.id,
        quantity: attempt.quantity,
        reserved_at: attempt.reserved_at,
        decision,
    }
}

pub(crate) async fn levels(store: &RedisStockStore) -> Levels {
    store.levels(&sale()).await.unwrap().unwrap()
}

/// Units available, reserved and sold.
pub(crate) async fn units(store: &RedisStockStore) -> (u64, u64, u64) {
    let levels = levels(store).await;
    (levels.available, levels.reserved, levels.sold)
}

/// Waits until a condition holds, half a minute at most, and says how long that took.
pub(crate) async fn until<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Duration {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

/// How often Redis was called by a command since its last start or `CONFIG RESETSTAT`.
pub(crate) fn calls(redis: &flashsale_stack::Redis, command: &str) -> u64 {
    let stats = redis.cli(&["info", "commandstats"]);
    let prefix = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
    let count = line.and_then(|line| line.split(',').next());
    count.map_or(0, |count| count.parse().unwrap())
}

/// Passes everything on to a server, until told otherwise.
pub(crate) struct Proxy {
    port: u16,
    server: Arc<AtomicU16>,
    mode: watch::Sender<Mode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything passes.
    Pass,
    /// The next answer is lost, and its connection with it; what comes later passes.
    LoseAnswer,
    /// Connections that are open stay open, but nothing passes any more; new ones work.
    Swallow,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (mode, _) = watch::channel(Mode::Pass);
        let modes = mode.clone();
        let server = Arc::new(AtomicU16::new(port));
        let to = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let port = to.load(Ordering::Relaxed);
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                tokio::spawn(pass(client, server, modes.clone()));
            }
        });
        Self {
            port: own,
            server,
            mode,
        }
    }

    /// New connections lead to another server, as when a name is given to another machine.
    pub(crate) fn lead_to(&self, port: u16) {
        self.server.store(port, Ordering::Relaxed);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pass(client: TcpStream, server: TcpStream, mode: watch::Sender<Mode>) {
    let born_into = *mode.borrow();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let swallows = mode.subscribe();
    let swallow = move || born_into != Mode::Swallow && *swallows.borrow() == Mode::Swallow;
    let silent = swallow.clone();
    let up = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            if !silent() && to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    let down = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if *mode.borrow() == Mode::LoseAnswer {
                mode.send_replace(Mode::Pass);
                break;
            }
            if !swallow() && to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}
