#![doc = include_str!("../README.md")]

mod attempt_queue;
mod attempt_reader;
mod bell;
mod circuit;
mod config;
mod error;
mod keeper;
mod message;
mod observer;
mod producer;
mod readers;
mod reading;
mod reports;
mod shelf;
mod topic;

pub use attempt_queue::KafkaAttemptQueue;
pub use config::{ConfigError, KafkaConfig};
