//! The PostgreSQL adapters keep the contracts of their ports.

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::ports::{DeadLetterRepo, SaleRepo, UserRepo};
use flashsale_core::testing::{
    self, AttemptRepoRig, Fixture, HealthChecks, Leaders, OrderRepoRig, Task,
};
use flashsale_postgres::PostgresDatabase;

use crate::shop;

/// All cases share a database: they use ids of their own.
#[derive(Debug)]
struct Shared {
    url: String,
}

impl Shared {
    async fn new() -> Self {
        let (url, _) = shop::fresh().await;
        Self { url }
    }

    /// Connected anew, as by a process that has just been started.
    fn database(&self) -> PostgresDatabase {
        shop::database(self.url.as_str())
    }
}

macro_rules! fixture {
    ($rig:ty, $database:ident, $made:expr) => {
        #[async_trait]
        impl Fixture<$rig> for Shared {
            async fn open(&self, _place: &str) -> Result<$rig, PortError> {
                let $database = self.database();
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
    OrderRepoRig,
    database,
    OrderRepoRig {
        orders: Arc::new(database.orders()),
        sales: Arc::new(database.sales()),
    }
);
fixture!(
    AttemptRepoRig,
    database,
    AttemptRepoRig {
        attempts: Arc::new(database.attempts()),
        orders: Arc::new(database.orders()),
        sales: Arc::new(database.sales()),
    }
);
fixture!(Arc<dyn SaleRepo>, database, Arc::new(database.sales()));
fixture!(
    Arc<dyn DeadLetterRepo>,
    database,
    Arc::new(database.dead_letters())
);
fixture!(Arc<dyn UserRepo>, database, Arc::new(database.users()));

#[tokio::test(flavor = "multi_thread")]
async fn the_order_repo_keeps_its_contract() {
    let report = testing::order_repo(&Shared::new().await).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sale_repo_keeps_its_contract() {
    let report = testing::sale_repo(&Shared::new().await).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_repo_keeps_its_contract() {
    let report = testing::user_repo(&Shared::new().await).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempt_repo_keeps_its_contract() {
    let report = testing::attempt_repo(&Shared::new().await).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_letter_repo_keeps_its_contract() {
    let report = testing::dead_letter_repo(&Shared::new().await).await;
    report.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_keeps_its_contract() {
    let shared = Shared::new().await;
    let (ours, theirs) = (shared.database(), shared.database());
    let leaders = Leaders {
        ours: Arc::new(ours.leadership()),
        theirs: Some(Arc::new(theirs.leadership())),
    };
    let report = testing::leadership(&leaders).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_keeps_its_contract() {
    let (_, sound) = shop::fresh().await;
    let checks = HealthChecks {
        sound: Arc::new(sound),
        away: Arc::new(shop::database("postgres://shop@127.0.0.1:1/shop")),
        // It was not migrated.
        wrong: Arc::new(shop::database(shop::SERVER.fresh_database())),
    };
    testing::health_check(&checks).await.assert_passed();
}
