use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flashsale_core::Effect;
use flashsale_core::domain::{ProductId, SaleResult, UserId};
use futures_util::future::join_all;
use redis::Value;
use tokio::time::Instant;

use super::Core;
use crate::batcher::{BatchSender, Batcher, SendAttempt};
use crate::codec;
use crate::error::Fault;
use crate::keys;
use crate::limiter::Limiter;
use crate::request::Request;
use crate::scripts;

/// How many results one call writes, so that buyers do not wait for it.
const CHUNK: usize = 256;

impl Core {
    /// Writes all that can be written; on a cluster some slots may be away while others are not.
    pub(super) async fn put_results(&self, results: &[SaleResult]) -> Result<(), Fault> {
        let deadline = self.work_deadline();
        let keys: Vec<_> = results
            .iter()
            .map(|result| keys::result(&self.prefix, result.product, &result.user))
            .collect();
        let slots = self.by_slot(&keys);
        let groups = slots
            .iter()
            .flat_map(|(slot, group)| group.chunks(CHUNK).map(move |chunk| (*slot, chunk)));
        let calls = groups.map(|(slot, group)| {
            let in_order: Vec<_> = group.iter().map(|at| keys[*at].as_str()).collect();
            let size = 1 + group.len();
            let mut request = Request::script(slot, &scripts::PUT_RESULTS, &in_order, size);
            request.command.arg(self.result_ttl_s);
            for at in group {
                request.command.arg(codec::result_text(&results[*at]));
            }
            async move { self.work(&request, deadline).await }
        });
        let (written, faults): (Vec<_>, Vec<_>) =
            join_all(calls).await.into_iter().partition(Result::is_ok);
        let partly = !written.is_empty();
        let unknown = |fault: &Fault| fault.effect == Effect::Unknown;
        let mut faults = faults.into_iter().filter_map(Result::err);
        let Some(first) = faults.next() else {
            return Ok(());
        };
        Err(if partly || faults.any(|fault| unknown(&fault)) {
            first.unknown()
        } else {
            first
        })
    }

    pub(super) async fn results(
        self: &Arc<Self>,
        product: ProductId,
        users: &[UserId],
    ) -> Result<Vec<Option<SaleResult>>, Fault> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.budget;
        let items = users.iter().map(|user| (product, user.clone()));
        let sender = || Reading {
            core: Arc::clone(self),
        };
        let batcher = &self.results;
        let found = batcher.submit(items.collect(), deadline, &self.read_limiter, sender);
        found.await?.into_iter().collect()
    }

    /// Which of the keys can be in one call: those of a slot, or all of them on one server.
    fn by_slot(&self, keys: &[String]) -> BTreeMap<u16, Vec<usize>> {
        let mut slots: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            let slot = if self.topology.is_single() {
                0
            } else {
                keys::slot_of(key)
            };
            slots.entry(slot).or_default().push(at);
        }
        slots
    }
}

/// Reads results, those of each slot by themselves: who is in a slot that is away keeps nobody from
/// his answer whose results are read by the same call.
struct Reading {
    core: Arc<Core>,
}

/// What is known of one user's result.
pub(super) type Found = Result<Option<SaleResult>, Fault>;

impl BatchSender for Reading {
    type Item = (ProductId, UserId);
    type Outcome = Found;

    fn batcher(&self) -> &Batcher<(ProductId, UserId), Found> {
        &self.core.results
    }

    fn limiter(&self) -> &Limiter {
        &self.core.read_limiter
    }

    fn response_timeout(&self) -> Duration {
        self.core.response_timeout
    }

    async fn send(
        &self,
        items: &[(ProductId, UserId)],
        attempt: SendAttempt,
    ) -> Result<Vec<Found>, Fault> {
        let prefix = &self.core.prefix;
        let keys = items.iter();
        let keys: Vec<_> = keys
            .map(|(product, user)| keys::result(prefix, *product, user))
            .collect();
        let slots = self.core.by_slot(&keys);
        let calls = slots.iter().map(|(slot, group)| {
            let mut command = redis::cmd("MGET");
            for at in group {
                command.arg(&keys[*at]);
            }
            let request = Request::command(*slot, command);
            let topology = &self.core.topology;
            async move {
                let answer = topology.call(&request, attempt.if_down, attempt.deadline);
                codec::list(answer.await?)
            }
        });
        let answers = join_all(calls).await;
        if let Some(Err(fault)) = answers.first()
            && answers.iter().all(Result::is_err)
        {
            // Worth another attempt.
            return Err(fault.clone());
        }
        let mut found: Vec<Found> = vec![Ok(None); items.len()];
        for (group, answer) in slots.values().zip(answers) {
            match answer {
                Ok(values) => {
                    for (at, value) in group.iter().zip(values) {
                        found[*at] = read(&items[*at], &value);
                    }
                }
                Err(fault) => group
                    .iter()
                    .for_each(|at| found[*at] = Err(fault.clone().harmless())),
            }
        }
        Ok(found)
    }
}

fn read((product, user): &(ProductId, UserId), value: &Value) -> Found {
    match value {
        Value::Nil => Ok(None),
        value => codec::result(codec::text(value)?, *product, user).map(Some),
    }
}
