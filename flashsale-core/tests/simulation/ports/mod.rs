//! The ports as a process of the simulated world reaches them.

mod clock;
mod leadership;
mod queue;
mod repos;
mod stock;

pub(crate) use clock::SkewedClock;
pub(crate) use leadership::SimLeadership;
pub(crate) use queue::{SimAttemptQueue, SimQueue};
pub(crate) use repos::{SimOrderRepo, SimSaleRepo};
pub(crate) use stock::{SimStockStore, number};
