use flashsale_core::Effect;
use flashsale_core::domain::{SaleRef, SettleOutcome, Settlement};
use redis::Value;
use tokio::time::Instant;

use super::Core;
use crate::codec;
use crate::error::Fault;
use crate::request::Request;
use crate::sale_state::SaleState;
use crate::scripts;

/// How many settlements one script call carries, so that buyers do not wait for it.
const CHUNK: usize = 128;

impl Core {
    pub(super) async fn settle(
        &self,
        sale: &SaleRef,
        settlements: &[Settlement],
    ) -> Result<Vec<SettleOutcome>, Fault> {
        let deadline = self.work_deadline();
        let state = self.sale(sale);
        let mut outcomes = Vec::with_capacity(settlements.len());
        let mut failed = None;
        for chunk in settlements.chunks(CHUNK) {
            match self.settle_chunk(&state, chunk, deadline).await {
                Ok(settled) => outcomes.extend(settled),
                Err(fault) => {
                    // What was settled before stands.
                    let partly = !outcomes.is_empty();
                    failed = Some(if partly { fault.unknown() } else { fault });
                    break;
                }
            }
        }
        let unknown = failed
            .as_ref()
            .is_some_and(|fault| fault.effect == Effect::Unknown);
        if unknown || outcomes.iter().any(|outcome| frees(*outcome)) {
            self.sales.changed(sale.product);
        }
        failed.map_or(Ok(outcomes), Err)
    }

    async fn settle_chunk(
        &self,
        state: &SaleState,
        settlements: &[Settlement],
        deadline: Instant,
    ) -> Result<Vec<SettleOutcome>, Fault> {
        let SaleState {
            sale, keys, seen, ..
        } = state;
        let keys_in_order = [keys.stock.as_str(), &keys.sale, &keys.users, &keys.outbox];
        let size = 3 + 6 * settlements.len();
        let mut request = Request::script(keys.slot, &scripts::SETTLE, &keys_in_order, size);
        let command = request.command.arg(sale.id.get());
        command.arg(sale.epoch.get()).arg(seen.seq());
        for settlement in settlements {
            let (letter, reference) = codec::decision(&settlement.decision);
            request
                .command
                .arg(settlement.user.as_str())
                .arg(settlement.attempt.to_string())
                .arg(settlement.quantity.units())
                .arg(settlement.reserved_at.as_millis())
                .arg(letter)
                .arg(reference);
        }
        let answer = codec::list(self.work(&request, deadline).await?)?;
        let [_, letters] = &answer[..] else {
            // The sale is not loaded.
            return Ok(vec![SettleOutcome::Unchanged; settlements.len()]);
        };
        outcomes(letters, settlements.len())
    }
}

/// Whether units may be to be had after it that were not, or the sale has stopped.
fn frees(outcome: SettleOutcome) -> bool {
    match outcome {
        SettleOutcome::Released
        | SettleOutcome::Merged
        | SettleOutcome::Adopted
        | SettleOutcome::Drift => true,
        SettleOutcome::Confirmed
        | SettleOutcome::Voided
        | SettleOutcome::Healed
        | SettleOutcome::Unchanged => false,
    }
}

fn outcomes(letters: &Value, expected: usize) -> Result<Vec<SettleOutcome>, Fault> {
    let outcome = |letter| {
        Ok(match letter {
            b'C' => SettleOutcome::Confirmed,
            b'R' => SettleOutcome::Released,
            b'V' => SettleOutcome::Voided,
            b'M' => SettleOutcome::Merged,
            b'A' => SettleOutcome::Adopted,
            b'H' => SettleOutcome::Healed,
            b'X' => SettleOutcome::Drift,
            b'U' => SettleOutcome::Unchanged,
            _ => return Err(Fault::damaged("settle has answered with an unknown letter")),
        })
    };
    let outcomes: Vec<_> = codec::text(letters)?
        .bytes()
        .map(outcome)
        .collect::<Result<_, _>>()?;
    if outcomes.len() != expected {
        return Err(Fault::damaged(
            "settle has answered for another number of settlements",
        ));
    }
    Ok(outcomes)
}
