//! The distributed engine from outside: real Redis, Kafka and PostgreSQL, any number of processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audits;
mod changes;
mod clients;
mod crowd;
mod encryption;
mod faults;
mod losses;
mod mixed;
mod publishing;
mod rushes;
mod settings;
mod shop;
mod starting;
#[path = "../support/mod.rs"]
mod support;
