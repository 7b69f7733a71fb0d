//! The whole engine in a simulated world: the real services over ports that lose, delay and repeat
//! calls, in processes that crash and freeze, by a seed.

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
mod stock_side;
mod trace;
mod trouble;
mod users;
mod weather;
mod world;

use campaign::Campaign;
use run::{Setting, run};

/// How many seeds a usual run takes.
const SEEDS: u64 = 2_000;

#[test]
fn every_seed_keeps_what_was_promised() {
    let campaign = Campaign::from_environment(1..=SEEDS);
    campaign.run(Setting::default()).assert_clean();
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 1..=20 {
        let (first, second) = (run(seed, Setting::default()), run(seed, Setting::default()));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.steps, second.steps, "seed {seed}");
    }
}
