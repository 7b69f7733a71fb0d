#![doc = include_str!("../README.md")]

mod batcher;
mod cluster;
mod codec;
mod config;
mod connection;
mod error;
mod health;
mod keys;
mod limiter;
mod request;
mod sale_state;
mod scripts;
mod sold_out;
mod stock_store;
#[cfg(feature = "tls")]
mod tls;
mod topology;

pub use config::{InvalidRedisConfig, RedisConfig};
pub use stock_store::RedisStockStore;
