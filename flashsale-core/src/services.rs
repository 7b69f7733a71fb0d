//! What the engine does, written against the [`ports`](crate::ports).
//!
//! [`FlashSaleService`] serves buyers, [`AuthService`] knows them, [`SaleService`] is the shop's
//! side, [`Relay`] and [`Worker`] turn attempts into orders, [`Repair`] finishes what was left
//! undone, [`Recovery`] rebuilds a stock that was lost, [`AuditTrail`] notes who was refused, and
//! [`Auditor`] accounts for every unit. [`EngineServices::background`] says when which of them has
//! something to do. None of them sleeps, spawns or reads a clock but its port: whoever runs them
//! does.

mod audit_trail;
mod auditor;
mod auth;
mod background;
mod catalogue;
mod dead_letters;
mod engine;
mod flash_sale;
mod join;
mod recovery;
mod relay;
mod repair;
mod sales;
mod settling;
mod worker;

pub use audit_trail::AuditTrail;
pub use auditor::{Auditor, Finding, Reconciliation, UserTimeline, Verdict};
pub use auth::{
    AuthService, Field, LoginOutcome, LoginSuccess, RegisterOutcome, Registration,
    RegistrationInvalid,
};
pub use background::{
    AcknowledgeTask, BackgroundLimits, BackgroundLoop, BackgroundTask, DriftMonitor, RefusalTask,
    RelayTask, RepairTask, Role, SaleSupervisor, TaskEvent, TaskReport, Wait, WorkerTask,
};
pub use catalogue::Catalogue;
pub use dead_letters::{DeadLetters, ReplayOutcome};
pub use engine::{EnginePorts, EngineServices};
pub use flash_sale::{
    AcceptAfter, Acceptance, AttemptOutcome, Durability, FlashSalePorts, FlashSaleService,
    OnPublishFailure, PurchaseStatus,
};
pub use recovery::{Recovery, RecoveryProgress};
pub use relay::Relay;
pub use repair::{Repair, RepairLimits, Repaired};
pub use sales::{ChangeSaleOutcome, SaleService, SaleView, StockReadiness};
pub use worker::{Worker, WorkerPorts, WorkerReport};
