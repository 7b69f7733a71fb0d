//! Every mutant fails its suite, at least in the case that is meant for it.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, also in its own functions"
)]

use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::ports::{
    DeadItem, DeadLetter, DeadLetterContent, DeadLetterRepo, HealthCheck, SoleProcess,
};
use flashsale_core::testing::{
    self, Fixture, HealthChecks, Leaders, ManualClock, MemoryDatabase, MemoryDeadLetterRepo,
    MemoryOrderRepo, MemorySaleRepo, MemoryStockStore, MutantOrderRepo, MutantStockStore,
    OrderMutation, OrderRepoRig, StockMutation, StockStoreRig,
};
use flashsale_core::{ErrorKind, PortError};

#[derive(Debug)]
struct StockMutants(StockMutation);

#[async_trait]
impl Fixture<StockStoreRig> for StockMutants {
    async fn open(&self, _place: &str) -> Result<StockStoreRig, PortError> {
        let clock = Arc::new(ManualClock::default());
        let inner = MemoryStockStore::new(clock.clone());
        Ok(StockStoreRig {
            store: Arc::new(MutantStockStore::new(inner, self.0)),
            clock,
            sales: None,
            decides_at_once: false,
        })
    }
}

#[derive(Debug)]
struct OrderMutants(OrderMutation);

#[async_trait]
impl Fixture<OrderRepoRig> for OrderMutants {
    async fn open(&self, _place: &str) -> Result<OrderRepoRig, PortError> {
        let database = MemoryDatabase::new();
        let clock = Arc::new(ManualClock::default());
        let inner = MemoryOrderRepo::new(database.clone(), clock);
        Ok(OrderRepoRig {
            orders: Arc::new(MutantOrderRepo::new(inner, self.0)),
            sales: Arc::new(MemorySaleRepo::new(database)),
        })
    }
}

/// The case that is meant for a mutation.
fn case_for_stock(mutation: StockMutation) -> Option<&'static str> {
    Some(match mutation {
        StockMutation::Nothing => return None,
        StockMutation::OversellsByOne => "racing_users_never_oversell",
        StockMutation::ForgetsOnePerUser => "a_racing_user_gets_one_attempt",
        StockMutation::TellsTheRetrysId => "a_user_who_holds_units_gets_that_allocation_back",
        StockMutation::MarksRefusedUsers => "refused_users_are_not_marked",
        StockMutation::ReturnsStockTwice => "repeating_a_settlement_changes_nothing",
        StockMutation::NeverReturnsStock => "a_stale_cancelled_or_expired_attempt_is_released",
        StockMutation::IgnoresTheWindowEnd => "the_window_excludes_its_end",
        StockMutation::AppliesAnEventTwice => "each_version_is_applied_once",
        StockMutation::IgnoresGaps => "a_missing_version_is_a_gap",
        StockMutation::IgnoresTheEpoch => "a_caller_of_another_epoch_is_told_to_ask_again",
        StockMutation::TellsTheNewestFirst => {
            "unpublished_attempts_come_oldest_first_from_an_age_on"
        }
        StockMutation::KeepsTheLastResult => {
            "a_failure_never_replaces_the_success_of_the_same_sale"
        }
        StockMutation::KeepsTheResultOfTheLargerId => {
            "a_later_sale_replaces_an_earlier_one_never_the_other_way"
        }
    })
}

fn case_for_orders(mutation: OrderMutation) -> Option<&'static str> {
    Some(match mutation {
        OrderMutation::Nothing => return None,
        OrderMutation::ForgetsAttempts => "the_first_decision_about_an_attempt_is_final",
        OrderMutation::IgnoresTheStock => "units_of_orders_never_exceed_the_stock",
        OrderMutation::IgnoresTheUser => "a_user_has_at_most_one_order_in_a_sale",
        OrderMutation::IgnoresTheEpoch => "an_attempt_of_an_older_epoch_is_stale",
        OrderMutation::DecidesBackwards => "attempts_are_decided_in_order",
        OrderMutation::DecidesPartOfABatch => "attempts_of_another_sale_are_invalid",
    })
}

#[tokio::test]
async fn the_suite_of_the_stock_store_catches_every_mutant() {
    for mutation in StockMutation::ALL {
        let report = testing::stock_store(&StockMutants(mutation)).await;
        let meant = case_for_stock(mutation).unwrap();
        assert!(report.failed().contains(&meant), "{mutation:?}: {report}");
    }
}

#[tokio::test]
async fn the_random_commands_alone_catch_every_mutant() {
    const RANDOM: &str = "random_commands_are_answered_as_by_the_ledger";
    for mutation in StockMutation::ALL {
        let report = testing::stock_store(&StockMutants(mutation)).await;
        let caught = report.failed().contains(&RANDOM);
        assert!(caught, "{mutation:?}: {report}");
    }
}

