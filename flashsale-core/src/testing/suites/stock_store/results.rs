use super::bench::{Bench, order};
use crate::domain::{Decision, FailReason, SaleId, SaleResult, UserId};
use crate::ports::{BATCH_MAX, StockStoreExt};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq};
use crate::testing::samples::{START, fresh_attempt_id, fresh_sale, user};
use crate::testing::suites::ensure_invalid;
use crate::testing::{Fixture, StockStoreRig, Violation};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

const FAILED: Decision = Decision::Failed(FailReason::Cancelled);

fn success() -> Decision {
    Decision::Success(order(5))
}

/// The result of a user in the sale of the same product that comes so much `later` than the
/// bench's; its id is smaller.
fn result(bench: &Bench<'_>, number: u64, later: i64, decision: Decision) -> SaleResult {
    SaleResult {
        user: user(number),
        product: bench.sale.product,
        sale: SaleId::new(bench.sale.id.get() + 10 - later).expect("positive"),
        attempt: fresh_attempt_id(),
        decision,
        reserved_at: START.plus_ms(later),
    }
}

/// Puts results one after the other and checks which of them is kept.
async fn ensure_kept(
    bench: &Bench<'_>,
    number: u64,
    results: &[(i64, Decision)],
    kept: usize,
) -> Result<(), Violation> {
    let results: Vec<_> = results
        .iter()
        .map(|(later, decision)| result(bench, number, *later, *decision))
        .collect();
    for result in &results {
        bench
            .store
            .put_results(std::slice::from_ref(result))
            .await?;
    }
    let found = bench
        .store
        .result(bench.sale.product, &user(number))
        .await?;
    ensure_eq!("the result", found.as_ref(), Some(&results[kept]));
    Ok(())
}

pub(super) async fn a_result_is_kept_for_its_buyer(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    ensure_kept(&bench, 1, &[(0, success())], 0).await?;
    ensure_kept(&bench, 2, &[(0, FAILED)], 0).await?;
    let stranger = bench.store.result(bench.sale.product, &user(3)).await?;
    ensure_eq!("a user without result", stranger, None);
    let elsewhere = bench.store.result(fresh_sale().product, &user(1)).await?;
    ensure_eq!("another product", elsewhere, None);
    Ok(Ran::Yes)
}

pub(super) async fn a_failure_never_replaces_the_success_of_the_same_sale(
    rigs: Rigs<'_>,
) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    ensure_kept(&bench, 1, &[(0, success()), (0, FAILED)], 0).await?;
    let (won, lost) = (
        result(&bench, 2, 0, success()),
        result(&bench, 2, 0, FAILED),
    );
    bench.store.put_results(&[won.clone(), lost]).await?;
    let found = bench.store.result(bench.sale.product, &user(2)).await?;
    ensure_eq!("both in one batch", found, Some(won));
    Ok(Ran::Yes)
}

pub(super) async fn a_success_replaces_a_failure_of_the_same_sale(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    ensure_kept(&bench, 1, &[(0, FAILED), (0, success())], 1).await?;
    ensure_kept(&bench, 2, &[(0, FAILED), (0, FAILED)], 1).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_later_sale_replaces_an_earlier_one_never_the_other_way(
    rigs: Rigs<'_>,
) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    ensure_kept(&bench, 1, &[(0, success()), (1, FAILED)], 1).await?;
    ensure_kept(&bench, 2, &[(1, FAILED), (0, success())], 0).await?;
    ensure_kept(&bench, 3, &[(0, FAILED), (1, success())], 1).await?;
    ensure_kept(&bench, 4, &[(1, success()), (0, FAILED)], 0).await?;
    Ok(Ran::Yes)
}

pub(super) async fn results_come_in_the_order_of_the_users(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let (one, two) = (
        result(&bench, 1, 0, success()),
        result(&bench, 2, 0, FAILED),
    );
    bench.store.put_results(&[one.clone(), two.clone()]).await?;
    let users = [user(2), user(3), user(1), user(2)];
    let results = bench.store.results(bench.sale.product, &users).await?;
    ensure_eq!(
        "the results",
        results,
        vec![Some(two.clone()), None, Some(one), Some(two)]
    );
    Ok(Ran::Yes)
}

pub(super) async fn a_batch_of_results_has_a_limit(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let results: Vec<_> = (0..=BATCH_MAX as u64)
        .map(|number| result(&bench, number, 0, FAILED))
        .collect();
    let users: Vec<UserId> = results.iter().map(|result| result.user.clone()).collect();
    let product = bench.sale.product;
    ensure_invalid("put_results", bench.store.put_results(&results).await)?;
    ensure_invalid("results", bench.store.results(product, &users).await)?;
    let found = bench.store.results(product, &users[..BATCH_MAX]).await?;
    ensure!(
        found.iter().all(Option::is_none),
        "nothing of the batch may be kept"
    );
    bench.store.put_results(&results[..BATCH_MAX]).await?;
    let found = bench.store.results(product, &users[..BATCH_MAX]).await?;
    ensure!(
        found.iter().all(Option::is_some),
        "all of the batch must be kept"
    );
    Ok(Ran::Yes)
}
