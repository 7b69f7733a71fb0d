//! The services over the adapters in memory.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, also in its own functions"
)]

mod auditor;
mod auth;
mod background;
mod behind_the_answer;
mod catalogue;
mod flash_sale;
mod recovery;
mod repair;
mod sales;
mod shop;
mod worker;
