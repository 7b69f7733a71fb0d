//! The HTTP contract.
//!
//! [`Edge`] stands before everything and does in one go what a tower of middlewares would: request
//! id, routing, error envelope, CORS, panics, counting. The three routes that a crowd calls are
//! answered by it directly; the others go through poem-openapi, from which the document of *all*
//! routes is made.
//!
//! Why two ways: a request through poem-openapi costs about twice as much as one through a bare
//! poem endpoint. Both ways end in the same functions, and a test holds their answers together.

mod api;
mod auth;
mod bearer;
mod body;
mod buyers;
mod connections;
mod cors;
pub(crate) mod document;
mod edge;
mod failure;
mod json;
mod operation;
mod path_id;
mod request_id;
mod route;
mod service;

pub use connections::{ServeError, serve};
pub(crate) use edge::Edge;
pub(crate) use route::Route;
