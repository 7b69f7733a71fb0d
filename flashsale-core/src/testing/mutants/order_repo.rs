use async_trait::async_trait;

use crate::domain::{
    Attempt, AttemptId, Decision, FailReason, Order, OrderId, SaleId, SaleRef, Totals, UserId,
};
use crate::error::PortError;
use crate::ports::{BATCH_MAX, OrderRepo, OrderRepoExt};
use crate::testing::MemoryOrderRepo;
use crate::testing::samples::{fresh_attempt_id, fresh_number};

/// What is wrong with a [`MutantOrderRepo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderMutation {
    /// Nothing: the repository is as good as the one inside.
    Nothing,
    /// An attempt that was decided is decided anew.
    ForgetsAttempts,
    /// An attempt without stock becomes an order.
    IgnoresTheStock,
    /// A user gets several orders.
    IgnoresTheUser,
    /// An attempt of an older epoch becomes an order.
    IgnoresTheEpoch,
    /// A batch is decided from its end.
    DecidesBackwards,
    /// Of a batch with an attempt of another sale, those before it are decided.
    DecidesPartOfABatch,
}

impl OrderMutation {
    /// All that is wrong with one.
    pub const ALL: [Self; 6] = [
        Self::ForgetsAttempts,
        Self::IgnoresTheStock,
        Self::IgnoresTheUser,
        Self::IgnoresTheEpoch,
        Self::DecidesBackwards,
        Self::DecidesPartOfABatch,
    ];
}

/// A [`MemoryOrderRepo`] with something wrong.
#[derive(Debug)]
pub struct MutantOrderRepo {
    inner: MemoryOrderRepo,
    mutation: OrderMutation,
}

impl MutantOrderRepo {
    /// The repository with this wrong.
    pub fn new(inner: MemoryOrderRepo, mutation: OrderMutation) -> Self {
        Self { inner, mutation }
    }

    fn is(&self, mutation: OrderMutation) -> bool {
        self.mutation == mutation
    }

    async fn commit_one(&self, sale: &SaleRef, attempt: &Attempt) -> Result<Decision, PortError> {
        let mut attempt = attempt.clone();
        if self.is(OrderMutation::ForgetsAttempts)
            && self.inner.find_one(attempt.id).await?.is_some()
        {
            attempt.id = fresh_attempt_id();
        }
        if self.is(OrderMutation::IgnoresTheUser) {
            let alias = format!("alias-{}", fresh_number());
            attempt.user = UserId::new(alias).expect("visible ASCII");
        }
        if self.is(OrderMutation::IgnoresTheEpoch) {
            attempt.epoch = attempt.epoch.max(sale.epoch);
        }
        let decision = self.inner.commit_one(sale, &attempt).await?;
        if self.is(OrderMutation::IgnoresTheStock)
            && decision == Decision::Failed(FailReason::NoStock)
        {
            let made_up = i64::try_from(fresh_number()).unwrap_or(i64::MAX);
            return Ok(Decision::Success(
                OrderId::new(made_up).expect("fresh numbers are positive"),
            ));
        }
        Ok(decision)
    }
}

#[async_trait]
impl OrderRepo for MutantOrderRepo {
    async fn commit(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<Vec<Decision>, PortError> {
        let mixed = attempts.iter().any(|attempt| attempt.sale != sale.id);
        let partly = self.is(OrderMutation::DecidesPartOfABatch);
        if attempts.is_empty() || attempts.len() > BATCH_MAX || (mixed && !partly) {
            return self.inner.commit(sale, attempts).await;
        }
        let mut order: Vec<_> = (0..attempts.len()).collect();
        if self.is(OrderMutation::DecidesBackwards) {
            order.reverse();
        }
        let mut decisions = Vec::new();
        for at in order {
            decisions.push((at, self.commit_one(sale, &attempts[at]).await?));
        }
        decisions.sort_by_key(|(at, _)| *at);
        Ok(decisions
            .into_iter()
            .map(|(_, decision)| decision)
            .collect())
    }

    async fn release(
        &self,
        sale: &SaleRef,
        attempts: &[Attempt],
        reason: FailReason,
    ) -> Result<Vec<Decision>, PortError> {
        self.inner.release(sale, attempts, reason).await
    }

    async fn find(&self, attempts: &[AttemptId]) -> Result<Vec<Option<Order>>, PortError> {
        self.inner.find(attempts).await
    }

    async fn list(
        &self,
        sale: SaleId,
        after: Option<OrderId>,
        max: usize,
    ) -> Result<Vec<Order>, PortError> {
        self.inner.list(sale, after, max).await
    }

    async fn totals(&self, sale: SaleId) -> Result<Option<Totals>, PortError> {
        self.inner.totals(sale).await
    }
}
