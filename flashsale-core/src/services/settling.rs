use crate::domain::{Attempt, Decision, SaleRef, SaleResult, SettleOutcome, Settlement};
use crate::error::PortError;
use crate::ports::{Metric, Recorder, StockStore};

/// Mirrors decisions into the stock store and keeps their results for the buyers.
pub(super) async fn settle(
    stock: &dyn StockStore,
    recorder: &dyn Recorder,
    sale: &SaleRef,
    attempts: &[Attempt],
    decisions: &[Decision],
) -> Result<(), PortError> {
    let decided = || attempts.iter().zip(decisions);
    let settlements: Vec<_> = decided()
        .map(|(attempt, decision)| Settlement {
            user: attempt.user.clone(),
            attempt: attempt.id,
            quantity: attempt.quantity,
            reserved_at: attempt.reserved_at,
            decision: *decision,
        })
        .collect();
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

    let won = decisions
        .iter()
        .filter(|d| matches!(d, Decision::Success(_)));
    let won = won.count() as u64;
    recorder.count(Metric::Ordered, won);
    recorder.count(Metric::Failed, decisions.len() as u64 - won);

    // Results first: what is settled is never looked at again, so nobody would repeat them.
    stock.put_results(&results).await?;
    let outcomes = stock.settle(sale, &settlements).await?;
    let count = |wanted| outcomes.iter().filter(|o| **o == wanted).count() as u64;
    recorder.count(Metric::Healed, count(SettleOutcome::Healed));
    recorder.count(Metric::Drifted, count(SettleOutcome::Drift));
    Ok(())
}
