use super::bench::{Bench, ensure_hold, settlement, wish};
use crate::domain::{
    Decision, FailReason, HoldState, Reservation, ReserveOutcome, SaleChange, Timestamp, UserId,
};
use crate::ports::{BATCH_MAX, StockStoreExt};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, ensure_matches};
use crate::testing::samples::{START, WINDOW, units, user};
use crate::testing::suites::ensure_invalid;
use crate::testing::{Fixture, StockStoreRig};

type Rigs<'a> = &'a dyn Fixture<StockStoreRig>;

pub(super) async fn taking_the_units_and_recording_the_attempt_are_one_step(
    rigs: Rigs<'_>,
) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let wish = wish(1);
    let outcome = bench.store.reserve_one(&bench.sale, &wish).await?;
    let ReserveOutcome::Reserved(attempt) = outcome else {
        ensure!(
            false,
            "the user must get a unit, but the answer is {outcome:?}"
        );
        return Ok(Ran::Yes);
    };
    ensure_eq!("the id", attempt.id, wish.attempt);
    ensure_eq!("the user", attempt.user, wish.user);
    ensure_eq!("the sale", attempt.sale, bench.sale.id);
    ensure_eq!("the product", attempt.product, bench.sale.product);
    ensure_eq!("the epoch", attempt.epoch, bench.sale.epoch);
    ensure_eq!("the moment", attempt.reserved_at, START.plus_ms(1_000));
    let unlogged = HoldState::Reserved { logged: false };
    ensure_hold(bench.hold(1).await?.as_ref(), &attempt, unlogged)?;
    bench.ensure_units("after it", (2, 1, 0)).await?;
    let undecided = bench
        .store
        .unlogged(&bench.sale, attempt.reserved_at, 10)
        .await?;
    ensure_eq!("the attempt on record", undecided, vec![attempt]);
    Ok(Ran::Yes)
}

