//! The adapters on a real PostgreSQL.
#![allow(clippy::unwrap_used)]

mod addresses;
mod arbiter;
mod conformance;
mod encryption;
mod faults;
mod guards;
mod health;
mod leading;
mod migrations;
mod notifications;
mod people;
mod shop;
mod trail;
