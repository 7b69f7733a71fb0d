//! The adapters in memory keep the contracts of their ports.

mod in_memory;

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::testing::{
    self, Fixture, ManualClock, MemoryStockStore, MemoryTokenIssuer, PlainPasswordHasher,
    StockStoreRig, TokenIssuers,
};

use in_memory::InMemory;

#[tokio::test]
async fn the_stock_store_in_memory_keeps_its_contract() {
    let report = testing::stock_store(&InMemory).await;
    report.assert_passed();
    let reopens = [
        "a_reservation_survives_a_reopen",
        "a_settlement_survives_a_reopen",
    ];
    assert_eq!(report.skipped(), reopens);
}

#[derive(Debug)]
struct Deciding;

#[async_trait]
impl Fixture<StockStoreRig> for Deciding {
    async fn open(&self, _place: &str) -> Result<StockStoreRig, PortError> {
        let clock = Arc::new(ManualClock::default());
        Ok(StockStoreRig {
            store: Arc::new(MemoryStockStore::deciding(clock.clone())),
            clock,
            sales: None,
            decides_at_once: true,
        })
    }
}

#[tokio::test]
async fn a_stock_store_that_decides_at_once_keeps_its_contract() {
    testing::stock_store(&Deciding).await.assert_passed();
}

#[tokio::test]
async fn the_attempt_queue_in_memory_keeps_its_contract() {
    let report = testing::attempt_queue(&InMemory).await;
    report.assert_passed();
    assert_eq!(report.skipped(), ["attempts_survive_a_reopen"]);
}

#[tokio::test]
async fn the_order_repo_in_memory_keeps_its_contract() {
    testing::order_repo(&InMemory).await.assert_passed();
}

#[tokio::test]
async fn the_sale_repo_in_memory_keeps_its_contract() {
    testing::sale_repo(&InMemory).await.assert_passed();
}

#[tokio::test]
async fn the_user_repo_in_memory_keeps_its_contract() {
    testing::user_repo(&InMemory).await.assert_passed();
}

#[tokio::test]
async fn the_attempt_repo_in_memory_keeps_its_contract() {
    testing::attempt_repo(&InMemory).await.assert_passed();
}

#[tokio::test]
async fn the_plain_password_hasher_keeps_its_contract() {
    let report = testing::password_hasher(&PlainPasswordHasher).await;
    report.assert_passed();
}

#[tokio::test]
async fn the_token_issuer_in_memory_keeps_its_contract() {
    let stranger = MemoryTokenIssuer {
        key: 2,
        ..MemoryTokenIssuer::default()
    };
    let issuers = TokenIssuers {
        issuer: Arc::new(MemoryTokenIssuer::default()),
        stranger: Arc::new(stranger),
    };
    testing::token_issuer(&issuers).await.assert_passed();
}

#[tokio::test]
async fn the_dead_letters_in_memory_keep_the_contract() {
    testing::dead_letter_repo(&InMemory).await.assert_passed();
}

#[tokio::test]
async fn a_sole_process_keeps_the_contract_of_leadership() {
    let leaders = testing::Leaders {
        ours: Arc::new(flashsale_core::ports::SoleProcess),
        theirs: None,
    };
    testing::leadership(&leaders).await.assert_passed();
}
