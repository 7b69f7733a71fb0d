use flashsale_core::domain::{Attempt, SaleRef, Timestamp};
use flashsale_core::ports::BATCH_MAX;

use super::Core;
use crate::error::Fault;
use crate::link::Request;
use crate::notation;
use crate::scripts;

impl Core {
    pub(super) async fn unlogged(
        &self,
        sale: &SaleRef,
        before: Timestamp,
        max: usize,
    ) -> Result<Vec<Attempt>, Fault> {
        let state = self.sale(sale);
        let keys = [state.keys.sale.as_str(), &state.keys.outbox];
        let request = Request::script(state.keys.slot, &scripts::UNLOGGED, &keys, 3);
        match self.oldest(sale, request, before, max).await? {
            Some(answer) => notation::unlogged(sale, answer),
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn overdue(
        &self,
        sale: &SaleRef,
        before: Timestamp,
        max: usize,
    ) -> Result<Vec<Attempt>, Fault> {
        let state = self.sale(sale);
        let keys = &state.keys;
        let keys_in_order = [keys.sale.as_str(), &keys.users, &keys.undecided];
        let request = Request::script(keys.slot, &scripts::OVERDUE, &keys_in_order, 3);
        match self.oldest(sale, request, before, max).await? {
            Some(answer) => notation::overdue(sale, answer),
            None => Ok(Vec::new()),
        }
    }

    /// The answer to a call for the `max` oldest; nothing if none are wanted.
    async fn oldest(
        &self,
        sale: &SaleRef,
        mut request: Request,
        before: Timestamp,
        max: usize,
    ) -> Result<Option<redis::Value>, Fault> {
        if max == 0 {
            return Ok(None);
        }
        let command = request.command.arg(sale.id.get());
        command.arg(before.as_millis()).arg(max.min(BATCH_MAX));
        Ok(Some(self.work(&request, self.work_deadline()).await?))
    }
}
