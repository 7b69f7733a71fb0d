use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flashsale_core::domain::{ProductId, SaleResult, UserId};
use futures_util::future::try_join_all;
use redis::Value;
use tokio::time::Instant;

use super::Core;
use crate::error::Fault;
use crate::keys;
use crate::lane::{self, Job, Lane, Room};
use crate::link::Request;
use crate::notation;
use crate::scripts;

/// How many results one call writes, so that buyers do not wait for it.
const CHUNK: usize = 256;
/// How many calls are in flight at the same time when each is for another slot.
const AT_ONCE: usize = 64;

impl Core {
    pub(super) async fn put_results(&self, results: &[SaleResult]) -> Result<(), Fault> {
        let deadline = self.work_deadline();
        let keys: Vec<_> = results
            .iter()
            .map(|result| keys::result(&self.prefix, result.product, &result.user))
            .collect();
        let mut groups: Vec<(u16, Vec<usize>)> = Vec::new();
        for (slot, group) in self.by_slot(&keys) {
            groups.extend(group.chunks(CHUNK).map(|chunk| (slot, chunk.to_vec())));
        }
        let mut begun = false;
        for groups in groups.chunks(AT_ONCE) {
            let calls = groups.iter().map(|(slot, group)| {
                let in_order: Vec<_> = group.iter().map(|at| keys[*at].as_str()).collect();
                let size = 1 + group.len();
                let mut request = Request::script(*slot, &scripts::PUT_RESULTS, &in_order, size);
                request.command.arg(self.result_ttl_s);
                for at in group {
                    request.command.arg(notation::result_text(&results[*at]));
                }
                async move { self.work(&request, deadline).await }
            });
            let partly = begun || groups.len() > 1;
            let written = try_join_all(calls).await;
            written.map_err(|fault| if partly { fault.unknown() } else { fault })?;
            begun = true;
        }
        Ok(())
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
        let job = || Reading {
            core: Arc::clone(self),
        };
        let lane = &self.results;
        lane.submit(items.collect(), deadline, &self.reads, job)
            .await
    }

    /// Which of the keys can be in one call: those of a slot, or all of them on one server.
    fn by_slot(&self, keys: &[String]) -> BTreeMap<u16, Vec<usize>> {
        let mut slots: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            let slot = if self.nodes.is_one() {
                0
            } else {
                keys::slot_of(key)
            };
            slots.entry(slot).or_default().push(at);
        }
        slots
    }
}

/// Reads results.
struct Reading {
    core: Arc<Core>,
}

impl Job for Reading {
    type Item = (ProductId, UserId);
    type Outcome = Option<SaleResult>;

    fn lane(&self) -> &Lane<(ProductId, UserId), Option<SaleResult>> {
        &self.core.results
    }

    fn room(&self) -> &Room {
        &self.core.reads
    }

    fn patience(&self) -> Duration {
        self.core.patience
    }

    async fn send(
        &self,
        items: &[(ProductId, UserId)],
        attempt: lane::Attempt,
    ) -> Result<Vec<Option<SaleResult>>, Fault> {
        let prefix = &self.core.prefix;
        let keys = items.iter();
        let keys: Vec<_> = keys
            .map(|(product, user)| keys::result(prefix, *product, user))
            .collect();
        let mut found = vec![Value::Nil; items.len()];
        let slots: Vec<_> = self.core.by_slot(&keys).into_iter().collect();
        for slots in slots.chunks(AT_ONCE) {
            let calls = slots.iter().map(|(slot, group)| {
                let mut command = redis::cmd("MGET");
                for at in group {
                    command.arg(&keys[*at]);
                }
                let request = Request::command(*slot, command);
                let nodes = &self.core.nodes;
                async move {
                    let answer = nodes.call(&request, attempt.away, attempt.deadline);
                    notation::list(answer.await?)
                }
            });
            for ((_, group), values) in slots.iter().zip(try_join_all(calls).await?) {
                for (at, value) in group.iter().zip(values) {
                    found[*at] = value;
                }
            }
        }
        let results = items.iter().zip(&found).map(|((product, user), value)| {
            let text = match value {
                Value::Nil => return Ok(None),
                value => notation::text(value)?,
            };
            notation::result(text, *product, user).map(Some)
        });
        results.collect()
    }
}
