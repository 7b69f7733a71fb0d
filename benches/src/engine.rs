use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flashsale_core::domain::{NewSale, Sale, Timestamp, UserId, Window};
use flashsale_core::ports::NoRecorder;
use flashsale_core::services::{AttemptOutcome, FlashSaleService};
use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, SystemClock};
use tempfile::TempDir;

/// A shop on the embedded engine in a folder of its own, with one open sale.
#[derive(Debug)]
pub struct Shop {
    /// Takes attempts.
    pub service: FlashSaleService,
    /// Keeps what it takes.
    pub engine: EmbeddedEngine,
    /// What is sold.
    pub sale: Sale,
    next_user: AtomicU64,
    _folder: TempDir,
}

impl Shop {
    /// Opens a shop that sells `stock` units.
    ///
    /// # Panics
    /// If the engine does not open.
    pub async fn open(stock: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = EmbeddedConfig::new(folder.path().join("shop.db"));
        let engine = EmbeddedEngine::open(config, Arc::new(SystemClock)).expect("an engine");
        let services = engine.services(Arc::new(NoRecorder)).await;
        let services = services.expect("a working engine");
        let new = NewSale {
            product_name: "lamp".into(),
            product_description: String::new(),
            window: Window {
                start: Timestamp::from_millis(0),
                end: Timestamp::from_millis(i64::MAX),
            },
            stock,
        };
        let created = services
            .sales
            .create(&new)
            .await
            .expect("a working repository");
        let sale = created.expect("a valid sale").sale;
        Self {
            service: services.flash_sale,
            engine,
            sale,
            next_user: AtomicU64::new(1),
            _folder: folder,
        }
    }

    /// Lets `buyers` buyers at a time buy until `attempts` new users have bought or been refused;
    /// returns how many were accepted.
    ///
    /// # Panics
    /// If an attempt fails.
    pub async fn rush(self: &Arc<Self>, buyers: u64, attempts: u64) -> u64 {
        let mut tasks = Vec::new();
        for buyer in 0..buyers {
            let shop = Arc::clone(self);
            let share = attempts / buyers + u64::from(buyer < attempts % buyers);
            tasks.push(tokio::spawn(async move {
                let mut accepted = 0;
                for _ in 0..share {
                    let user = shop.next_user.fetch_add(1, Ordering::Relaxed);
                    let user = UserId::new(user.to_string()).expect("digits");
                    let outcome = shop.service.attempt(&user, shop.sale.id).await;
                    match outcome.expect("the engine works") {
                        AttemptOutcome::Accepted(_) => accepted += 1,
                        AttemptOutcome::SoldOut => {}
                        other => panic!("{other:?}"),
                    }
                }
                accepted
            }));
        }
        let mut accepted = 0;
        for task in tasks {
            accepted += task.await.expect("no buyer panics");
        }
        accepted
    }
}
