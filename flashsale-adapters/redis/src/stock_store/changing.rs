use flashsale_core::domain::{ApplyOutcome, Levels, SaleChange, SaleRef, StockEvent};

use redis::Value;

use super::{Core, check_exact};
use crate::error::Fault;
use crate::link::Request;
use crate::notation;
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
        let mut request = Request::script(keys.slot, &scripts::APPLY, &keys_in_order, 4);
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
        let answer = self.work(&request, self.work_deadline()).await;
        self.sales.changed(sale.product);
        let answer = notation::texts(answer?)?;
        let answer: Vec<_> = answer.iter().map(String::as_str).collect();
        let outcome = match answer[..] {
            ["APPLIED"] => Some(ApplyOutcome::Applied),
            ["STALE"] => Some(ApplyOutcome::Stale),
            ["NOT_LOADED"] => Some(ApplyOutcome::NotLoaded),
            ["GAP", expected] => {
                notation::parse(expected).map(|expected| ApplyOutcome::Gap { expected })
            }
            ["TOO_FEW", available] => {
                notation::parse(available).map(|available| ApplyOutcome::TooFew { available })
            }
            _ => None,
        };
        outcome.ok_or_else(|| Fault::damaged(format!("apply has answered {answer:?}")))
    }

    pub(super) async fn fence(&self, sale: &SaleRef) -> Result<Option<Levels>, Fault> {
        let mut request = self.about(sale, &scripts::FENCE);
        request.command.arg(sale.epoch.get());
        let answer = self.work(&request, self.work_deadline()).await;
        self.sales.changed(sale.product);
        notation::levels(answer?)
    }

    pub(super) async fn levels(&self, sale: &SaleRef) -> Result<Option<Levels>, Fault> {
        let request = self.about(sale, &scripts::LEVELS);
        notation::levels(self.work(&request, self.work_deadline()).await?)
    }

    /// A number that changes whenever somebody comes to hold units of the sale, or does no more;
    /// nothing if the sale has units, is of another epoch, or is not loaded.
    pub(super) async fn holders_version(&self, sale: &SaleRef) -> Result<Option<u64>, Fault> {
        let request = self.about(sale, &scripts::LEVELS);
        let answer = self.work(&request, self.work_deadline()).await?;
        let version = match &answer {
            Value::Array(fields) => fields.get(9).and_then(notation::count),
            _ => None,
        };
        let levels = notation::levels(answer)?;
        let empty =
            levels.is_some_and(|levels| (levels.epoch, levels.available) == (sale.epoch, 0));
        Ok(version.filter(|_| empty))
    }

    /// A call of a script that takes all keys of the product and the sale.
    fn about(&self, sale: &SaleRef, script: &'static Script) -> Request {
        let state = self.sale(sale);
        let keys = &state.keys;
        let keys_in_order = [
            keys.stock.as_str(),
            &keys.sale,
            &keys.users,
            &keys.outbox,
            &keys.undecided,
        ];
        let mut request = Request::script(keys.slot, script, &keys_in_order, 2);
        request.command.arg(sale.id.get());
        request
    }
}
