//! The suite of [`StockStore`](crate::ports::StockStore), one file per part of the contract.

mod at_once;
mod bench;
mod changing;
mod differential;
mod opening;
mod racing;
mod repairing;
mod reserving;
mod results;
mod settling;
mod surviving;

use std::sync::Arc;

use crate::ports::{SaleRepo, StockStore};
use crate::testing::report::run_cases;
use crate::testing::{Fixture, ManualClock, Report};

/// What the suite of [`StockStore`] works with.
#[derive(Clone, Debug)]
pub struct StockStoreRig {
    /// The store to check.
    pub store: Arc<dyn StockStore>,
    /// The clock that the store reads.
    pub clock: Arc<ManualClock>,
    /// Where sales have to be made before the store can sell them, if they have to be.
    pub sales: Option<Arc<dyn SaleRepo>>,
    /// Whether the store is the arbiter too and answers [`Sold`](crate::domain::ReserveOutcome::Sold);
    /// a smaller suite applies then. The same for every place.
    pub decides_at_once: bool,
}

/// Checks a [`StockStore`] against its contract and, with random commands, against the
/// [`Ledger`](crate::domain::Ledger).
pub async fn stock_store(fixture: &dyn Fixture<StockStoreRig>) -> Report {
    let mut report = Report::new("StockStore");
    let at_once = match fixture.open(&super::fresh_place("stock")).await {
        Ok(rig) => rig.decides_at_once,
        Err(error) => {
            report.add("the_fixture_opens", Err(error.into()));
            return report;
        }
    };
    if at_once {
        run_cases!(
            report,
            fixture,
            [
                at_once::what_is_reserved_is_sold_in_the_same_step,
                at_once::a_buyer_is_told_of_the_order,
                at_once::more_than_the_stock_is_never_sold,
                at_once::a_user_buys_once_in_a_batch,
                at_once::racing_users_never_oversell,
                at_once::a_racing_user_gets_one_attempt,
                at_once::an_order_survives_a_reopen,
            ]
        );
    } else {
        run_cases!(
            report,
            fixture,
            [
                reserving::taking_the_units_and_recording_the_attempt_are_one_step,
                reserving::a_user_who_holds_units_gets_that_allocation_back,
                reserving::a_repeated_attempt_id_takes_no_more_units,
                reserving::duplicates_inside_a_batch_get_one_allocation,
                reserving::units_are_taken_all_or_none,
                reserving::the_oldest_seq_is_the_first_reserved,
                settling::an_order_confirms_its_reservation,
                settling::an_attempt_without_stock_is_voided,
                settling::a_duplicate_is_merged_into_the_order_kept,
                settling::a_stale_cancelled_or_expired_attempt_is_released,
                settling::a_released_user_may_try_again,
                settling::an_order_of_another_attempt_is_adopted,
                settling::a_lost_allocation_is_healed,
                settling::an_order_without_units_is_drift_and_stops_the_sale,
                settling::an_order_without_units_is_told_again_until_there_are_some,
                settling::a_failure_of_another_attempt_changes_nothing,
                settling::what_is_sold_stays_sold,
                settling::repeating_a_settlement_changes_nothing,
                settling::duplicates_inside_a_settled_batch_settle_once,
                settling::settling_a_sale_that_is_not_loaded_changes_nothing,
                repairing::an_attempt_is_unpublished_until_it_is_acknowledged,
                repairing::repeating_an_acknowledgement_changes_nothing,
                repairing::unknown_and_decided_attempts_are_passed_over,
                repairing::unpublished_attempts_come_oldest_first_from_an_age_on,
                repairing::overdue_attempts_come_logged_or_not,
                repairing::no_attempt_is_younger_than_nothing_when_the_clock_goes_back,
                repairing::at_most_max_attempts_come,
                repairing::nothing_is_undecided_in_a_sale_that_is_not_loaded,
                results::a_result_is_kept_for_its_buyer,
                results::a_failure_never_replaces_the_success_of_the_same_sale,
                results::a_success_replaces_a_failure_of_the_same_sale,
                results::a_later_sale_replaces_an_earlier_one_never_the_other_way,
                results::results_come_in_the_order_of_the_users,
                results::a_batch_of_results_has_a_limit,
                racing::racing_users_never_oversell,
                racing::a_racing_user_gets_one_attempt,
                racing::a_racing_settlement_is_settled_once,
                surviving::a_reservation_survives_a_reopen,
                surviving::a_settlement_survives_a_reopen,
                differential::random_commands_are_answered_as_by_the_ledger,
            ]
        );
    }
    run_cases!(
        report,
        fixture,
        [
            opening::a_sale_that_was_never_opened_is_not_loaded,
            opening::the_snapshot_becomes_the_stock,
            opening::repeating_an_open_changes_nothing,
            opening::an_older_epoch_changes_nothing,
            opening::a_newer_epoch_replaces_everything,
            opening::buyers_of_the_snapshot_count_as_sold,
            opening::a_fence_stops_all_selling_under_older_epochs,
            opening::a_fenced_sale_sells_again_once_it_is_opened,
            opening::a_store_at_a_newer_epoch_is_left_as_it_is,
            opening::a_caller_of_another_epoch_is_told_to_ask_again,
            reserving::refused_users_are_not_marked,
            reserving::the_window_includes_its_start,
            reserving::the_window_excludes_its_end,
            reserving::a_clock_that_jumps_backwards_does_not_end_the_order,
            reserving::an_empty_batch_is_answered_with_nothing,
            reserving::a_batch_of_the_largest_size_is_answered,
            reserving::a_larger_batch_is_refused_as_a_whole,
            reserving::allocations_come_in_the_order_of_the_users,
            changing::a_paused_sale_does_not_sell_until_it_is_resumed,
            changing::a_holder_is_told_so_while_the_sale_is_paused,
            changing::a_restock_adds_units,
            changing::units_that_nobody_holds_are_withdrawn,
            changing::an_extended_sale_sells_until_its_new_end,
            changing::a_closed_sale_has_ended,
            changing::each_version_is_applied_once,
            changing::a_missing_version_is_a_gap,
            changing::a_change_of_a_sale_that_is_not_loaded_is_told,
        ]
    );
    report
}
