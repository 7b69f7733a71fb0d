#![doc = include_str!("../README.md")]

mod attempt_repo;
mod config;
mod database;
mod error;
mod health;
mod listener;
mod migrations;
mod order_repo;
mod pool;
mod rows;
mod sale_repo;
mod user_repo;

pub use attempt_repo::PostgresAttemptRepo;
pub use config::PostgresConfig;
pub use database::PostgresDatabase;
pub use error::ConfigError;
pub use order_repo::PostgresOrderRepo;
pub use sale_repo::PostgresSaleRepo;
pub use user_repo::PostgresUserRepo;
