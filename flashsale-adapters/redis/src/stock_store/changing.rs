use flashsale_core::domain::{ApplyOutcome, Levels, Phase, SaleChange, SaleRef, StockEvent};

use redis::Value;

use super::{Core, check_exact};
use crate::codec;
use crate::error::Fault;
use crate::request::Request;
use crate::sale_state::SaleState;
use crate::scripts::{self, Script};

impl Core {
    pub(super) async fn apply(
        &self,
        sale: &SaleRef,
        event: &StockEvent,
    ) -> Result<ApplyOutcome, Fault> {
        check_exact(event.version, "a version is at most 2^52")?;
        let state = self.sale(sale);
        let keys = &state.keys;
        let keys_in_order = [keys.stock.as_str(), &keys.sale];
        let mut request = Request::script(keys.slot, &scripts::APPLY, &keys_in_order, 6);
        let (letter, number) = match event.change {
            SaleChange::Pause => ("P", 0),
            SaleChange::Resume => ("O", 0),
            SaleChange::Close => ("X", 0),
            SaleChange::Restock(units) => ("+", units.cast_signed()),
            SaleChange::Withdraw(units) => ("-", units.cast_signed()),
            SaleChange::Extend(end) => ("E", end.as_millis()),
        };
        check_exact(number.unsigned_abs(), "a stock has at most 2^52 units")?;
        let command = request.command.arg(sale.id.get());
        command.arg(event.version).arg(letter).arg(number);
        command.arg(sale.epoch.get()).arg(state.seen.seq());
        let answer = self.work(&request, self.work_deadline()).await;
        self.sales.changed(sale.product);
        let answer = codec::texts(answer?)?;
        let answer: Vec<_> = answer.iter().map(String::as_str).collect();
        let outcome = match answer[..] {
            ["APPLIED"] => Some(ApplyOutcome::Applied),
            ["STALE"] => Some(ApplyOutcome::Stale),
            ["NOT_LOADED"] => Some(ApplyOutcome::NotLoaded),
            ["GAP", expected] => {
                codec::parse(expected).map(|expected| ApplyOutcome::Gap { expected })
            }
            ["TOO_FEW", available] => {
                codec::parse(available).map(|available| ApplyOutcome::TooFew { available })
            }
            _ => None,
        };
        outcome.ok_or_else(|| Fault::damaged(format!("apply has answered {answer:?}")))
    }

    pub(super) async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, Fault> {
        let state = self.sale(sale);
        let mut request = about(&state, &scripts::FENCE);
        let command = request.command.arg(sale.epoch.get());
        command.arg(state.seen.seq());
        let answer = self.work(&request, self.work_deadline()).await;
        self.sales.changed(sale.product);
        codec::levels(answer?)
    }

    pub(super) async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, Fault> {
        let state = self.sale(sale);
        let seen = state.seen.seq();
        let request = about(&state, &scripts::LEVELS);
        let levels = codec::levels(self.work(&request, self.work_deadline()).await?)?;
        match levels {
            Some(levels) if levels.epoch == sale.epoch => {
                Ok(Some(self.judge(&state, seen, levels).await))
            }
            other => Ok(other),
        }
    }

    /// The levels as they are to be told, after `seen` was seen: those of a stock that has gone back
    /// in time are worth nothing.
    async fn judge(&self, state: &SaleState, seen: u64, levels: Levels) -> Levels {
        let rebuilt = levels.phase == Phase::Recovering;
        if levels.seq >= seen {
            if !rebuilt {
                state.seen.note(levels.seq);
            }
            return levels;
        }
        if !rebuilt {
            let (id, seq) = (state.sale.id, levels.seq);
            tracing::warn!(sale.id = %id, seq, seen, "Redis has lost a part of this sale's stock");
            // A script of its own, so that levels can be read from a server that takes no writes.
            if let Err(fault) = self.fence(&state.sale).await {
                tracing::debug!(
                    ?fault,
                    "a stock that has gone back in time is not fenced yet"
                );
            }
        }
        Levels {
            phase: Phase::Recovering,
            ..levels
        }
    }

    /// A number that changes whenever somebody comes to hold units of the sale, or does no more;
    /// nothing if the sale has units, is of another epoch, or is not loaded.
    pub(super) async fn holders_version(&self, sale: &SaleRef) -> Result<Option<u64>, Fault> {
        let request = about(&self.sale(sale), &scripts::LEVELS);
        let answer = self.work(&request, self.work_deadline()).await?;
        let version = match &answer {
            Value::Array(fields) => fields.get(9).and_then(codec::count),
            _ => None,
        };
        let levels = codec::levels(answer)?;
        let empty =
            levels.is_some_and(|levels| (levels.epoch, levels.available) == (sale.epoch, 0));
        Ok(version.filter(|_| empty))
    }
}

/// A call of a script that takes all keys of the product and the sale.
fn about(state: &SaleState, script: &'static Script) -> Request {
    let SaleState { sale, keys, .. } = state;
    let keys_in_order = [keys.stock.as_str(), &keys.sale, &keys.users, &keys.outbox];
    let mut request = Request::script(keys.slot, script, &keys_in_order, 3);
    request.command.arg(sale.id.get());
    request
}
