//! The HTTP contract.
//!
//! [`ApiEndpoint`] stands before everything and does in one go what a tower of middlewares would:
//! request id, routing, error envelope, CORS, tokens, panics, counting. What there is to answer is
//! said in one table, [`routes`]; the document of all routes is made from it.
//!
//! poem-openapi describes and does not serve: a request through it costs about twice as much as one
//! through a bare poem endpoint.

mod api_endpoint;
mod api_error;
mod auth;
mod bearer;
mod body;
mod buyers;
mod client_address;
mod connections;
mod cors;
pub(crate) mod document;
mod door;
mod json;
mod readiness;
mod request_id;
mod route;
mod router;
mod routes;
mod service;

pub(crate) use api_endpoint::ApiEndpoint;
pub use connections::{ServeError, serve};