pub(super) async fn a_user_who_holds_units_gets_that_hold_back(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    let ReserveOutcome::Held(hold) = bench.buy(1).await? else {
        ensure!(false, "a second attempt must be answered with the hold");
        return Ok(Ran::Yes);
    };
    ensure_hold(Some(&hold), &attempt, HoldState::Reserved { logged: false })?;
    bench.ensure_units("after it", (2, 1, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_repeated_attempt_id_takes_no_more_units(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let wish = wish(1);
    for _ in 0..3 {
        bench.store.reserve_one(&bench.sale, &wish).await?;
    }
    bench.ensure_units("after three calls", (2, 1, 0)).await?;
    let hold = bench.hold(1).await?;
    let held = hold.map(|hold| hold.attempt);
    ensure_eq!("the attempt held", held, Some(wish.attempt));
    Ok(Ran::Yes)
}

pub(super) async fn duplicates_inside_a_batch_get_one_hold(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 10).await?;
    let first = wish(1);
    let wishes = [first.clone(), wish(1), wish(2), first.clone()];
    let outcomes = bench.store.reserve(&bench.sale, &wishes).await?;
    ensure_eq!("the number of outcomes", outcomes.len(), 4);
    ensure_matches!("the first", outcomes[0], ReserveOutcome::Reserved(a) if a.id == first.attempt);
    ensure_matches!("another id", outcomes[1], ReserveOutcome::Held(h) if h.attempt == first.attempt);
    ensure_matches!("another user", outcomes[2], ReserveOutcome::Reserved(_));
    ensure_matches!("the same id", outcomes[3], ReserveOutcome::Held(h) if h.attempt == first.attempt);
    bench.ensure_units("after the batch", (8, 2, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn units_are_taken_all_or_none(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let large = |number, quantity: u32| Reservation {
        quantity: units(quantity),
        ..wish(number)
    };
    let wishes = [large(1, 4), large(2, 2), large(3, 1), large(4, 1)];
    let outcomes = bench.store.reserve(&bench.sale, &wishes).await?;
    ensure_matches!("4 of 5 units", outcomes[0], ReserveOutcome::Reserved(a) if a.quantity == units(4));
    ensure_eq!("2 of 1 unit", outcomes[1], ReserveOutcome::SoldOut);
    ensure_matches!("1 of 1 unit", outcomes[2], ReserveOutcome::Reserved(_));
    ensure_eq!("1 of 0 units", outcomes[3], ReserveOutcome::SoldOut);
    bench.ensure_units("after the batch", (0, 5, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn the_oldest_seq_is_the_first_reserved(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 9).await?;
    let mut last = 0;
    for number in 1..=9 {
        let seq = bench.reserve(number).await?.seq;
        ensure!(
            seq > last,
            "seq {seq} must be greater than {last} before it"
        );
        last = seq;
    }
    ensure!(
        bench.levels().await?.seq >= last,
        "the levels must show seq {last}"
    );
    Ok(Ran::Yes)
}

pub(super) async fn refused_users_are_not_marked(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    bench.clock.set(WINDOW.start.plus_ms(-1));
    ensure_matches!(
        "too early",
        bench.buy(2).await?,
        ReserveOutcome::NotStarted { .. }
    );
    bench.clock.set(START.plus_ms(1_000));
    bench.win(1).await?;
    ensure_eq!("sold out", bench.buy(2).await?, ReserveOutcome::SoldOut);
    bench.change(2, SaleChange::Pause).await?;
    ensure_eq!("paused", bench.buy(2).await?, ReserveOutcome::Paused);
    bench.change(3, SaleChange::Resume).await?;
    ensure_eq!("the refused user's hold", bench.hold(2).await?, None);
    bench.change(4, SaleChange::Restock(1)).await?;
    bench.win(2).await?;
    Ok(Ran::Yes)
}

pub(super) async fn the_window_includes_its_start(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2).await?;
    bench.clock.set(WINDOW.start.plus_ms(-1));
    let early = bench.buy(1).await?;
    let starts_at = WINDOW.start;
    ensure_eq!(
        "1 ms before the start",
        early,
        ReserveOutcome::NotStarted { starts_at }
    );
    bench.ensure_taken("before the start", 0).await?;
    bench.clock.set(WINDOW.start);
    let attempt = bench.win(1).await?;
    ensure_eq!("the moment", attempt.reserved_at, WINDOW.start);
    Ok(Ran::Yes)
}

pub(super) async fn the_window_excludes_its_end(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2).await?;
    bench.clock.set(WINDOW.end.plus_ms(-1));
    bench.win(1).await?;
    bench.clock.set(WINDOW.end);
    ensure_eq!("at the end", bench.buy(2).await?, ReserveOutcome::Ended);
    ensure_matches!(
        "a holder at the end",
        bench.buy(1).await?,
        ReserveOutcome::Held(_)
    );
    bench.ensure_taken("after the end", 1).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_clock_that_jumps_backwards_does_not_end_the_order(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 4).await?;
    let first = bench.win(1).await?;
    let backwards = [START.plus_ms(500), START.plus_ms(-1), Timestamp::default()];
    for (number, earlier) in (2..).zip(backwards) {
        bench.clock.set(earlier);
        let attempt = bench.win(number).await?;
        ensure_eq!(
            "the moment after a jump",
            attempt.reserved_at,
            first.reserved_at
        );
        ensure!(attempt.seq > first.seq, "seq must grow after a jump");
    }
    Ok(Ran::Yes)
}

pub(super) async fn an_empty_batch_is_answered_with_nothing(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1).await?;
    let Bench { store, sale, .. } = &bench;
    ensure!(
        store.reserve(sale, &[]).await?.is_empty(),
        "reserve must be empty"
    );
    ensure!(
        store.settle(sale, &[]).await?.is_empty(),
        "settle must be empty"
    );
    ensure!(
        store.holds(sale, &[]).await?.is_empty(),
        "holds must be empty"
    );
    let results = store.results(sale.product, &[]).await?;
    ensure!(results.is_empty(), "results must be empty");
    store.acknowledge(sale, &[]).await?;
    store.put_results(&[]).await?;
    bench.ensure_taken("after empty batches", 0).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_batch_of_the_largest_size_is_answered(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 1_000).await?;
    let wishes: Vec<_> = (0..BATCH_MAX as u64).map(wish).collect();
    let outcomes = bench.store.reserve(&bench.sale, &wishes).await?;
    ensure_eq!("the number of outcomes", outcomes.len(), BATCH_MAX);
    for (number, (wish, outcome)) in wishes.iter().zip(&outcomes).enumerate() {
        let ours = match outcome {
            ReserveOutcome::Reserved(a) | ReserveOutcome::Sold(a, _) => a.id == wish.attempt,
            other => number >= 1_000 && *other == ReserveOutcome::SoldOut,
        };
        ensure!(ours, "outcome {number} of 1,000 units is {outcome:?}");
    }
    bench.ensure_taken("after the batch", 1_000).await?;
    let users: Vec<_> = wishes.iter().map(|wish| wish.user.clone()).collect();
    let holds = bench.store.holds(&bench.sale, &users).await?;
    let held = holds.iter().flatten().count();
    ensure_eq!("the number of answers", holds.len(), BATCH_MAX);
    ensure_eq!("the number of holders", held, 1_000);
    Ok(Ran::Yes)
}

pub(super) async fn a_larger_batch_is_refused_as_a_whole(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2_000).await?;
    let Bench { store, sale, .. } = &bench;
    let attempt = bench.win(0).await?;
    let many = 0..=BATCH_MAX as u64;
    let wishes: Vec<_> = many.clone().map(wish).collect();
    ensure_invalid("reserve", store.reserve(sale, &wishes).await)?;
    let cancelled = settlement(&attempt, Decision::Failed(FailReason::Cancelled));
    let settlements = vec![cancelled; BATCH_MAX + 1];
    ensure_invalid("settle", store.settle(sale, &settlements).await)?;
    let attempts = vec![attempt.clone(); BATCH_MAX + 1];
    ensure_invalid("acknowledge", store.acknowledge(sale, &attempts).await)?;
    let users: Vec<UserId> = many.map(user).collect();
    ensure_invalid("holds", store.holds(sale, &users).await)?;
    bench.ensure_taken("after the refusals", 1).await?;
    ensure_eq!("a refused user's hold", bench.hold(1).await?, None);
    Ok(Ran::Yes)
}

pub(super) async fn holds_come_in_the_order_of_the_users(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let (one, three) = (bench.win(1).await?.id, bench.win(3).await?.id);
    let users = [user(3), user(2), user(1), user(3)];
    let holds = bench.store.holds(&bench.sale, &users).await?;
    let attempts: Vec<_> = holds.into_iter().map(|hold| Some(hold?.attempt)).collect();
    ensure_eq!(
        "the attempts",
        attempts,
        vec![Some(three), None, Some(one), Some(three)]
    );
    Ok(Ran::Yes)
}
