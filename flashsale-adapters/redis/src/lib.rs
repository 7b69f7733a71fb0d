#![doc = include_str!("../README.md")]

mod cluster;
mod config;
mod error;
mod health;
mod keys;
mod lane;
mod link;
mod nodes;
mod notation;
mod sale_state;
mod scripts;
mod sold_out;
mod stock_store;

pub use config::{InvalidRedisConfig, RedisConfig};
pub use stock_store::RedisStockStore;
