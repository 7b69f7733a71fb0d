//! Kills, freezes and cuts off the parts of a running shop at random while users buy, and judges
//! what they were told. `cargo test -p flashsale-server --test chaos -- --help` tells the options.

#![allow(clippy::unwrap_used, reason = "a run that cannot go on fails")]

mod books;
mod crowd;
mod dice;
mod faults;
mod history;
mod judge;
mod load;
mod options;
mod process;
mod proof;
mod proxy;
mod report;
mod run;
mod sale;
mod shop;
mod sighting;
mod soak;
mod stack;
#[path = "../support/mod.rs"]
mod support;
mod user;
mod watcher;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.not_meant() {
        return ExitCode::SUCCESS;
    }
    proof::prove();
    // One thread for the load and the proxies: the rest of the machine is for the shop.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let good = runtime.block_on(run::run(&options));
    runtime.shutdown_timeout(Duration::from_secs(10));
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
