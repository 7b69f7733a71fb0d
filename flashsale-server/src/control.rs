//! What a shop does to its sales from the command line, on a stopped or a running server.
//!
//! A command is a [`Request`]. If nobody has the database open, the command opens it and
//! [`Commands`] carry the request out; if a server has, the same [`Commands`] carry it out in
//! there, and the [`ControlSocket`] takes it across: one line of JSON each way, on a socket beside
//! the database file that only the owner of the file can open.
//!
//! What is done is [`Operations`](crate::Operations), and what goes across is data; the command line
//! puts it into words.

mod address;
mod client;
mod commands;
mod protocol;
mod refusal;
mod reports;
mod socket;
mod wire;

pub(crate) use address::{ControlAddress, canonical};
pub(crate) use client::{AskError, ask};
pub(crate) use commands::Commands;
pub(crate) use protocol::{
    AuditFigures, AuditReport, DeadLetterLine, Happening, NewSaleRequest, NewUserRequest, Reads,
    Reply, Request, SaleLine, Standing, TimelineReport,
};
pub(crate) use refusal::Refusal;
pub(crate) use socket::ControlSocket;
