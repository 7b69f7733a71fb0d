//! A small model of the protocol, every state of it: users, an API, the stock store with its
//! replica, the queue, workers, repair, the order repository, and the rebuild of a lost stock.
//!
//! The small models run with every test run. The large ones:
//!
//! ```text
//! cargo test -p flashsale-core --test model -- --ignored --nocapture --test-threads 1
//! ```

mod action;
mod explorer;
mod properties;
mod protocol;
mod rebuild;
mod state;

use action::{Bug, fact};
use explorer::explore;
use protocol::Config;
use state::Faults;

const NO_FAULTS: Faults = Faults {
    replies_lost: 0,
    crashes: 0,
    failovers: 0,
    wipes: 0,
    acked_lost: 0,
    expired: 0,
    units_lost: 0,
    lossy_epoch: 0,
};

/// Two users and one unit, one of everything.
const SMALL: Config = Config {
    users: 2,
    tries: 1,
    stock: 1,
    workers: 1,
    rebuilders: 1,
    queue_max: 3,
    epoch_max: 2,
    limits: NO_FAULTS,
    bug: None,
};

/// Explores a model in which no rule may be broken; says what was reached.
fn all_hold(name: &str, config: Config) -> u32 {
    let found = explore(&config, 60_000_000);
    println!(
        "{name}: {} states in {:.1} s, facts {:#b}",
        found.states, found.seconds, found.reached
    );
    if let Some((rule, way)) = found.broken {
        let way: Vec<_> = way.iter().map(|step| format!("  {step:?}")).collect();
        panic!("{name} breaks a rule: {rule}, by\n{}", way.join("\n"));
    }
    assert!(found.complete, "{name} is too large");
    found.reached
}

/// Passes if the bug breaks a rule in this model, and the model without it does not.
fn is_caught(bug: Bug, config: Config) {
    all_hold(&format!("without {bug:?}"), config);
    let found = explore(
        &Config {
            bug: Some(bug),
            ..config
        },
        60_000_000,
    );
    let Some((rule, way)) = found.broken else {
        panic!("{bug:?} is not caught in {} states", found.states);
    };
    println!(
        "{bug:?} is caught after {} states, {} steps: {rule}",
        found.states,
        way.len()
    );
}

fn assert_reached(reached: u32, wanted: &[u32]) {
    for fact in wanted {
        assert!(reached & fact != 0, "fact {fact:#b} is never reached");
    }
}

#[test]
fn lost_replies_and_crashes_break_nothing() {
    let reached = all_hold("replies and crashes", TROUBLE);
    assert_reached(reached, &[fact::SOLD_OUT, fact::REDELIVERED]);
    let never = fact::OVER_PROMISED | fact::DUPLICATE | fact::STALE_REFUSED | fact::REBUILT;
    assert_eq!(reached & never, 0, "all of it needs a loss");
}

#[test]
fn a_store_that_fails_over_is_rebuilt() {
    let reached = all_hold("failover", FAILOVER);
    let wanted = [
        fact::SOLD_OUT,
        fact::REBUILT,
        fact::STALE_REFUSED,
        fact::OVER_PROMISED,
        fact::HEALED,
    ];
    assert_reached(reached, &wanted);
}

#[test]
fn a_store_that_is_wiped_is_rebuilt() {
    let reached = all_hold("wipe", WIPE);
    let wanted = [fact::REBUILT, fact::STALE_REFUSED, fact::SOLD_AFTER_REBUILD];
    assert_reached(reached, &wanted);
}

#[test]
fn a_user_whose_attempt_is_lost_keeps_the_first_that_is_decided() {
    let reached = all_hold(
        "failover, one user twice",
        Config {
            limits: Faults {
                failovers: 1,
                crashes: 1,
                ..NO_FAULTS
            },
            ..WIPE
        },
    );
    assert_reached(reached, &[fact::DUPLICATE, fact::REBUILT]);
}

