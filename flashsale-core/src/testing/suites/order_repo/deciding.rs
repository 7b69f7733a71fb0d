use super::bench::Bench;
use crate::domain::{Attempt, Decision, Epoch, FailReason, Kept, Quantity, SaleChange};
use crate::ports::BATCH_MAX;
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, ensure_matches};
use crate::testing::samples::{self, units, user};
use crate::testing::suites::{create_sale, ensure_invalid};
use crate::testing::{Fixture, OrderRepoRig};

type Rigs<'a> = &'a dyn Fixture<OrderRepoRig>;

const NO_STOCK: Decision = Decision::Failed(FailReason::NoStock);
const STALE: Decision = Decision::Failed(FailReason::StaleEpoch);

pub(super) async fn an_attempt_with_stock_becomes_an_order(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let attempt = Attempt {
        quantity: units(2),
        ..bench.attempt(1)
    };
    let id = bench.order(&attempt).await?;
    let Some(order) = bench.found(&attempt).await? else {
        ensure!(false, "the order must be found by its attempt");
        return Ok(Ran::Yes);
    };
    ensure_eq!("the id", order.id, id);
    ensure_eq!("the attempt", order.attempt, attempt.id);
    ensure_eq!("the sale", order.sale, attempt.sale);
    ensure_eq!("the product", order.product, attempt.product);
    ensure_eq!("the user", order.user, attempt.user);
    ensure_eq!("the quantity", order.quantity, attempt.quantity);
    ensure_eq!("the decision", order.decision, Decision::Success(id));
    ensure_eq!(
        "the moment of the reservation",
        order.reserved_at,
        attempt.reserved_at
    );
    bench.ensure_totals((5, 3, 2), (1, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn the_first_decision_about_an_attempt_is_final(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let (won, lost) = (bench.attempt(1), bench.attempt(2));
    let order = bench.order(&won).await?;
    ensure_eq!(
        "the second attempt",
        bench.commit(std::slice::from_ref(&lost)).await?,
        vec![NO_STOCK]
    );
    bench.change(SaleChange::Restock(10)).await?;
    let both = [lost.clone(), won.clone()];
    let again = bench.commit(&both).await?;
    let final_decisions = vec![NO_STOCK, Decision::Success(order)];
    ensure_eq!("both again", again, final_decisions);
    let altered = [
        Attempt {
            epoch: Epoch::new(0),
            ..won.clone()
        },
        Attempt {
            quantity: units(9),
            ..won
        },
    ];
    let again = bench.commit(&altered).await?;
    ensure_eq!("the id counts", again, vec![Decision::Success(order); 2]);
    bench.ensure_totals((11, 10, 1), (1, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn attempts_are_decided_in_order(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2).await?;
    let attempts: Vec<_> = [5, 3, 4, 1].map(|number| bench.attempt(number)).to_vec();
    let decisions = bench.commit(&attempts).await?;
    ensure_matches!("the decisions", decisions.as_slice(),
        [Decision::Success(first), Decision::Success(second), NO_STOCK, NO_STOCK]
            if first < second);
    Ok(Ran::Yes)
}

pub(super) async fn units_of_orders_never_exceed_the_stock(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let of = |number, quantity| Attempt {
        quantity: units(quantity),
        ..bench.attempt(number)
    };
    let attempts = [of(1, 3), of(2, 3), of(3, 2), of(4, 1)];
    let decisions = bench.commit(&attempts).await?;
    ensure_matches!(
        "the decisions",
        decisions.as_slice(),
        [
            Decision::Success(_),
            NO_STOCK,
            Decision::Success(_),
            NO_STOCK
        ]
    );
    bench.ensure_totals((5, 0, 5), (2, 2)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_user_has_at_most_one_order_in_a_sale(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let first = Attempt {
        quantity: units(2),
        ..bench.attempt(1)
    };
    let kept = Kept {
        order: bench.order(&first).await?,
        attempt: first.id,
        quantity: first.quantity,
    };
    let duplicate = Decision::Failed(FailReason::Duplicate(kept));
    let second = bench.attempt(1);
    for _ in 0..2 {
        let decisions = bench.commit(std::slice::from_ref(&second)).await?;
        ensure_eq!("the second attempt", decisions, vec![duplicate]);
    }
    let found = bench.found(&second).await?.map(|order| order.decision);
    ensure_eq!("what is kept", found, Some(duplicate));
    bench.ensure_totals((5, 3, 2), (1, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_user_may_buy_in_another_sale(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    bench.order(&bench.attempt(1)).await?;
    let other = create_sale(&*bench.rig.sales, 3).await?.key();
    let attempt = samples::attempt(&other, user(1), 1);
    let decisions = bench.orders.commit(&other, &[attempt]).await?;
    ensure_matches!(
        "the other sale",
        decisions.as_slice(),
        [Decision::Success(_)]
    );
    bench.ensure_totals((5, 4, 1), (1, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn an_attempt_of_an_older_epoch_is_stale(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let old = Attempt {
        epoch: Epoch::new(0),
        ..bench.attempt(1)
    };
    ensure_eq!("the old attempt", bench.commit(&[old]).await?, vec![STALE]);
    bench.order(&bench.attempt(1)).await?;
    bench.ensure_totals((5, 4, 1), (1, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn the_rules_are_checked_in_their_order(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let first = bench.attempt(1);
    let kept = Kept {
        order: bench.order(&first).await?,
        attempt: first.id,
        quantity: Quantity::ONE,
    };
    let old_second = Attempt {
        epoch: Epoch::new(0),
        ..bench.attempt(1)
    };
    let decisions = bench.commit(&[old_second, bench.attempt(1)]).await?;
    let duplicate = Decision::Failed(FailReason::Duplicate(kept));
    ensure_eq!(
        "epoch before user before stock",
        decisions,
        vec![STALE, duplicate]
    );
    Ok(Ran::Yes)
}

pub(super) async fn duplicates_inside_a_batch_are_decided_once(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let (one, two) = (bench.attempt(1), bench.attempt(2));
    let second = bench.attempt(1);
    let batch = [one.clone(), second, two.clone(), one, two];
    let decisions = bench.commit(&batch).await?;
    ensure_matches!("the decisions", decisions.as_slice(), [
        Decision::Success(first),
        Decision::Failed(FailReason::Duplicate(kept)),
        Decision::Success(other),
        Decision::Success(again),
        Decision::Success(other_again),
    ] if first == again && kept.order == *first && other == other_again);
    bench.ensure_totals((5, 3, 2), (2, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_restock_adds_units(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    bench.order(&bench.attempt(1)).await?;
    let refused = bench.commit(&[bench.attempt(2)]).await?;
    ensure_eq!("before the restock", refused, vec![NO_STOCK]);
    bench.change(SaleChange::Restock(2)).await?;
    bench.order(&bench.attempt(2)).await?;
    bench.ensure_totals((3, 1, 2), (2, 1)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_closed_sale_honours_what_was_reserved(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2).await?;
    bench.change(SaleChange::Pause).await?;
    bench.order(&bench.attempt(1)).await?;
    bench.change(SaleChange::Close).await?;
    bench.order(&bench.attempt(2)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn what_is_decided_advances_the_decided_seq(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2).await?;
    let numbered = |number, seq| Attempt {
        seq,
        ..bench.attempt(number)
    };
    ensure_eq!("before", bench.decided_seq().await?, 0);
    bench.commit(&[numbered(1, 3), numbered(2, 7)]).await?;
    ensure_eq!("after two orders", bench.decided_seq().await?, 7);
    bench.commit(&[numbered(3, 5)]).await?;
    ensure_eq!("after an earlier one", bench.decided_seq().await?, 7);
    bench.commit(&[numbered(4, 9)]).await?;
    ensure_eq!("after a failure", bench.decided_seq().await?, 9);
    let old = Attempt {
        epoch: Epoch::new(0),
        ..numbered(5, 50)
    };
    bench.commit(&[old, numbered(6, 10)]).await?;
    ensure_eq!("after an older epoch", bench.decided_seq().await?, 10);
    let released = [numbered(7, 12)];
    bench.release(&released, FailReason::Expired).await?;
    ensure_eq!("after a release", bench.decided_seq().await?, 12);
    bench.rig.sales.recover(&bench.sale).await?;
    ensure_eq!("under a new epoch", bench.decided_seq().await?, 0);
    Ok(Ran::Yes)
}

pub(super) async fn attempts_of_another_sale_are_invalid(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let other = create_sale(&*bench.rig.sales, 5).await?.key();
    let ours = bench.attempt(1);
    let theirs = samples::attempt(&other, user(2), 1);
    let batch = [ours.clone(), theirs.clone()];
    ensure_invalid(
        "a mixed batch",
        bench.orders.commit(&bench.sale, &batch).await,
    )?;
    ensure_eq!("our attempt", bench.found(&ours).await?, None);
    ensure_eq!("their attempt", bench.found(&theirs).await?, None);
    bench.ensure_totals((5, 5, 0), (0, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn an_unknown_sale_is_invalid(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let unknown = samples::fresh_sale();
    let attempt = samples::attempt(&unknown, user(1), 1);
    let batch = std::slice::from_ref(&attempt);
    ensure_invalid(
        "an unknown sale",
        bench.orders.commit(&unknown, batch).await,
    )?;
    ensure_eq!("its attempt", bench.found(&attempt).await?, None);
    Ok(Ran::Yes)
}

pub(super) async fn an_empty_batch_is_answered_with_nothing(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    ensure!(bench.commit(&[]).await?.is_empty(), "commit must be empty");
    let released = bench.release(&[], FailReason::Expired).await?;
    ensure!(released.is_empty(), "release must be empty");
    ensure!(
        bench.orders.find(&[]).await?.is_empty(),
        "find must be empty"
    );
    bench.ensure_totals((1, 1, 0), (0, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_batch_of_the_largest_size_is_decided(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1_000).await?;
    let attempts: Vec<_> = (0..BATCH_MAX as u64).map(|n| bench.attempt(n)).collect();
    let decisions = bench.commit(&attempts).await?;
    for (number, decision) in decisions.iter().enumerate() {
        let won = matches!(decision, Decision::Success(_));
        ensure!(
            won == (number < 1_000),
            "decision {number} of 1,000 units is {decision:?}"
        );
    }
    let ids: Vec<_> = attempts.iter().map(|attempt| attempt.id).collect();
    let found = bench.orders.find(&ids).await?;
    ensure_eq!(
        "the number of orders",
        found.iter().flatten().count(),
        BATCH_MAX
    );
    bench.ensure_totals((1_000, 0, 1_000), (1_000, 24)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_larger_batch_is_refused_as_a_whole(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2_000).await?;
    let attempts: Vec<_> = (0..=BATCH_MAX as u64).map(|n| bench.attempt(n)).collect();
    let Bench { orders, sale, .. } = &bench;
    ensure_invalid("commit", orders.commit(sale, &attempts).await)?;
    let expired = FailReason::Expired;
    ensure_invalid("release", orders.release(sale, &attempts, expired).await)?;
    let ids: Vec<_> = attempts.iter().map(|attempt| attempt.id).collect();
    ensure_invalid("find", orders.find(&ids).await)?;
    bench.ensure_totals((2_000, 2_000, 0), (0, 0)).await?;
    Ok(Ran::Yes)
}
