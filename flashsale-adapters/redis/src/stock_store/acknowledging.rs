use std::sync::Arc;
use std::time::Duration;

use flashsale_core::domain::{Allocation, Attempt, AttemptId, SaleRef, UserId};
use redis::Value;
use tokio::time::Instant;

use super::Core;
use crate::batcher::{BatchSender, Batcher, SendAttempt};
use crate::codec;
use crate::error::Fault;
use crate::limiter::Limiter;
use crate::request::Request;
use crate::sale_state::SaleState;
use crate::scripts;

impl Core {
    pub(super) async fn acknowledge(
        self: &Arc<Self>,
        sale: &SaleRef,
        attempts: &[Attempt],
    ) -> Result<(), Fault> {
        if attempts.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let state = self.sales.get(sale, now);
        let items = attempts.iter();
        let items = items.map(|attempt| (attempt.user.clone(), attempt.id));
        let sender = || Acknowledging {
            core: Arc::clone(self),
            state: Arc::clone(&state),
        };
        let (batcher, limiter) = (&state.acknowledge, &self.acknowledge_limiter);
        batcher
            .submit(items.collect(), now + self.budget, limiter, sender)
            .await?;
        Ok(())
    }

    pub(super) async fn allocations(
        self: &Arc<Self>,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Allocation>>, Fault> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let now = Instant::now();
        let state = self.sales.get(sale, now);
        let sender = || ReadingAllocations {
            core: Arc::clone(self),
            state: Arc::clone(&state),
        };
        let batcher = &state.allocations;
        batcher
            .submit(
                users.to_vec(),
                now + self.budget,
                &self.read_limiter,
                sender,
            )
            .await
    }
}

/// Sends what the queue has of a sale.
struct Acknowledging {
    core: Arc<Core>,
    state: Arc<SaleState>,
}

impl BatchSender for Acknowledging {
    type Item = (UserId, AttemptId);
    type Outcome = ();

    fn batcher(&self) -> &Batcher<(UserId, AttemptId), ()> {
        &self.state.acknowledge
    }

    fn limiter(&self) -> &Limiter {
        &self.core.acknowledge_limiter
    }

    fn response_timeout(&self) -> Duration {
        self.core.response_timeout
    }

    async fn send(
        &self,
        items: &[(UserId, AttemptId)],
        attempt: SendAttempt,
    ) -> Result<Vec<()>, Fault> {
        let SaleState {
            sale, keys, seen, ..
        } = &*self.state;
        let keys_in_order = [keys.sale.as_str(), &keys.users, &keys.outbox];
        let size = 3 + 2 * items.len();
        let mut request = Request::script(keys.slot, &scripts::ACKNOWLEDGE, &keys_in_order, size);
        let command = request.command.arg(sale.id.get());
        command.arg(sale.epoch.get()).arg(seen.seq());
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        for (user, attempt) in items {
            let attempt = attempt.as_uuid();
            let attempt = &*attempt.hyphenated().encode_lower(&mut text);
            request.command.arg(user.as_str()).arg(attempt);
        }
        let topology = &self.core.topology;
        topology
            .call(&request, attempt.if_down, attempt.deadline)
            .await?;
        Ok(vec![(); items.len()])
    }
}

/// Reads what users hold in a sale.
struct ReadingAllocations {
    core: Arc<Core>,
    state: Arc<SaleState>,
}

impl BatchSender for ReadingAllocations {
    type Item = UserId;
    type Outcome = Option<Allocation>;

    fn batcher(&self) -> &Batcher<UserId, Option<Allocation>> {
        &self.state.allocations
    }

    fn limiter(&self) -> &Limiter {
        &self.core.read_limiter
    }

    fn response_timeout(&self) -> Duration {
        self.core.response_timeout
    }

    async fn send(
        &self,
        users: &[UserId],
        attempt: SendAttempt,
    ) -> Result<Vec<Option<Allocation>>, Fault> {
        let SaleState { sale, keys, .. } = &*self.state;
        let keys_in_order = [keys.sale.as_str(), &keys.users];
        let size = 1 + users.len();
        let mut request = Request::script(keys.slot, &scripts::ALLOCATIONS, &keys_in_order, size);
        request.command.arg(sale.id.get());
        for user in users {
            request.command.arg(user.as_str());
        }
        let topology = &self.core.topology;
        match topology
            .call(&request, attempt.if_down, attempt.deadline)
            .await?
        {
            Value::Nil => Ok(vec![None; users.len()]),
            answer => {
                let allocations = codec::list(answer)?.into_iter();
                allocations
                    .map(|allocation| optional(&allocation))
                    .collect()
            }
        }
    }
}

fn optional(allocation: &Value) -> Result<Option<Allocation>, Fault> {
    match allocation {
        Value::Nil => Ok(None),
        allocation => Ok(Some(codec::allocation(codec::text(allocation)?)?)),
    }
}
