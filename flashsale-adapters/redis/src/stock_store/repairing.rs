use flashsale_core::domain::{Attempt, SaleRef};
use flashsale_core::ports::BATCH_MAX;

use super::Core;
use crate::codec;
use crate::error::Fault;
use crate::request::Request;
use crate::scripts;

/// Which undecided attempts are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    All,
    /// Those that the queue does not have.
    Unpublished,
}

impl Core {
    /// The oldest attempts that took their units at least `min_age_ms` ago and are not decided.
    pub(super) async fn undecided(
        &self,
        sale: &SaleRef,
        wanted: Wanted,
        min_age_ms: u64,
        max: usize,
    ) -> Result<Vec<Attempt>, Fault> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let state = self.sale(sale);
        let keys = &state.keys;
        let keys_in_order = [keys.sale.as_str(), &keys.users, &keys.outbox];
        let mut request = Request::script(keys.slot, &scripts::UNDECIDED, &keys_in_order, 5);
        let command = request.command.arg(sale.id.get());
        command.arg(self.now()).arg(min_age_ms);
        command.arg(max.min(BATCH_MAX)).arg(match wanted {
            Wanted::All => "all",
            Wanted::Unpublished => "unpublished",
        });
        let answer = self.work(&request, self.work_deadline()).await?;
        codec::attempts(sale, answer)
    }
}
