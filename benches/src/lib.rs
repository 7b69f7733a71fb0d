//! What the benches measure, and the yardsticks they hold it against.

/// The processes of the distributed engine, each in a process of its own.
pub mod distributed;
mod engine;
/// Servers and clients for the benches over HTTP.
pub mod http;
mod pairs;
mod plain_sqlite;

pub use engine::Shop;
pub use pairs::{Pairs, compare};
pub use plain_sqlite::PlainSqlite;
