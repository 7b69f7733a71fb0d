use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use flashsale_core::domain::{
    AllocationState, Attempt, AttemptId, ReserveOutcome, ReserveRequest, SaleRef, Timestamp,
};
use redis::Value;
use tokio::time::Instant;

use super::Core;
use crate::batcher::{BatchSender, Batcher, SendAttempt};
use crate::codec::{self, Read};
use crate::connection::IfDown;
use crate::error::Fault;
use crate::limiter::Limiter;
use crate::request::Request;
use crate::sale_state::SaleState;
use crate::scripts;
use crate::sold_out::{HOLDERS_MAX, Shown};

impl Core {
    pub(super) async fn reserve(
        self: &Arc<Self>,
        sale: &SaleRef,
        requests: &[ReserveRequest],
    ) -> Result<Vec<ReserveOutcome>, Fault> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let now = Instant::now();
        let state = self.sales.get(sale, now);
        let users = requests.iter().map(|wanted| &wanted.user);
        let moment = self.clock.as_ref().map(|clock| clock.now());
        if state.sold_out.refuses(users, now, moment) {
            return Ok(vec![ReserveOutcome::SoldOut; requests.len()]);
        }
        let sender = || Reserving {
            core: Arc::clone(self),
            state: Arc::clone(&state),
        };
        let batcher = &state.reserve;
        batcher
            .submit(
                requests.to_vec(),
                now + self.budget,
                &self.reserve_limiter,
                sender,
            )
            .await
    }
}

/// Sends the requests of a sale.
struct Reserving {
    core: Arc<Core>,
    state: Arc<SaleState>,
}

impl BatchSender for Reserving {
    type Item = ReserveRequest;
    type Outcome = ReserveOutcome;

    fn batcher(&self) -> &Batcher<ReserveRequest, ReserveOutcome> {
        &self.state.reserve
    }

    fn limiter(&self) -> &Limiter {
        &self.core.reserve_limiter
    }

    fn response_timeout(&self) -> Duration {
        self.core.response_timeout
    }

    async fn send(
        &self,
        requests: &[ReserveRequest],
        attempt: SendAttempt,
    ) -> Result<Vec<ReserveOutcome>, Fault> {
        let sold_out = &self.state.sold_out;
        let (asked_at, returns) = (Instant::now(), sold_out.returns());
        let request = self.request(requests);
        let topology = &self.core.topology;
        let answer = topology
            .call(&request, attempt.if_down, attempt.deadline)
            .await?;
        let Some(answer) = Answer::read(answer)? else {
            sold_out.clear();
            return Ok(vec![ReserveOutcome::NotLoaded; requests.len()]);
        };
        let Answer::Judged(judged) = answer else {
            sold_out.clear();
            return Ok(vec![ReserveOutcome::Recovering; requests.len()]);
        };
        if judged.is_selling() != Some(false) {
            self.state.seen.note(judged.seq);
        }
        let shown = Shown {
            version: judged.holders_version,
            available: judged.available,
            selling: judged.is_selling(),
            at: judged.at,
            ends_at: judged.ends_at,
            asked_at,
            returns,
        };
        if sold_out.note(shown) {
            let (core, state) = (Arc::clone(&self.core), Arc::clone(&self.state));
            tokio::spawn(async move { core.learn_holders(&state).await });
        }
        self.outcomes(requests, judged, attempt.is_retry)
    }
}

impl Reserving {
    fn request(&self, requests: &[ReserveRequest]) -> Request {
        let SaleState {
            sale, keys, seen, ..
        } = &*self.state;
        let keys_in_order = [keys.stock.as_str(), &keys.sale, &keys.users, &keys.outbox];
        let size = 4 + 3 * requests.len();
        let mut request = Request::script(keys.slot, &scripts::RESERVE, &keys_in_order, size);
        let command = &mut request.command;
        command
            .arg(sale.id.get())
            .arg(sale.epoch.get())
            .arg(seen.seq())
            .arg(self.core.now());
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        for wanted in requests {
            let attempt = wanted.attempt.as_uuid();
            command
                .arg(wanted.user.as_str())
                .arg(&*attempt.hyphenated().encode_lower(&mut text))
                .arg(wanted.quantity.units());
        }
        request
    }

