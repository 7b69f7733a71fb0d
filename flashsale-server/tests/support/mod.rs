//! What the tests of the binary share: a shop on disk, a server process, a client.

#![allow(dead_code, unused_imports, reason = "each test takes what it needs")]

pub(crate) mod past;
mod process;
mod shop;

pub(crate) use flashsale_client::{Answer, Client};
pub(crate) use process::{DEADLINE, ServerProcess};
pub(crate) use shop::Shop;
