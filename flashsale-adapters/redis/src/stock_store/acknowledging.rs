use std::sync::Arc;
use std::time::Duration;

use flashsale_core::domain::{Attempt, AttemptId, Hold, SaleRef, UserId};
use redis::Value;
use tokio::time::Instant;

use super::Core;
use crate::error::Fault;
use crate::lane::{self, Job, Lane, Room};
use crate::link::Request;
use crate::notation;
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
        let job = || Acknowledging {
            core: Arc::clone(self),
            state: Arc::clone(&state),
        };
        let (lane, room) = (&state.acknowledge, &self.acknowledgements);
        lane.submit(items.collect(), now + self.budget, room, job)
            .await?;
        Ok(())
    }

    pub(super) async fn holds(
        self: &Arc<Self>,
        sale: &SaleRef,
        users: &[UserId],
    ) -> Result<Vec<Option<Hold>>, Fault> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let now = Instant::now();
        let state = self.sales.get(sale, now);
        let job = || ReadingHolds {
            core: Arc::clone(self),
            state: Arc::clone(&state),
        };
        let lane = &state.holds;
        lane.submit(users.to_vec(), now + self.budget, &self.reads, job)
            .await
    }
}

/// Sends what the queue has of a sale.
struct Acknowledging {
    core: Arc<Core>,
    state: Arc<SaleState>,
}

impl Job for Acknowledging {
    type Item = (UserId, AttemptId);
    type Outcome = ();

    fn lane(&self) -> &Lane<(UserId, AttemptId), ()> {
        &self.state.acknowledge
    }

    fn room(&self) -> &Room {
        &self.core.acknowledgements
    }

    fn patience(&self) -> Duration {
        self.core.patience
    }

    async fn send(
        &self,
        items: &[(UserId, AttemptId)],
        attempt: lane::Attempt,
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
        let nodes = &self.core.nodes;
        nodes.call(&request, attempt.away, attempt.deadline).await?;
        Ok(vec![(); items.len()])
    }
}

/// Reads what users hold in a sale.
struct ReadingHolds {
    core: Arc<Core>,
    state: Arc<SaleState>,
}

impl Job for ReadingHolds {
    type Item = UserId;
    type Outcome = Option<Hold>;

    fn lane(&self) -> &Lane<UserId, Option<Hold>> {
        &self.state.holds
    }

    fn room(&self) -> &Room {
        &self.core.reads
    }

    fn patience(&self) -> Duration {
        self.core.patience
    }

    async fn send(
        &self,
        users: &[UserId],
        attempt: lane::Attempt,
    ) -> Result<Vec<Option<Hold>>, Fault> {
        let SaleState { sale, keys, .. } = &*self.state;
        let keys_in_order = [keys.sale.as_str(), &keys.users];
        let size = 1 + users.len();
        let mut request = Request::script(keys.slot, &scripts::HOLDS, &keys_in_order, size);
        request.command.arg(sale.id.get());
        for user in users {
            request.command.arg(user.as_str());
        }
        let nodes = &self.core.nodes;
        match nodes.call(&request, attempt.away, attempt.deadline).await? {
            Value::Nil => Ok(vec![None; users.len()]),
            answer => {
                let holds = notation::list(answer)?.into_iter();
                holds.map(|hold| optional(&hold)).collect()
            }
        }
    }
}

fn optional(hold: &Value) -> Result<Option<Hold>, Fault> {
    match hold {
        Value::Nil => Ok(None),
        hold => Ok(Some(notation::hold(notation::text(hold)?)?)),
    }
}
