#![doc = include_str!("../README.md")]

mod attempt_queue;
mod attempt_repo;
mod books;
mod clock;
mod config;
mod dead_letter_repo;
mod engine;
mod error;
mod journal;
mod order_repo;
mod path;
mod queue_state;
mod rows;
mod sale_repo;
mod services;
mod stock_rows;
mod stock_store;
mod user_repo;
mod watchdog;

pub use attempt_queue::EmbeddedAttemptQueue;
pub use attempt_repo::EmbeddedAttemptRepo;
pub use clock::{SystemClock, UuidV7};
pub use config::{Decides, EmbeddedConfig};
pub use dead_letter_repo::EmbeddedDeadLetterRepo;
pub use engine::EmbeddedEngine;
pub use error::OpenError;
pub use order_repo::EmbeddedOrderRepo;
pub use sale_repo::EmbeddedSaleRepo;
pub use stock_store::EmbeddedStockStore;
pub use user_repo::EmbeddedUserRepo;
