//! The flash-sale engine over HTTP: the routes of the contract on poem, ready to be served or to be
//! mounted in another poem application.
//!
//! [`app`] makes the endpoint from [`Services`], [`serve`] puts it on a socket, [`openapi`] prints
//! the document. [`Background`] runs what has to run beside the requests. [`run_command_line`] is
//! the whole program.

#[cfg(test)]
extern crate self as flashsale_server;

mod app;
mod background;
mod cli;
mod config;
mod control;
mod dependency;
#[cfg(feature = "distributed")]
mod distributed;
mod error_chain;
mod http;
mod http_config;
mod metrics;
mod operations;
mod rfc3339;
mod services;
mod time_arg;

pub use app::{app, openapi};
pub use background::{Background, BackgroundConfig};
pub use cli::run_command_line;
pub use dependency::Dependency;
#[cfg(feature = "distributed")]
pub use distributed::{Distributed, DistributedConfig, DistributedInvalid};
pub use flashsale_core::services::Role;
pub use http::{ServeError, serve};
pub use http_config::{HttpConfig, HttpConfigInvalid, Network, NotANetwork};
pub use metrics::Metrics;
pub use operations::Operations;
pub use services::Services;
