//! The flash-sale engine over HTTP: the routes of the contract on poem, ready to be served or to be
//! mounted in another poem application.
//!
//! [`app`] makes the endpoint from [`Services`], [`serve`] puts it on a socket, [`openapi`] prints
//! the document. [`Background`] runs what has to run beside the requests.

#[cfg(test)]
extern crate self as flashsale_server;

mod app;
mod background;
mod dependency;
#[cfg(feature = "distributed")]
mod distributed;
mod http;
mod metrics;

pub use app::{HttpConfig, HttpConfigInvalid, Services, app, openapi};
pub use background::{Background, BackgroundConfig};
pub use dependency::Dependency;
#[cfg(feature = "distributed")]
pub use distributed::{Distributed, DistributedConfig, DistributedInvalid};
pub use flashsale_core::services::Role;
pub use http::{ServeError, serve};
pub use metrics::Metrics;
