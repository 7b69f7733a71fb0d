#![doc = include_str!("../README.md")]
//!
//! # Where to go from here
//!
//! - [`domain`]: the values, and the two state machines [`Ledger`](domain::Ledger) (admits) and
//!   [`Arbiter`](domain::Arbiter) (decides).
//! - [`ports`]: [`StockStore`](ports::StockStore), [`AttemptQueue`](ports::AttemptQueue),
//!   [`OrderRepo`](ports::OrderRepo) and the others, as contracts.
//! - [`services`]: [`EnginePorts`](services::EnginePorts) wires an engine,
//!   [`FlashSaleService`](services::FlashSaleService) serves buyers.
//! - `testing`, with the feature of that name: ports in memory, and suites that prove an adapter.

pub mod domain;
mod error;
pub mod ports;
pub mod services;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{Effect, ErrorKind, PortError};