    /// One outcome per request. `again`: an earlier attempt may have reserved some of them, and what
    /// it has reserved is reserved and not held by somebody else.
    fn outcomes(
        &self,
        requests: &[ReserveRequest],
        judged: Judged,
        again: bool,
    ) -> Result<Vec<ReserveOutcome>, Fault> {
        let Judged {
            letters,
            seq,
            at,
            starts_at,
            allocations,
            ..
        } = judged;
        if letters.len() != requests.len() {
            return Err(Fault::damaged(
                "reserve has answered for another number of requests",
            ));
        }
        let sale = &self.state.sale;
        let reserved = letters.bytes().filter(|letter| *letter == b'R').count() as u64;
        let mut next_seq = seq + 1 - reserved.min(seq + 1);
        let mut allocations = allocations.iter();
        let mut told: HashSet<AttemptId> = HashSet::new();
        let outcomes = letters.bytes().zip(requests).map(|(letter, wanted)| {
            Ok(match letter {
                b'R' => {
                    next_seq += 1;
                    if again {
                        told.insert(wanted.attempt);
                    }
                    ReserveOutcome::Reserved(Attempt {
                        id: wanted.attempt,
                        sale: sale.id,
                        product: sale.product,
                        user: wanted.user.clone(),
                        quantity: wanted.quantity,
                        epoch: sale.epoch,
                        seq: next_seq - 1,
                        reserved_at: at,
                    })
                }
                b'H' => {
                    let allocation = allocations
                        .next()
                        .ok_or_else(|| Fault::damaged("an allocation is missing"))?;
                    let allocation = codec::allocation(codec::text(allocation)?)?;
                    let own = again
                        && allocation.attempt == wanted.attempt
                        && matches!(allocation.state, AllocationState::Reserved { .. })
                        && told.insert(wanted.attempt);
                    if own {
                        let user = wanted.user.clone();
                        ReserveOutcome::Reserved(allocation.to_attempt(sale.id, sale.product, user))
                    } else {
                        ReserveOutcome::AlreadyAllocated(allocation)
                    }
                }
                b'S' => ReserveOutcome::SoldOut,
                b'E' => ReserveOutcome::NotStarted { starts_at },
                b'D' => ReserveOutcome::Ended,
                b'P' => ReserveOutcome::Paused,
                b'F' => ReserveOutcome::Recovering,
                _ => {
                    return Err(Fault::damaged(
                        "reserve has answered with an unknown letter",
                    ));
                }
            })
        });
        outcomes.collect()
    }
}

/// What `reserve` answers for a sale that is loaded.
enum Answer {
    /// Its stock is of another epoch than the caller's.
    OtherEpoch,
    Judged(Judged),
}

struct Judged {
    /// One per request.
    letters: String,
    seq: u64,
    holders_version: u64,
    available: u64,
    at: Timestamp,
    starts_at: Timestamp,
    ends_at: Timestamp,
    allocations: Vec<Value>,
}

impl Judged {
    /// Whether the sale sells to whom it has units for; nothing if only holders have asked, who are
    /// told what they hold in any case.
    fn is_selling(&self) -> Option<bool> {
        let mut others = self.letters.bytes().filter(|letter| *letter != b'H');
        others.next().map(|letter| b"RS".contains(&letter))
    }
}

impl Answer {
    fn read(answer: Value) -> Read<Option<Self>> {
        let mut fields = codec::list(answer)?;
        match codec::text(fields.first().unwrap_or(&Value::Nil))? {
            "NOT_LOADED" => return Ok(None),
            "OTHER_EPOCH" => return Ok(Some(Self::OtherEpoch)),
            _ => {}
        }
        let allocations = fields.split_off(fields.len().min(8));
        let [
            _,
            letters,
            seq,
            holders_version,
            available,
            at,
            starts_at,
            ends_at,
        ] = &fields[..]
        else {
            return Err(Fault::damaged("the answer of reserve is too short"));
        };
        let number =
            |value| codec::count(value).ok_or_else(|| Fault::damaged("a counter is no number"));
        Ok(Some(Self::Judged(Judged {
            letters: codec::text(letters)?.to_owned(),
            seq: number(seq)?,
            holders_version: number(holders_version)?,
            available: number(available)?,
            at: codec::moment(at)?,
            starts_at: codec::moment(starts_at)?,
            ends_at: codec::moment(ends_at)?,
            allocations,
        })))
    }
}

/// How often the holders are read again because somebody reserved or released meanwhile.
const READS_MAX: usize = 3;
/// How many holders one call reads, about.
const SCAN: usize = 1_000;

impl Core {
    /// Reads who holds units of a sale that has none left.
    async fn learn_holders(&self, state: &SaleState) {
        let mut learned = None;
        for _ in 0..READS_MAX {
            match self.read_holders(state).await {
                Ok(Some(holders)) => {
                    learned = Some(holders);
                    break;
                }
                Ok(None) => {}
                Err(fault) => {
                    tracing::debug!(?fault, "the holders of a sold-out sale are not known");
                    break;
                }
            }
        }
        state.sold_out.learn(learned);
    }

    /// The version and the hashes of the holders; nothing if that moved meanwhile.
    async fn read_holders(&self, state: &SaleState) -> Result<Option<(u64, Vec<u64>)>, Fault> {
        let SaleState { sale, keys, .. } = state;
        let Some(before) = self.holders_version(sale).await? else {
            return Ok(None);
        };
        let mut hashes = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(&keys.users).arg(&cursor).arg("COUNT").arg(SCAN);
            let request = Request::command(keys.slot, scan);
            let deadline = self.work_deadline();
            let answer = self.topology.call(&request, IfDown::Fail, deadline).await?;
            let page = codec::list(answer)?;
            let [next, Value::Array(pairs)] = &page[..] else {
                return Err(Fault::damaged("the answer of HSCAN is not readable"));
            };
            for user in pairs.iter().step_by(2) {
                hashes.push(state.sold_out.hash_text(codec::text(user)?));
            }
            if hashes.len() > HOLDERS_MAX {
                return Ok(None);
            }
            cursor = codec::text(next)?.to_owned();
            if cursor == "0" {
                break;
            }
        }
        let same = self.holders_version(sale).await? == Some(before);
        Ok(same.then_some((before, hashes)))
    }
}
