//! The flash-sale engine over HTTP: the routes of the contract on poem, ready to be served or to be
//! mounted in another poem application.
//!
//! [`app`] makes the endpoint from [`Services`], [`serve`] puts it on a socket, [`openapi`] prints
//! the document. [`Adapters`] wires the services to the ports of an engine, and [`Background`] runs
//! what has to run beside the requests.

#[cfg(test)]
extern crate self as flashsale_server;

mod app;
mod http;
mod metrics;
mod wiring;

pub use app::{HttpConfig, HttpConfigInvalid, Services, app, openapi};
pub use http::{ServeError, serve};
pub use metrics::Metrics;
pub use wiring::{Adapters, Background};
