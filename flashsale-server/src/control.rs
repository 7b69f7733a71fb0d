//! What a shop does to its sales from the command line, on a stopped or a running server.
//!
//! A command is a [`Request`]. If nobody has the database open, the command opens it and
//! [`Operations`] carry the request out; if a server has, the same [`Operations`] carry it out in
//! there, and the [`ControlSocket`] takes it across: one line of JSON each way, on a socket beside
//! the database file that only the owner of the file can open.

mod accounts;
mod address;
mod client;
mod operations;
mod protocol;
mod socket;

pub(crate) use address::{ControlAddress, canonical};
pub(crate) use client::{AskError, ask};
pub(crate) use operations::Operations;
pub(crate) use protocol::{
    AuditReport, Change, LetterLine, NewSaleRequest, NewUserRequest, Reply, Request, SaleLine,
    StoryReport,
};
pub(crate) use socket::ControlSocket;
