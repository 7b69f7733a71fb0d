//! The contracts of the ports, on the embedded engine.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::ports::{SaleRepo, UserRepo};
use flashsale_core::testing::{
    self, AttemptQueueRig, AttemptRepoRig, Fixture, ManualClock, OrderRepoRig, StockStoreRig, Task,
};
use flashsale_core::{ErrorKind, PortError};
use flashsale_embedded::{Decides, EmbeddedConfig, EmbeddedEngine};
use tempfile::TempDir;

/// Each place is a database file in one temporary folder.
#[derive(Debug)]
struct Files {
    folder: TempDir,
    decides: Decides,
}

impl Files {
    fn new(decides: Decides) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, decides }
    }

    fn engine(&self, place: &str, clock: &Arc<ManualClock>) -> Result<EmbeddedEngine, PortError> {
        let mut config = EmbeddedConfig::new(self.folder.path().join(place));
        config.decides = self.decides;
        EmbeddedEngine::open(config, clock.clone()).map_err(|error| {
            PortError::new(ErrorKind::Misconfigured, "embedded", "open").with_source(error)
        })
    }
}

async fn spawn_all(tasks: Vec<Task>) {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

macro_rules! fixture {
    ($rig:ty, |$engine:ident| $make:expr) => {
        fixture!($rig, |$engine, _clock, _files| $make);
    };
    ($rig:ty, |$engine:ident, $clock:ident, $files:ident| $make:expr) => {
        #[async_trait]
        impl Fixture<$rig> for Files {
            async fn open(&self, place: &str) -> Result<$rig, PortError> {
                let $clock = Arc::new(ManualClock::default());
                let ($engine, $files) = (self.engine(place, &$clock)?, self);
                Ok($make)
            }

            fn durable(&self) -> bool {
                true
            }

            async fn together(&self, tasks: Vec<Task>) {
                spawn_all(tasks).await;
            }
        }
    };
}

fixture!(StockStoreRig, |engine, clock, files| StockStoreRig {
    store: engine.stock(),
    clock,
    sales: Some(engine.sales()),
    decides_at_once: files.decides == Decides::AtOnce,
});
fixture!(OrderRepoRig, |engine| OrderRepoRig {
    orders: engine.orders(),
    sales: engine.sales(),
});
fixture!(AttemptQueueRig, |engine| AttemptQueueRig {
    queue: engine.queue(),
    garbage: None,
});
fixture!(AttemptRepoRig, |engine| AttemptRepoRig {
    attempts: engine.attempts(),
    orders: engine.orders(),
    sales: engine.sales(),
});
fixture!(Arc<dyn SaleRepo>, |engine| engine.sales());
fixture!(Arc<dyn UserRepo>, |engine| engine.users());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_store_that_decides_at_once() {
    testing::stock_store(&Files::new(Decides::AtOnce))
        .await
        .assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_store_that_decides_later() {
    testing::stock_store(&Files::new(Decides::Later))
        .await
        .assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_repository() {
    testing::order_repo(&Files::new(Decides::Later))
        .await
        .assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_attempt_queue() {
    testing::attempt_queue(&Files::new(Decides::Later))
        .await
        .assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_trail() {
    testing::attempt_repo(&Files::new(Decides::Later))
        .await
        .assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sale_repository() {
    testing::sale_repo(&Files::new(Decides::AtOnce))
        .await
        .assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_repository() {
    testing::user_repo(&Files::new(Decides::AtOnce))
        .await
        .assert_passed();
}
