//! What the benches measure, and the yardsticks they hold it against.

mod engine;
/// Servers and clients for the benches over HTTP.
pub mod http;
mod pairs;
mod plain_sqlite;

pub use engine::Shop;
pub use pairs::{Pairs, compare};
pub use plain_sqlite::PlainSqlite;
