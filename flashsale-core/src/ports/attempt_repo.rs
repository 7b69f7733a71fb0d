use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::{AttemptId, SaleId, Timestamp, UserId};
use crate::error::PortError;

/// The audit trail: who tried to buy, when, and what the answer was.
///
/// Accepted attempts are always in it: the adapter that keeps the orders records them with the
/// decision or before. Refusals are recorded as far as the caller hands them in.
#[async_trait]
pub trait AttemptRepo: Debug + Send + Sync + 'static {
    /// Adds refusals. An adapter may keep only the newest of a sale; it states how many.
    async fn record(&self, refusals: &[AttemptRecord]) -> Result<(), PortError>;

    /// What one user tried in a sale, the newest first, `max` at most.
    async fn history(
        &self,
        sale: SaleId,
        user: &UserId,
        max: usize,
    ) -> Result<Vec<AttemptRecord>, PortError>;
}

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The sale.
    pub sale: SaleId,
    /// Who tried.
    pub user: UserId,
    /// When.
    pub at: Timestamp,
    /// The answer.
    pub outcome: RecordedOutcome,
}

/// The answer to an attempt, as the audit trail keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordedOutcome {
    /// Units were taken.
    Accepted(AttemptId),
    /// None were left.
    SoldOut,
    /// The sale had not started.
    NotStarted,
    /// The sale was over.
    Ended,
    /// The sale was paused.
    Paused,
}

impl RecordedOutcome {
    /// The stable name, as stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted(_) => "ACCEPTED",
            Self::SoldOut => "SOLD_OUT",
            Self::NotStarted => "SALE_NOT_STARTED",
            Self::Ended => "SALE_ENDED",
            Self::Paused => "SALE_PAUSED",
        }
    }
}
