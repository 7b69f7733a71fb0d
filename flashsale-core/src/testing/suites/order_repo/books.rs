use super::bench::Bench;
use crate::domain::{Attempt, Decision, FailReason, SaleChange};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, ensure_matches};
use crate::testing::samples::{self, fresh_attempt_id, units, user};
use crate::testing::suites::create_sale;
use crate::testing::{Fixture, OrderRepoRig};

type Rigs<'a> = &'a dyn Fixture<OrderRepoRig>;

pub(super) async fn orders_are_found_in_the_order_asked_for(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let (one, two) = (bench.attempt(1), bench.attempt(2));
    bench.commit(&[one.clone(), two.clone()]).await?;
    let asked = [two.id, fresh_attempt_id(), one.id, two.id];
    let found = bench.orders.find(&asked).await?;
    let found: Vec<_> = found
        .into_iter()
        .map(|order| Some(order?.attempt))
        .collect();
    let expected = vec![Some(two.id), None, Some(one.id), Some(two.id)];
    ensure_eq!("the attempts of the orders", found, expected);
    Ok(Ran::Yes)
}

pub(super) async fn nothing_is_found_for_an_undecided_attempt(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    ensure_eq!(
        "an undecided attempt",
        bench.found(&bench.attempt(1)).await?,
        None
    );
    let listed = bench.orders.list(bench.sale.id, None, 10).await?;
    ensure_eq!("the orders", listed, vec![]);
    Ok(Ran::Yes)
}

pub(super) async fn decisions_are_listed_by_ascending_order_id(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let other = create_sale(&*bench.rig.sales, 5).await?.key();
    let mut attempts = Vec::new();
    for number in 1..=5 {
        let attempt = bench.attempt(number);
        bench.commit(std::slice::from_ref(&attempt)).await?;
        attempts.push(attempt.id);
        let elsewhere = samples::attempt(&other, user(number), number);
        bench.orders.commit(&other, &[elsewhere]).await?;
    }
    let all = bench.orders.list(bench.sale.id, None, 100).await?;
    let ids: Vec<_> = all.iter().map(|order| order.id).collect();
    ensure!(
        ids.is_sorted_by(|a, b| a < b),
        "order ids must ascend, are {ids:?}"
    );
    let listed: Vec<_> = all.iter().map(|order| order.attempt).collect();
    ensure_eq!("decided attempts, also failed ones", listed, attempts);
    for (after, rest) in [(0, &all[1..]), (2, &all[3..]), (4, &all[5..])] {
        let page = bench
            .orders
            .list(bench.sale.id, Some(ids[after]), 100)
            .await?;
        ensure_eq!(format!("after decision {after}"), page, rest.to_vec());
    }
    let page = bench.orders.list(bench.sale.id, Some(ids[0]), 2).await?;
    ensure_eq!("2 at most", page, all[1..3].to_vec());
    let none = bench.orders.list(bench.sale.id, None, 0).await?;
    ensure_eq!("0 at most", none, vec![]);
    Ok(Ran::Yes)
}

pub(super) async fn totals_are_counted_from_the_orders(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 6).await?;
    bench.ensure_totals((6, 6, 0), (0, 0)).await?;
    let large = Attempt {
        quantity: units(3),
        ..bench.attempt(1)
    };
    bench
        .commit(&[large, bench.attempt(2), bench.attempt(1)])
        .await?;
    bench
        .release(&[bench.attempt(3)], FailReason::Expired)
        .await?;
    bench.ensure_totals((6, 2, 4), (2, 2)).await?;
    bench.change(SaleChange::Restock(4)).await?;
    bench.ensure_totals((10, 6, 4), (2, 2)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn an_unknown_sale_has_no_books(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let unknown = samples::fresh_sale().id;
    ensure_eq!("the totals", bench.orders.totals(unknown).await?, None);
    let listed = bench.orders.list(unknown, None, 10).await?;
    ensure_eq!("the orders", listed, vec![]);
    Ok(Ran::Yes)
}

pub(super) async fn orders_survive_a_reopen(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2).await?;
    let attempts = [1, 2, 1, 3].map(|number| bench.attempt(number));
    let decisions = bench.commit(&attempts).await?;
    let expired = bench.attempt(4);
    bench
        .release(std::slice::from_ref(&expired), FailReason::Expired)
        .await?;
    let orders = bench.orders.list(bench.sale.id, None, 100).await?;
    let totals = bench.totals().await?;
    let Some(bench) = bench.reopen().await? else {
        return Ok(Ran::Skipped);
    };
    let listed = bench.orders.list(bench.sale.id, None, 100).await?;
    ensure_eq!("the orders", listed, orders);
    ensure_eq!("the totals", bench.totals().await?, totals);
    ensure_eq!(
        "the attempts again",
        bench.commit(&attempts).await?,
        decisions
    );
    let again = bench
        .commit(&[expired, bench.attempt(1), bench.attempt(5)])
        .await?;
    ensure_matches!(
        "attempts after the reopen",
        again.as_slice(),
        [
            Decision::Failed(FailReason::Expired),
            Decision::Failed(FailReason::Duplicate(_)),
            Decision::Failed(FailReason::NoStock),
        ]
    );
    Ok(Ran::Yes)
}
