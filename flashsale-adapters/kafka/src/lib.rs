#![doc = include_str!("../README.md")]

mod attempt_decoder;
mod attempt_queue;
mod attempt_reader;
mod circuit;
mod client_log;
mod config;
mod consumer;
mod error;
mod health;
mod message;
mod offset_committer;
mod offsets;
mod producer;
mod record_buffer;
mod topic_admin;

pub use attempt_decoder::KafkaAttemptDecoder;
pub use attempt_queue::KafkaAttemptQueue;
pub use config::{ConfigError, KafkaConfig};
