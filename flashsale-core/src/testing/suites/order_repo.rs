//! The suite of [`OrderRepo`](crate::ports::OrderRepo), one file per part of the contract.

mod bench;
mod books;
mod deciding;
mod differential;
mod racing;
mod releasing;

use std::sync::Arc;

use crate::ports::{OrderRepo, SaleRepo};
use crate::testing::report::run_cases;
use crate::testing::{Fixture, Report};

/// What the suite of [`OrderRepo`] works with.
#[derive(Clone, Debug)]
pub struct OrderRepoRig {
    /// The repository to check.
    pub orders: Arc<dyn OrderRepo>,
    /// Where its sales are made and restocked.
    pub sales: Arc<dyn SaleRepo>,
}

/// Checks an [`OrderRepo`] against its contract and, with random commands, against the
/// [`Arbiter`](crate::domain::Arbiter).
pub async fn order_repo(fixture: &dyn Fixture<OrderRepoRig>) -> Report {
    let mut report = Report::new("OrderRepo");
    run_cases!(
        report,
        fixture,
        [
            deciding::an_attempt_with_stock_becomes_an_order,
            deciding::the_first_decision_about_an_attempt_is_final,
            deciding::attempts_are_decided_in_order,
            deciding::units_of_orders_never_exceed_the_stock,
            deciding::a_user_has_at_most_one_order_in_a_sale,
            deciding::a_user_may_buy_in_another_sale,
            deciding::an_attempt_of_an_older_epoch_is_stale,
            deciding::the_rules_are_checked_in_their_order,
            deciding::duplicates_inside_a_batch_are_decided_once,
            deciding::a_restock_adds_units,
            deciding::a_closed_sale_honours_what_was_reserved,
            deciding::what_is_decided_advances_the_decided_seq,
            deciding::attempts_of_another_sale_are_invalid,
            deciding::an_unknown_sale_is_invalid,
            deciding::an_empty_batch_is_answered_with_nothing,
            deciding::a_batch_of_the_largest_size_is_decided,
            deciding::a_larger_batch_is_refused_as_a_whole,
            releasing::an_undecided_attempt_is_failed_for_the_reason,
            releasing::a_decided_attempt_keeps_its_decision,
            releasing::a_released_attempt_never_becomes_an_order,
            releasing::a_released_user_may_buy_with_another_attempt,
            releasing::a_release_of_another_sale_is_invalid,
            books::orders_are_found_in_the_order_asked_for,
            books::nothing_is_found_for_an_undecided_attempt,
            books::decisions_are_listed_by_ascending_order_id,
            books::totals_are_counted_from_the_orders,
            books::an_unknown_sale_has_no_books,
            books::orders_survive_a_reopen,
            racing::racing_batches_never_oversell,
            racing::a_racing_attempt_is_decided_once,
            racing::a_racing_user_gets_one_order,
            differential::random_attempts_are_decided_as_by_the_arbiter,
        ]
    );
    report
}
