use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::{
    Attempt, AttemptId, Decision, FailReason, Order, OrderId, SaleId, SaleRef, Totals,
};
use crate::error::PortError;

/// The source of truth: it decides about attempts and keeps the orders.
///
/// Its rules are those of [`Arbiter`](crate::domain::Arbiter). The first decision about an attempt
/// id is final. A batch is decided in one transaction; on `Err` with effect
/// [`None`](crate::Effect::None) nothing of it is decided, on [`Unknown`](crate::Effect::Unknown)
/// calling again with the same attempts tells.
#[async_trait]
pub trait OrderRepo: Debug + Send + Sync + 'static {
    /// Decides about attempts of the sale, in order, and keeps the decisions; returns for each
    /// the decision made now or before. Attempts of another sale, or an unknown sale, are
    /// [`Invalid`](crate::ErrorKind::Invalid).
    ///
    /// What is decided now about attempts of the sale's present epoch advances
    /// [`Sale::decided_seq`](crate::domain::Sale::decided_seq) to the largest of their numbers, in
    /// the same transaction: by it a stock store is found to have lost something.
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError>;

    /// Fails those of the attempts that are not decided; returns for each the decision made now
    /// or before. Advances `decided_seq` like [`commit`](Self::commit).
    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError>;

    /// The orders of these attempts, in order; nothing for those that are not decided.
    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError>;

    /// The decided attempts of a sale by ascending order id, those after `after`, `max` at most.
    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError>;

    /// The sale's account, counted from the orders themselves; nothing for an unknown sale.
    async fn totals(&self, sale: SaleId) -> Result<Option<Totals>, PortError>;
}

/// Single-item forms of [`OrderRepo`].
#[async_trait]
pub trait OrderRepoExt: OrderRepo {
    /// [`OrderRepo::commit`] for one attempt.
    async fn commit_one(&self, sale: &SaleRef, attempt: &Attempt) -> Result<Decision, PortError> {
        let mut decisions = self.commit(sale, std::slice::from_ref(attempt)).await?;
        Ok(decisions.pop().expect("one decision per attempt"))
    }

    /// [`OrderRepo::find`] for one attempt.
    async fn find_one(&self, attempt: AttemptId) -> Result<Option<Order>, PortError> {
        let mut orders = self.find(&[attempt]).await?;
        Ok(orders.pop().expect("one answer per attempt"))
    }
}

impl<T: OrderRepo + ?Sized> OrderRepoExt for T {}
