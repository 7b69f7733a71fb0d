//! Deliberately wrong adapters: each breaks one rule, and its suite has to notice.

mod order_repo;
mod stock_store;

pub use order_repo::{MutantOrderRepo, OrderMutation};
pub use stock_store::{MutantStockStore, StockMutation};
