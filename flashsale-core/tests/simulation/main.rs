//! The whole engine in a simulated world: the real services over ports that lose, delay and repeat
//! calls, in processes that crash and freeze, by a seed.
//!
//! `SIMULATION_SEED=7` runs one seed and prints all that happens in it, `SIMULATION_SEEDS=1..100000`
//! runs many. A long run of everything:
//!
//! ```text
//! SIMULATION_SEEDS=1..100000 cargo test -p flashsale-core --test simulation every_seed -- --nocapture --test-threads 1
//! ```

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, also in its own functions"
)]

mod books;
mod bugs;
mod campaign;
mod executor;
mod line;
mod ports;
mod process;
mod run;
mod slot;
mod stock_side;
mod trace;
mod trouble;
mod users;
mod weather;
mod world;

use bugs::Bug;
use campaign::Campaign;
use run::{Setting, run};

/// The stock store keeps what it has.
const KEEPS: Setting = Setting {
    bug: None,
    weather_of: None,
    may_lose: false,
    may_split: false,
    keep_events: 0,
};
/// It goes back to older states or forgets everything.
const LOSES: Setting = Setting {
    may_lose: true,
    ..KEEPS
};
/// Also, there are two of it for a while that take themselves for one.
const SPLITS: Setting = Setting {
    may_split: true,
    ..LOSES
};

#[test]
fn every_seed_keeps_what_was_promised() {
    let campaign = Campaign::from_environment(1..=2_000);
    campaign.run(KEEPS).assert_clean();
}

#[test]
fn every_seed_keeps_what_was_promised_though_stock_is_lost() {
    let campaign = Campaign::from_environment(1..=1_000);
    campaign.run(LOSES).assert_clean();
}

#[test]
fn every_seed_keeps_what_was_promised_though_the_stock_store_splits() {
    let campaign = Campaign::from_environment(1..=1_000);
    campaign.run(SPLITS).assert_clean();
}

#[test]
fn the_same_seed_is_the_same_world() {
    for setting in [KEEPS, SPLITS] {
        for seed in 1..=20 {
            let (first, second) = (run(seed, setting), run(seed, setting));
            assert_eq!(first.hash, second.hash, "seed {seed}");
            assert_eq!(first.steps, second.steps, "seed {seed}");
        }
    }
}

/// Rules about what never happens would hold without it.
#[test]
fn everything_happens_that_the_rules_are_about() {
    let mut left = vec![
        ("decision", "SUCCESS"),
        ("decision", "NO_STOCK"),
        ("decision", "DUPLICATE"),
        ("decision", "STALE_EPOCH"),
        ("decision", "EXPIRED"),
        ("process", "crashes"),
        ("process", "freezes"),
        ("process", "goes on"),
        ("process", "stops"),
        ("lead", "happens"),
        ("stock store", "goes back"),
        ("stock store", "forgets everything"),
        ("stock store", "splits"),
        ("queue", "loses what it acknowledges"),
        ("queue", "keeps something unreadable"),
        ("commit", "given up"),
        ("settle", "given up"),
        ("publish", "given up"),
        ("reserve", "given up"),
        ("release", "happens"),
        ("apply", "happens"),
        ("seal", "happens"),
        ("user tries", "sold out"),
        ("user tries", "paused"),
        ("user tries", "ended"),
        ("user tries", "recovering"),
        ("user asks", "success"),
        ("user asks", "failed"),
    ];
    for seed in 1..=1_000 {
        for setting in [KEEPS, SPLITS] {
            let events = run(seed, setting).events;
            left.retain(|what| !events.contains_key(what));
        }
        if left.is_empty() {
            return;
        }
    }
    panic!("never happened in 1,000 seeds: {left:?}");
}

/// How many seeds a bug may hide in.
const HUNT_SEEDS: u64 = 1_000;

/// How many seeds of its weather must be clean without the bug.
const CLEAN_SEEDS: u64 = 50;

