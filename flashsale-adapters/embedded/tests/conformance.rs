//! The embedded adapters keep the contracts of their ports.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::ports::{DeadLetterRepo, SaleRepo, UserRepo};
use flashsale_core::testing::{
    self, AttemptQueueRig, AttemptRepoRig, Fixture, ManualClock, OrderRepoRig, StockStoreRig, Task,
};
use flashsale_embedded::{Decides, EmbeddedConfig, EmbeddedEngine};
use tempfile::TempDir;

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

    fn engine(&self, place: &str) -> (EmbeddedEngine, Arc<ManualClock>) {
        let mut config = EmbeddedConfig::new(self.folder.path().join(place));
        config.decides = self.decides;
        let clock = Arc::new(ManualClock::default());
        let engine = EmbeddedEngine::open(config, clock.clone()).unwrap();
        (engine, clock)
    }
}

macro_rules! fixture {
    ($rig:ty, $self:ident, $engine:ident, $clock:ident, $made:expr) => {
        #[async_trait]
        impl Fixture<$rig> for Files {
            async fn open(&$self, place: &str) -> Result<$rig, PortError> {
                let ($engine, $clock) = $self.engine(place);
                Ok($made)
            }

            fn durable(&self) -> bool {
                true
            }

            async fn together(&self, tasks: Vec<Task>) {
                let mut set = tokio::task::JoinSet::new();
                for task in tasks {
                    set.spawn(task);
                }
                set.join_all().await;
            }
        }
    };
}

fixture!(
    StockStoreRig,
    self,
    engine,
    clock,
    StockStoreRig {
        store: engine.stock(),
        clock,
        sales: Some(engine.sales()),
        decides_at_once: self.decides == Decides::AtOnce,
    }
);
fixture!(
    OrderRepoRig,
    self,
    engine,
    _clock,
    OrderRepoRig {
        orders: engine.orders(),
        sales: engine.sales(),
    }
);
fixture!(
    AttemptRepoRig,
    self,
    engine,
    _clock,
    AttemptRepoRig {
        attempts: engine.attempts(),
        orders: engine.orders(),
        sales: engine.sales(),
    }
);
fixture!(
    AttemptQueueRig,
    self,
    engine,
    _clock,
    AttemptQueueRig {
        queue: engine.queue(),
        garbage: None,
        decoder: None,
    }
);
fixture!(Arc<dyn SaleRepo>, self, engine, _clock, engine.sales());
fixture!(
    Arc<dyn DeadLetterRepo>,
    self,
    engine,
    _clock,
    engine.dead_letters()
);
fixture!(Arc<dyn UserRepo>, self, engine, _clock, engine.users());

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_store_keeps_its_contract_when_it_decides_at_once() {
    let report = testing::stock_store(&Files::new(Decides::AtOnce)).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_store_keeps_its_contract_when_others_decide_later() {
    let report = testing::stock_store(&Files::new(Decides::Later)).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_repo_keeps_its_contract() {
    for decides in [Decides::AtOnce, Decides::Later] {
        let report = testing::order_repo(&Files::new(decides)).await;
        report.assert_passed();
        assert!(report.skipped().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempt_repo_keeps_its_contract() {
    let report = testing::attempt_repo(&Files::new(Decides::AtOnce)).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempt_queue_keeps_its_contract() {
    let report = testing::attempt_queue(&Files::new(Decides::Later)).await;
    report.assert_passed();
    // It carries nothing that could not be decoded.
    let skipped = report.skipped();
    assert!(
        skipped.iter().all(|case| case.contains("decod")),
        "{skipped:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sale_repo_keeps_its_contract() {
    let report = testing::sale_repo(&Files::new(Decides::AtOnce)).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_repo_keeps_its_contract() {
    let report = testing::user_repo(&Files::new(Decides::AtOnce)).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_letter_repo_keeps_its_contract() {
    let report = testing::dead_letter_repo(&Files::new(Decides::Later)).await;
    report.assert_passed();
}
