//! What a flash sale is: values, and the two state machines that every adapter has to agree with.
//!
//! [`Ledger`] admits (what a [`StockStore`](crate::ports::StockStore) does) and [`Arbiter`] decides
//! (what an [`OrderRepo`](crate::ports::OrderRepo) does). Both are synchronous and total: no clock,
//! no I/O, and every "no" is a value.

mod arbiter;
mod attempt;
mod ids;
mod ledger;
mod order;
mod sale;
mod timestamp;
mod user;

pub use arbiter::{Arbiter, Ruling};
pub use attempt::{Allocation, AllocationState, Attempt};
pub use ids::{AttemptId, Epoch, InvalidId, OrderId, ProductId, Quantity, SaleId, UserId};
pub use ledger::{
    ApplyOutcome, Buyer, Ledger, Levels, OpenOutcome, ReserveOutcome, ReserveRequest,
    SettleOutcome, Settlement, StockSnapshot,
};
pub use order::{Decision, FailReason, Kept, Order, OrderStatus, SaleResult, Totals};
pub use sale::{
    ChangeRefused, NewSale, NewSaleRefused, Phase, Product, Sale, SaleChange, SaleRef, SaleStatus,
    StockEvent, UNITS_MAX, Window,
};
pub use timestamp::Timestamp;
pub use user::{NewUser, Role, User};
