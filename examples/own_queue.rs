//! Adapters combined at will: stock in Redis, orders in SQLite, and between them a queue of one's
//! own, a list in memory. What the list loses in a crash, the outbox in Redis still has; repair
//! decides it.
//!
//! `cargo run -p flashsale-examples --bin own_queue [REDIS_URL]`; without a URL it starts a Redis of
//! its own (which has to be installed: `dev/services install`).

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{Attempt, NewSale, OrderStatus, UserId, Window};
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, Clock, Delivery, HealthCheck, NoRecorder, Published,
    QueuePosition, SoleProcess,
};
use flashsale_core::services::{AttemptOutcome, BackgroundLoop, EnginePorts, EngineServices, Role};
use flashsale_embedded::{Decides, EmbeddedConfig, EmbeddedEngine, SystemClock, UuidV7};
use flashsale_redis::{RedisConfig, RedisStockStore};
use flashsale_stack::Redis;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Attempts in memory, for one group of readers. Cloning shares them.
#[derive(Clone, Debug, Default)]
struct ListQueue(Arc<List>);

#[derive(Debug, Default)]
struct List {
    waiting: Mutex<VecDeque<Attempt>>,
    arrived: Notify,
}

impl List {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Attempt>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AttemptQueue for ListQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        self.0.waiting().extend(attempts.iter().cloned());
        self.0.arrived.notify_one();
        // Honest: a list in memory is no log. The outbox keeps the attempts until they are decided.
        Ok(vec![Published::Unconfirmed; attempts.len()])
    }

    async fn subscribe(&self, _group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        Ok(Box::new(ListReader {
            list: Arc::clone(&self.0),
            uncommitted: Vec::new(),
        }))
    }

    /// Nothing was ever confirmed, so nothing has to be waited for.
    async fn end(&self) -> Result<QueuePosition, PortError> {
        Ok(QueuePosition::default())
    }

    async fn lag(&self, _group: &str, _until: &QueuePosition) -> Result<u64, PortError> {
        Ok(0)
    }
}

#[derive(Debug)]
struct ListReader {
    list: Arc<List>,
    uncommitted: Vec<Attempt>,
}

#[async_trait]
impl AttemptReader for ListReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        if self.list.waiting().is_empty() {
            let wait = Duration::from_millis(wait_ms);
            let _ = tokio::time::timeout(wait, self.list.arrived.notified()).await;
        }
        let mut waiting = self.list.waiting();
        let count = waiting.len().min(max);
        let attempts: Vec<_> = waiting.drain(..count).collect();
        self.uncommitted.extend(attempts.iter().cloned());
        Ok(attempts.into_iter().map(Delivery::Attempt).collect())
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        self.uncommitted.clear();
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        let mut waiting = self.list.waiting();
        for attempt in self.uncommitted.drain(..).rev() {
            waiting.push_front(attempt);
        }
        Ok(())
    }
}

impl Drop for ListReader {
    fn drop(&mut self) {
        let mut waiting = self.list.waiting();
        for attempt in self.uncommitted.drain(..).rev() {
            waiting.push_front(attempt);
        }
    }
}

/// What a server does besides taking requests: decides attempts, repairs, rebuilds what is lost.
fn run(shop: &EngineServices) -> JoinSet<()> {
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for task in shop.background(Role::All, EngineServices::WORKERS) {
        let mut task = BackgroundLoop::new(task);
        tasks.spawn(async move {
            loop {
                task.wait(|ms| sleep(Duration::from_millis(ms))).await;
                let report = task.step(begin.elapsed().as_millis() as u64).await;
                if let Some(fault) = report.fault {
                    eprintln!("{}: {fault}", task.name());
                }
            }
        });
    }
    tasks
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (own, url) = match std::env::args().nth(1) {
        Some(url) => (None, url),
        None => {
            let redis = Redis::start();
            let url = redis.url();
            (Some(redis), url)
        }
    };
    let stock = RedisStockStore::new(RedisConfig::new(url))?;
    stock.check().await?;
    let folder = tempfile::tempdir()?;
    let mut config = EmbeddedConfig::new(folder.path().join("orders.db"));
    config.decides = Decides::Later;
    let database = EmbeddedEngine::open(config, Arc::new(SystemClock))?;
    let ports = EnginePorts {
        stock: Arc::new(stock),
        queue: Arc::new(ListQueue::default()),
        orders: database.orders(),
        sales: database.sales(),
        attempts: database.attempts(),
        dead_letters: database.dead_letters(),
        decoder: None,
        leadership: Arc::new(SoleProcess),
        clock: Arc::new(SystemClock),
        ids: Arc::new(UuidV7),
        recorder: Arc::new(NoRecorder),
    };
    let shop = ports.services();
    shop.prepare().await?;
    let mut background = run(&shop);

    let now = SystemClock.now();
    let lamps = NewSale {
        product_name: "Lamp".to_owned(),
        product_description: "One per person".to_owned(),
        window: Window {
            start: now,
            end: now.plus_ms(60 * 60 * 1_000),
        },
        stock: 2,
    };
    let sale = shop.sales.create(&lamps).await??.sale;
    for name in ["ann", "bob", "eve"] {
        match shop
            .flash_sale
            .attempt(&UserId::new(name)?, sale.id)
            .await?
        {
            AttemptOutcome::Accepted(yes) => println!("{name}: attempt {}", yes.attempt),
            no => println!("{name}: {no:?}"),
        }
    }
    loop {
        let view = shop.sales.find(sale.id).await?.ok_or("no sale")?;
        if view.levels.is_some_and(|levels| levels.sold == 2) {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    for name in ["ann", "bob", "eve"] {
        let user = UserId::new(name)?;
        let purchase = shop
            .flash_sale
            .purchase_status(&user, sale.product.id)
            .await?;
        println!(
            "{name}: {:?}, attempted: {}",
            purchase.status, purchase.attempted
        );
        let bought = purchase.status == OrderStatus::Success;
        assert_eq!(bought, name != "eve");
    }
    background.abort_all();
    let account = shop.auditor.reconcile(sale.id).await?.ok_or("no account")?;
    assert!(account.findings.is_empty(), "{:?}", account.findings);
    drop((shop, own));
    Ok(())
}
