#![doc = include_str!("../README.md")]

mod attempt_decoder;
mod attempt_queue;
mod attempt_reader;
mod bell;
mod circuit;
mod clerk;
mod config;
mod error;
mod keeper;
mod leaving;
mod message;
mod observer;
mod producer;
mod readers;
mod reading;
mod reports;
mod shelf;
mod topic;
mod tray;

pub use attempt_decoder::KafkaAttemptDecoder;
pub use attempt_queue::KafkaAttemptQueue;
pub use config::{ConfigError, KafkaConfig};