#[tokio::test]
async fn the_suite_of_the_order_repo_catches_every_mutant() {
    for mutation in OrderMutation::ALL {
        let report = testing::order_repo(&OrderMutants(mutation)).await;
        let meant = case_for_orders(mutation).unwrap();
        assert!(report.failed().contains(&meant), "{mutation:?}: {report}");
    }
}

#[tokio::test]
async fn a_mutant_with_nothing_wrong_passes() {
    let stock = testing::stock_store(&StockMutants(StockMutation::Nothing)).await;
    stock.assert_passed();
    let orders = testing::order_repo(&OrderMutants(OrderMutation::Nothing)).await;
    orders.assert_passed();
}

#[tokio::test]
async fn the_suite_of_leadership_notices_when_everybody_leads() {
    let everybody = Leaders {
        ours: Arc::new(SoleProcess),
        theirs: Some(Arc::new(SoleProcess)),
    };
    let failed = testing::leadership(&everybody).await.failed();
    assert!(
        failed.contains(&"of_two_processes_one_leads_a_sale"),
        "{failed:?}"
    );
}

/// A check that always says the same, whatever the service is.
#[derive(Clone, Copy, Debug)]
struct Says(Option<ErrorKind>);

#[async_trait]
impl HealthCheck for Says {
    async fn check(&self) -> Result<(), PortError> {
        match self.0 {
            Some(kind) => Err(PortError::new(kind, "health", "check")),
            None => Ok(()),
        }
    }
}

#[tokio::test]
async fn the_suite_of_health_notices_a_check_that_always_says_the_same() {
    let sound = "a_service_that_is_as_it_has_to_be_passes";
    let away = "a_service_that_does_not_answer_is_not_set_up_wrongly";
    let wrong = "what_is_wrong_is_said_in_one_line";
    for (says, failed) in [
        (None, vec![away, wrong]),
        (Some(ErrorKind::Unavailable), vec![sound, wrong]),
        // Without a word of what is wrong.
        (Some(ErrorKind::Misconfigured), vec![sound, away, wrong]),
    ] {
        let checks = HealthChecks {
            sound: Arc::new(Says(says)),
            away: Arc::new(Says(says)),
            wrong: Arc::new(Says(says)),
        };
        assert_eq!(testing::health_check(&checks).await.failed(), failed);
    }
}

/// What is wrong with [`MutantLetters`].
#[derive(Clone, Copy, Debug)]
enum LetterMutation {
    /// Attempts are kept as a text that nothing reads.
    ForgetsAttempts,
    /// Nobody can tell that a letter was replayed.
    NeverNotesReplays,
}

/// Dead letters with something wrong.
#[derive(Debug)]
struct MutantLetters {
    inner: MemoryDeadLetterRepo,
    mutation: LetterMutation,
}

#[async_trait]
impl DeadLetterRepo for MutantLetters {
    async fn keep(&self, items: &[DeadItem]) -> Result<(), PortError> {
        let mut items = items.to_vec();
        if let LetterMutation::ForgetsAttempts = self.mutation {
            for item in &mut items {
                let text = item.content.stored().into_owned();
                item.content = DeadLetterContent::Undecodable(text);
            }
        }
        self.inner.keep(&items).await
    }

    async fn list(&self, after: Option<i64>, max: usize) -> Result<Vec<DeadLetter>, PortError> {
        self.inner.list(after, max).await
    }

    async fn find(&self, id: i64) -> Result<Option<DeadLetter>, PortError> {
        self.inner.find(id).await
    }

    async fn replayed(&self, id: i64) -> Result<(), PortError> {
        match self.mutation {
            LetterMutation::ForgetsAttempts => self.inner.replayed(id).await,
            LetterMutation::NeverNotesReplays => Ok(()),
        }
    }
}

#[async_trait]
impl Fixture<Arc<dyn DeadLetterRepo>> for LetterMutation {
    async fn open(&self, _place: &str) -> Result<Arc<dyn DeadLetterRepo>, PortError> {
        Ok(Arc::new(MutantLetters {
            inner: MemoryDeadLetterRepo::new(Arc::new(ManualClock::default())),
            mutation: *self,
        }))
    }
}

#[tokio::test]
async fn the_suite_of_the_dead_letters_catches_every_mutant() {
    for (mutation, meant) in [
        (
            LetterMutation::ForgetsAttempts,
            "an_attempt_is_kept_as_it_was",
        ),
        (
            LetterMutation::NeverNotesReplays,
            "an_item_is_replayed_once",
        ),
    ] {
        let report = testing::dead_letter_repo(&mutation).await;
        assert_eq!(report.failed(), [meant], "{mutation:?}: {report}");
    }
}
