use async_trait::async_trait;

use super::{MemoryDatabase, check_batch};
use crate::domain::{SaleId, UserId};
use crate::error::PortError;
use crate::ports::{AttemptRecord, AttemptRepo, RecordedOutcome};

/// The audit trail of a [`MemoryDatabase`]. Keeps all refusals; accepted attempts are read from the
/// decisions about them.
#[derive(Clone, Debug, Default)]
pub struct MemoryAttemptRepo {
    database: MemoryDatabase,
}

impl MemoryAttemptRepo {
    /// The audit trail of this database.
    pub fn new(database: MemoryDatabase) -> Self {
        Self { database }
    }
}

#[async_trait]
impl AttemptRepo for MemoryAttemptRepo {
    async fn record(&self, refusals: &[AttemptRecord]) -> Result<(), PortError> {
        check_batch(refusals.len(), "record")?;
        self.database.tables().refusals.extend_from_slice(refusals);
        Ok(())
    }

    async fn history(
        &self,
        sale: SaleId,
        user: &UserId,
        max: usize,
    ) -> Result<Vec<AttemptRecord>, PortError> {
        let tables = self.database.tables();
        let accepted = tables.orders.values().map(|order| AttemptRecord {
            sale: order.sale,
            user: order.user.clone(),
            at: order.reserved_at,
            outcome: RecordedOutcome::Accepted(order.attempt),
        });
        let all = tables.refusals.iter().cloned().chain(accepted);
        let mut history: Vec<_> = all
            .filter(|record| record.sale == sale && record.user == *user)
            .collect();
        history.sort_by_key(|record| record.at);
        history.reverse();
        history.truncate(max);
        Ok(history)
    }
}
