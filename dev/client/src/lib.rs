//! The HTTP client of the tests and the benches: one connection that is kept alive, and no more
//! work per request than writing it and reading its answer, so that a measured server has the
//! processor.

mod answer;
mod client;
mod request;
mod rush;

pub use answer::Answer;
pub use client::Client;
pub use rush::{Rush, rush};
