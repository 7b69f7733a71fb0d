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
use crate::error::Fault;
use crate::limiter::Limiter;
use crate::request::Request;
use crate::sale_state::SaleState;
use crate::scripts;

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
        if sold_out.note(judged.holders_version, judged.is_empty()) {
            let (core, state) = (Arc::clone(&self.core), Arc::clone(&self.state));
            tokio::spawn(async move { core.watch_sold_out(&state).await });
        }
        self.outcomes(requests, judged, attempt.is_retry)
    }
}

impl Reserving {
    fn request(&self, requests: &[ReserveRequest]) -> Request {
        let mut request = self.core.reserve_call(&self.state, requests.len());
        let command = &mut request.command;
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

impl Core {
    /// A call of `reserve` to which the requests are to be added.
    pub(super) fn reserve_call(&self, state: &SaleState, requests: usize) -> Request {
        let SaleState {
            sale, keys, seen, ..
        } = state;
        let keys_in_order = [keys.stock.as_str(), &keys.sale, &keys.users, &keys.outbox];
        let size = 4 + 3 * requests;
        let mut request = Request::script(keys.slot, &scripts::RESERVE, &keys_in_order, size);
        let command = request.command.arg(sale.id.get()).arg(sale.epoch.get());
        command.arg(seen.seq()).arg(self.now());
        request
    }
}

/// What `reserve` answers for a sale that is loaded.
pub(super) enum Answer {
    /// Its stock is of another epoch than the caller's.
    OtherEpoch,
    Judged(Judged),
}

pub(super) struct Judged {
    /// One per request.
    letters: String,
    seq: u64,
    pub(super) holders_version: u64,
    available: u64,
    pub(super) at: Timestamp,
    starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
    allocations: Vec<Value>,
}

impl Judged {
    /// Whether the sale sells to whom it has units for; nothing if only holders have asked, who are
    /// told what they hold in any case.
    fn is_selling(&self) -> Option<bool> {
        let mut others = self.letters.bytes().filter(|letter| *letter != b'H');
        others.next().map(|letter| b"RS".contains(&letter))
    }

    /// Whether it would sell and has no unit for anybody; nothing if the answer does not show it.
    pub(super) fn is_empty(&self) -> Option<bool> {
        match self.available {
            0 => self.is_selling(),
            _ => Some(false),
        }
    }
}

impl Answer {
    pub(super) fn read(answer: Value) -> Read<Option<Self>> {
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
