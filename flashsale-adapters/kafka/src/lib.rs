#![doc = include_str!("../README.md")]

mod attempt_queue;
mod attempt_reader;
mod config;
mod error;
mod message;
mod producer;
mod topic;

pub use attempt_queue::KafkaAttemptQueue;
pub use config::{ConfigError, KafkaConfig};
