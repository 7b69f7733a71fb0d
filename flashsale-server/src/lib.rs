//! The flash-sale engine over HTTP: the routes of the contract on poem, ready to be served or to be
//! mounted in another poem application.
//!
//! [`app`] makes the endpoint from [`Services`], [`serve`] puts it on a socket, [`openapi`] prints
//! the document. Wiring the services to adapters is up to the caller.

#[cfg(test)]
extern crate self as flashsale_server;

mod app;
mod http;
mod metrics;

pub use app::{HttpConfig, HttpConfigInvalid, Services, app, openapi};
pub use http::{ServeError, serve};
pub use metrics::Metrics;