/// Passes if the bug is found, and only because it is there.
fn hunt(bug: Bug, may_lose: bool) {
    let weather = Setting {
        weather_of: Some(bug),
        bug: bug.without(),
        may_lose,
        ..KEEPS
    };
    for seed in 1..=CLEAN_SEEDS {
        let broken = run(seed, weather).broken;
        assert_eq!(broken, None, "seed {seed} without the bug");
    }
    let setting = Setting {
        bug: Some(bug),
        ..weather
    };
    let found = (1..=HUNT_SEEDS).find_map(|seed| Some((seed, run(seed, setting).broken?)));
    let Some((seed, broken)) = found else {
        panic!("{bug:?} is not found in {HUNT_SEEDS} seeds");
    };
    println!(
        "{bug:?} is found by seed {seed}: {}: {}",
        broken.rule, broken.how
    );
}

macro_rules! bugs_are_found {
    (may_lose: $may_lose:literal, $($test:ident: $bug:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                hunt(Bug::$bug, $may_lose);
            }
        )*
    };
}

bugs_are_found! {
    may_lose: false,
    s1_a_user_is_barred_after_a_failed_publish: BarsAfterAFailedPublish,
    s2_an_unconfirmed_publish_is_rolled_back: RollsBackAnUnconfirmedPublish,
    s3_there_is_no_outbox: HasNoOutbox,
    s4_a_retry_is_refused: RefusesRetries,
    s5_a_reservation_that_is_resent_takes_again: TakesAgain,
    s6_the_stock_is_set_again: SetsTheStockAgain,
    s7_s8_the_stock_is_set_again_and_nobody_checks_it: SetsTheStockAgainUnchecked,
    s9_a_sale_is_known_by_its_product: KeepsByProduct,
    s10_refused_users_stay_refused: BarsRefusedUsers,
    s11_an_attempt_is_done_before_it_is_decided: CommitsTheOffsetFirst,
    s12_a_failure_overwrites_a_success: WritesAFailureOverASuccess,
    s13_a_failed_attempt_keeps_its_units: NeverReturnsStock,
    s14_a_new_group_starts_at_the_latest: StartsAtTheLatest,
    s20_an_attempt_is_decided_twice: ForgetsAttempts,
    s21_the_unreadable_is_swallowed_with_its_unit: SwallowsTheUnreadable,
    an_attempt_expires_in_the_stock_store_only: ExpiresInTheStockStoreOnly,
    an_attempt_is_settled_before_its_result_is_kept: SettlesBeforeTheResult,
    a_stock_is_rebuilt_while_it_is_changed: RebuildsWhatIsBeingChanged,
    a_stock_is_rebuilt_at_first_sight: RebuildsAtFirstSight,
    a_sale_that_waits_is_forgotten: ForgetsSalesThatWait,
    repair_stops_after_a_round: RepairsOnce,
    repair_forgets_sales_that_have_ended: ForgetsSalesThatEnded,
    a_reader_that_did_not_rewind_is_kept: KeepsAReaderThatDidNotRewind,
    attempts_are_done_after_a_fault: CommitsAfterAFault,
    accepted_attempts_are_never_forwarded: NeverForwards,
    a_process_that_stops_leaves_attempts_behind: ForgetsToForwardTheRest,
    a_process_that_stops_leaves_refusals_behind: ForgetsTheLastRefusals,
}

bugs_are_found! {
    may_lose: true,
    s7_s8_nobody_checks_the_stock: IgnoresTheStock,
    a_lost_stock_is_rebuilt_before_the_queue_is_drained: RebuildsWithoutDraining,
    attempts_of_a_lost_stock_are_accepted: AcceptsStaleEpochs,
    what_was_never_there_comes_back_as_stock: MakesGhostStock,
    a_store_that_has_gone_back_sells: HasNoSeqFence,
    a_stock_that_is_ahead_is_never_rebuilt: NeverRebuildsWhatIsAhead,
    a_stock_is_lost_and_nobody_looks: LooksOnlyWhenSalesChange,
    a_stock_is_lost_and_nobody_leads: NobodyLeads,
    the_results_of_a_sale_are_dropped_at_its_end: DropsResultsAtTheEnd,
    stock_and_orders_are_never_compared: NeverComparesStocks,
}

/// Without it, what the bugs that need the absence of a completer show would mean nothing.
#[test]
fn a_completer_that_only_settles_breaks_nothing_by_itself() {
    let setting = Setting {
        bug: Some(Bug::CompletesNothing),
        weather_of: Some(Bug::CompletesNothing),
        ..KEEPS
    };
    Campaign::of(1..=HUNT_SEEDS).run(setting).assert_clean();
}
