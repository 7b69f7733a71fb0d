#![doc = include_str!("../README.md")]

pub mod domain;
mod error;
pub mod ports;
pub mod services;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{Effect, ErrorKind, PortError};
