#![doc = include_str!("../README.md")]

mod attempt_repo;
mod config;
mod database;
mod dead_letter_repo;
mod error;
mod health;
mod leadership;
mod listener;
mod migrations;
mod order_repo;
mod pool;
mod rows;
mod sale_repo;
mod server;
mod user_repo;

pub use attempt_repo::PostgresAttemptRepo;
pub use config::PostgresConfig;
pub use database::PostgresDatabase;
pub use dead_letter_repo::PostgresDeadLetterRepo;
pub use error::ConfigError;
pub use leadership::PostgresLeadership;
pub use order_repo::PostgresOrderRepo;
pub use sale_repo::PostgresSaleRepo;
pub use user_repo::PostgresUserRepo;
