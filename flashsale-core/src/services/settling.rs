use crate::domain::{Attempt, Decision, SaleRef, SaleResult, SettleOutcome, Settlement};
use crate::error::PortError;
use crate::ports::{Metric, Recorder, StockStore};

use super::join::join;

/// Mirrors decisions into the stock store and keeps their results for the buyers.
pub(super) async fn settle(
    stock: &dyn StockStore,
    recorder: &dyn Recorder,
    sale: &SaleRef,
    attempts: &[Attempt],
    decisions: &[Decision],
) -> Result<(), PortError> {
    let decided = || attempts.iter().zip(decisions);
    let settlements = decided().map(|(attempt, decision)| Settlement {
        user: attempt.user.clone(),
        attempt: attempt.id,
        quantity: attempt.quantity,
        reserved_at: attempt.reserved_at,
        decision: *decision,
    });
    let (bought, failed): (Vec<_>, Vec<_>) =
        settlements.partition(|settlement| matches!(settlement.decision, Decision::Success(_)));
    let results: Vec<_> = decided()
        .map(|(attempt, decision)| SaleResult {
            user: attempt.user.clone(),
            product: attempt.product,
            sale: attempt.sale,
            attempt: attempt.id,
            decision: *decision,
            reserved_at: attempt.reserved_at,
        })
        .collect();

    // A buyer keeps an allocation that tells of the success. What failed and is settled leaves no trace,
    // so its result comes first: nobody would repeat it.
    let settling = async {
        match &bought[..] {
            [] => Ok(Vec::new()),
            bought => stock.settle(sale, bought).await,
        }
    };
    let (put, settled) = join(stock.put_results(&results), settling).await;
    put?;
    let mut outcomes = settled?;
    if !failed.is_empty() {
        outcomes.extend(stock.settle(sale, &failed).await?);
    }
    // Counted when it is done, for it is repeated otherwise.
    recorder.count(Metric::Ordered, bought.len() as u64);
    recorder.count(Metric::Failed, failed.len() as u64);
    let count = |wanted| outcomes.iter().filter(|o| **o == wanted).count() as u64;
    recorder.count(Metric::Healed, count(SettleOutcome::Healed));
    recorder.count(Metric::Drifted, count(SettleOutcome::Drift));
    Ok(())
}
