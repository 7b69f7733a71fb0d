use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::Core;
use super::reserving::Answer;
use crate::codec;
use crate::error::Fault;
use crate::request::Request;
use crate::sale_state::SaleState;
use crate::sold_out::Empty;

/// How many holders one call reads, about.
const SCAN: usize = 1_000;
/// Nobody has this id, for it is a space, and wants as many units as no stock has. So whoever asks
/// for it is told what everybody would be told, and leaves nothing behind.
const NOBODY: &str = " ";
const TOO_MANY: u64 = (1 << 53) - 1;

/// The most holders that are remembered: 8 MB of hashes. With more, Redis is asked every time.
const HOLDERS_MAX: usize = 1_000_000;

impl Core {
    /// Asks Redis for a crowd that is refused from memory, for as long as the sale is sold out and
    /// somebody is refused.
    pub(super) async fn watch_sold_out(&self, state: &SaleState) {
        let Some(watch) = state.sold_out.watch() else {
            return;
        };
        let period = state.sold_out.keep / 2;
        let mut pause = None;
        loop {
            let asked_at = Instant::now();
            let Some(empty) = known(self.ask_for_all(state).await) else {
                return;
            };
            if watch.extend(empty) {
                sleep_until(asked_at + period).await;
                if !watch.was_used() {
                    return;
                }
                pause = None;
            } else if let Some(pause) = pause.take() {
                // The holders have changed while they were read. That costs Redis some time, and
                // while units come and go it is in vain: a fifth of the time at most.
                sleep(pause).await;
            } else {
                let begun = Instant::now();
                let holders = known(self.read_holders(state).await);
                let took = begun.elapsed();
                let Some(holders) = holders else {
                    return sleep((took * 4).max(period)).await;
                };
                watch.learn(empty.version, holders);
                pause = Some(took * 4);
            }
        }
    }

    /// What Redis shows of a sale without units; nothing if it has some or does not sell.
    async fn ask_for_all(&self, state: &SaleState) -> Result<Option<Empty>, Fault> {
        let sold_out = &state.sold_out;
        let asked_at = Instant::now();
        let mut request = self.reserve_call(state, 1);
        let command = request.command.arg(NOBODY);
        command.arg(Uuid::nil().to_string()).arg(TOO_MANY);
        let answer = self.work(&request, self.work_deadline()).await?;
        let Some(Answer::Judged(judged)) = Answer::read(answer)? else {
            sold_out.clear();
            return Ok(None);
        };
        sold_out.note(judged.holders_version, judged.is_empty());
        let left = Duration::from_millis(judged.ends_at.since_ms(judged.at));
        let empty = Empty {
            version: judged.holders_version,
            until: asked_at + sold_out.keep.min(left),
            ends_at: judged.ends_at,
        };
        Ok((judged.is_empty() == Some(true)).then_some(empty))
    }

    /// The hashes of the holders; nothing if there are too many.
    async fn read_holders(&self, state: &SaleState) -> Result<Option<Vec<u64>>, Fault> {
        let keys = &state.keys;
        let mut hashes = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(&keys.users).arg(&cursor).arg("COUNT").arg(SCAN);
            let request = Request::command(keys.slot, scan);
            let page = codec::list(self.work(&request, self.work_deadline()).await?)?;
            let [next, Value::Array(pairs)] = &page[..] else {
                return Err(Fault::damaged("the answer of HSCAN is not readable"));
            };
            for user in pairs.iter().step_by(2) {
                hashes.push(state.sold_out.hash(codec::text(user)?));
            }
            if hashes.len() > HOLDERS_MAX {
                return Ok(None);
            }
            cursor = codec::text(next)?.to_owned();
            if cursor == "0" {
                return Ok(Some(hashes));
            }
        }
    }
}

fn known<T>(answer: Result<Option<T>, Fault>) -> Option<T> {
    answer.unwrap_or_else(|fault| {
        tracing::debug!(?fault, "nothing is known of a sold-out sale");
        None
    })
}
