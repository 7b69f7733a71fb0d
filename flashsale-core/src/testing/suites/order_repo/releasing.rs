use super::bench::Bench;
use crate::domain::{Decision, FailReason, Kept, Quantity};
use crate::testing::report::{Checked, Ran, ensure_eq, ensure_matches};
use crate::testing::samples::{self, user};
use crate::testing::suites::{create_sale, ensure_invalid};
use crate::testing::{Fixture, OrderRepoRig};

type Rigs<'a> = &'a dyn Fixture<OrderRepoRig>;

pub(super) async fn an_undecided_attempt_is_failed_for_the_reason(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let first = bench.attempt(100);
    let kept = Kept {
        order: bench.order(&first).await?,
        attempt: first.id,
        quantity: Quantity::ONE,
    };
    let reasons = [
        FailReason::NoStock,
        FailReason::Duplicate(kept),
        FailReason::StaleEpoch,
        FailReason::Cancelled,
        FailReason::Expired,
    ];
    for (number, reason) in (1..).zip(reasons) {
        let attempt = bench.attempt(number);
        let failed = Decision::Failed(reason);
        let decisions = bench
            .release(std::slice::from_ref(&attempt), reason)
            .await?;
        ensure_eq!(reason.name(), decisions, vec![failed]);
        let found = bench.found(&attempt).await?.map(|order| order.decision);
        ensure_eq!("what is kept", found, Some(failed));
    }
    bench.ensure_totals((5, 4, 1), (1, 5)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_decided_attempt_keeps_its_decision(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let (won, released, fresh) = (bench.attempt(1), bench.attempt(2), bench.attempt(3));
    let order = bench.order(&won).await?;
    bench
        .release(std::slice::from_ref(&released), FailReason::Cancelled)
        .await?;
    let batch = [won, released, fresh.clone(), fresh];
    let decisions = bench.release(&batch, FailReason::Expired).await?;
    let cancelled = Decision::Failed(FailReason::Cancelled);
    let expired = Decision::Failed(FailReason::Expired);
    let kept = vec![Decision::Success(order), cancelled, expired, expired];
    ensure_eq!("the decisions", decisions, kept);
    bench.ensure_totals((5, 4, 1), (1, 2)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_released_attempt_never_becomes_an_order(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let attempt = bench.attempt(1);
    bench
        .release(std::slice::from_ref(&attempt), FailReason::Expired)
        .await?;
    let decisions = bench.commit(&[attempt]).await?;
    ensure_eq!(
        "a late commit",
        decisions,
        vec![Decision::Failed(FailReason::Expired)]
    );
    bench.ensure_totals((5, 5, 0), (0, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_released_user_may_buy_with_another_attempt(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    bench
        .release(&[bench.attempt(1)], FailReason::Cancelled)
        .await?;
    let decisions = bench.commit(&[bench.attempt(1)]).await?;
    ensure_matches!(
        "another attempt",
        decisions.as_slice(),
        [Decision::Success(_)]
    );
    bench.ensure_totals((1, 0, 1), (1, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_release_of_another_sale_is_invalid(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let other = create_sale(&*bench.rig.sales, 5).await?.key();
    let ours = bench.attempt(1);
    let batch = [ours.clone(), samples::attempt(&other, user(2), 1)];
    let released = bench
        .orders
        .release(&bench.sale, &batch, FailReason::Expired);
    ensure_invalid("a mixed batch", released.await)?;
    ensure_eq!("our attempt", bench.found(&ours).await?, None);
    let unknown = samples::fresh_sale();
    let attempt = [samples::attempt(&unknown, user(1), 1)];
    let released = bench
        .orders
        .release(&unknown, &attempt, FailReason::Expired);
    ensure_invalid("an unknown sale", released.await)?;
    Ok(Ran::Yes)
}