/// What goes wrong without a loss of the store.
const TROUBLE: Config = Config {
    tries: 2,
    limits: Faults {
        replies_lost: 1,
        crashes: 1,
        acked_lost: 1,
        expired: 1,
        ..NO_FAULTS
    },
    ..SMALL
};
/// The store goes back, and one process forgets what it knew.
const FAILOVER: Config = Config {
    limits: Faults {
        failovers: 1,
        crashes: 1,
        ..NO_FAULTS
    },
    ..SMALL
};
/// The store forgets everything, and a user tries again.
const WIPE: Config = Config {
    users: 1,
    tries: 2,
    limits: Faults {
        wipes: 1,
        crashes: 1,
        ..NO_FAULTS
    },
    ..SMALL
};

macro_rules! bugs_are_caught {
    ($($test:ident: $bug:ident in $config:expr),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                is_caught(Bug::$bug, $config);
            }
        )*
    };
}

bugs_are_caught! {
    an_unconfirmed_publish_is_rolled_back: RollsBackAnUnconfirmedPublish in SMALL,
    an_attempt_expires_in_the_store_only: ExpiresInTheStoreOnly in Config {
        limits: Faults { expired: 1, ..NO_FAULTS },
        ..SMALL
    },
    an_attempt_is_decided_twice: ForgetsAttempts in FAILOVER,
    nobody_checks_the_stock: IgnoresTheStock in FAILOVER,
    the_stock_is_set_again: SetsTheStockAgain in Config {
        limits: Faults { wipes: 1, ..NO_FAULTS },
        ..SMALL
    },
    a_lost_stock_is_rebuilt_before_the_queue_is_drained: RebuildsWithoutDraining in WIPE,
    attempts_of_a_lost_stock_are_accepted: AcceptsStaleEpochs in Config {
        limits: Faults { wipes: 1, ..NO_FAULTS },
        ..SMALL
    },
    what_was_never_there_comes_back_as_stock: MakesGhostStock in Config {
        users: 3,
        limits: Faults { failovers: 1, replies_lost: 1, ..NO_FAULTS },
        ..SMALL
    },
    a_store_that_has_gone_back_sells: HasNoSeqFence in FAILOVER,
    there_is_no_outbox: HasNoOutbox in Config {
        limits: Faults { crashes: 1, ..NO_FAULTS },
        ..SMALL
    },
    an_attempt_is_done_before_it_is_decided: CommitsTheOffsetFirst in Config {
        limits: Faults { crashes: 1, ..NO_FAULTS },
        ..SMALL
    },
    what_is_opened_was_read_before_it_was_sealed: ReadsBeforeItSeals in Config {
        limits: Faults { wipes: 1, ..NO_FAULTS },
        ..SMALL
    },
}

/// Millions of states each.
#[test]
#[ignore = "takes minutes"]
fn large_models() {
    let faults = |change: fn(&mut Faults)| {
        let mut faults = NO_FAULTS;
        change(&mut faults);
        faults
    };
    let two = Config { tries: 2, ..SMALL };
    let models = [
        (
            "wipe, two units",
            Config {
                stock: 2,
                limits: faults(|f| f.wipes = 1),
                ..two
            },
        ),
        (
            "failover, two tries",
            Config {
                limits: faults(|f| f.failovers = 1),
                ..two
            },
        ),
        (
            "failover and wipe",
            Config {
                epoch_max: 3,
                limits: faults(|f| (f.failovers, f.wipes) = (1, 1)),
                ..SMALL
            },
        ),
        (
            "two failovers",
            Config {
                epoch_max: 3,
                limits: faults(|f| f.failovers = 2),
                ..SMALL
            },
        ),
        (
            "two workers, failover, crash, lost reply",
            Config {
                workers: 2,
                limits: faults(|f| (f.failovers, f.crashes, f.replies_lost) = (1, 1, 1)),
                ..SMALL
            },
        ),
        (
            "two rebuilders, wipes",
            Config {
                rebuilders: 2,
                epoch_max: 3,
                limits: faults(|f| f.wipes = 2),
                ..SMALL
            },
        ),
        (
            "three users, failover",
            Config {
                users: 3,
                limits: faults(|f| f.failovers = 1),
                ..SMALL
            },
        ),
        (
            "all kinds of trouble",
            Config {
                stock: 2,
                limits: faults(|f| {
                    (f.failovers, f.crashes, f.replies_lost) = (1, 1, 1);
                    (f.acked_lost, f.expired) = (1, 1);
                }),
                ..SMALL
            },
        ),
    ];
    for (name, config) in models {
        all_hold(name, config);
    }
}
