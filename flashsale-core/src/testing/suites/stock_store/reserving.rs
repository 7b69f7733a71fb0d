use super::bench::{Bench, ensure_allocation, request, settlement};
use crate::domain::{
    AllocationState, Decision, FailReason, ReserveOutcome, ReserveRequest, SaleChange, Timestamp,
    UserId,
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
    let request = request(1);
    let outcome = bench.store.reserve_one(&bench.sale, &request).await?;
    let ReserveOutcome::Reserved(attempt) = outcome else {
        ensure!(
            false,
            "the user must get a unit, but the answer is {outcome:?}"
        );
        return Ok(Ran::Yes);
    };
    ensure_eq!("the id", attempt.id, request.attempt);
    ensure_eq!("the user", attempt.user, request.user);
    ensure_eq!("the sale", attempt.sale, bench.sale.id);
    ensure_eq!("the product", attempt.product, bench.sale.product);
    ensure_eq!("the epoch", attempt.epoch, bench.sale.epoch);
    ensure_eq!("the moment", attempt.reserved_at, START.plus_ms(1_000));
    let unpublished = AllocationState::Reserved { logged: false };
    ensure_allocation(bench.allocation(1).await?.as_ref(), &attempt, unpublished)?;
    bench.ensure_units("after it", (2, 1, 0)).await?;
    let undecided = bench.store.unpublished(&bench.sale, 0, 10).await?;
    ensure_eq!("the attempt on record", undecided, vec![attempt]);
    Ok(Ran::Yes)
}

pub(super) async fn a_user_who_holds_units_gets_that_allocation_back(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let attempt = bench.reserve(1).await?;
    let ReserveOutcome::AlreadyAllocated(allocation) = bench.buy(1).await? else {
        ensure!(
            false,
            "a second attempt must be answered with the allocation"
        );
        return Ok(Ran::Yes);
    };
    ensure_allocation(
        Some(&allocation),
        &attempt,
        AllocationState::Reserved { logged: false },
    )?;
    bench.ensure_units("after it", (2, 1, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn a_repeated_attempt_id_takes_no_more_units(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let request = request(1);
    for _ in 0..3 {
        bench.store.reserve_one(&bench.sale, &request).await?;
    }
    bench.ensure_units("after three calls", (2, 1, 0)).await?;
    let allocation = bench.allocation(1).await?;
    let held = allocation.map(|allocation| allocation.attempt);
    ensure_eq!("the attempt held", held, Some(request.attempt));
    Ok(Ran::Yes)
}

pub(super) async fn duplicates_inside_a_batch_get_one_allocation(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 10).await?;
    let first = request(1);
    let requests = [first.clone(), request(1), request(2), first.clone()];
    let outcomes = bench.store.reserve(&bench.sale, &requests).await?;
    ensure_eq!("the number of outcomes", outcomes.len(), 4);
    ensure_matches!("the first", outcomes[0], ReserveOutcome::Reserved(a) if a.id == first.attempt);
    ensure_matches!("another id", outcomes[1], ReserveOutcome::AlreadyAllocated(h) if h.attempt == first.attempt);
    ensure_matches!("another user", outcomes[2], ReserveOutcome::Reserved(_));
    ensure_matches!("the same id", outcomes[3], ReserveOutcome::AlreadyAllocated(h) if h.attempt == first.attempt);
    bench.ensure_units("after the batch", (8, 2, 0)).await?;
    Ok(Ran::Yes)
}

pub(super) async fn units_are_taken_all_or_none(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 5).await?;
    let large = |number, quantity: u32| ReserveRequest {
        quantity: units(quantity),
        ..request(number)
    };
    let requests = [large(1, 4), large(2, 2), large(3, 1), large(4, 1)];
    let outcomes = bench.store.reserve(&bench.sale, &requests).await?;
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
    ensure_eq!(
        "the refused user's allocation",
        bench.allocation(2).await?,
        None
    );
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
        ReserveOutcome::AlreadyAllocated(_)
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
        store.allocations(sale, &[]).await?.is_empty(),
        "allocations must be empty"
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
    let requests: Vec<_> = (0..BATCH_MAX as u64).map(request).collect();
    let outcomes = bench.store.reserve(&bench.sale, &requests).await?;
    ensure_eq!("the number of outcomes", outcomes.len(), BATCH_MAX);
    for (number, (request, outcome)) in requests.iter().zip(&outcomes).enumerate() {
        let ours = match outcome {
            ReserveOutcome::Reserved(a) | ReserveOutcome::Sold(a, _) => a.id == request.attempt,
            other => number >= 1_000 && *other == ReserveOutcome::SoldOut,
        };
        ensure!(ours, "outcome {number} of 1,000 units is {outcome:?}");
    }
    bench.ensure_taken("after the batch", 1_000).await?;
    let users: Vec<_> = requests
        .iter()
        .map(|request| request.user.clone())
        .collect();
    let allocations = bench.store.allocations(&bench.sale, &users).await?;
    let held = allocations.iter().flatten().count();
    ensure_eq!("the number of answers", allocations.len(), BATCH_MAX);
    ensure_eq!("the number of holders", held, 1_000);
    Ok(Ran::Yes)
}

pub(super) async fn a_larger_batch_is_refused_as_a_whole(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 2_000).await?;
    let Bench { store, sale, .. } = &bench;
    let attempt = bench.win(0).await?;
    let many = 0..=BATCH_MAX as u64;
    let requests: Vec<_> = many.clone().map(request).collect();
    ensure_invalid("reserve", store.reserve(sale, &requests).await)?;
    let cancelled = settlement(&attempt, Decision::Failed(FailReason::Cancelled));
    let settlements = vec![cancelled; BATCH_MAX + 1];
    ensure_invalid("settle", store.settle(sale, &settlements).await)?;
    let attempts = vec![attempt.clone(); BATCH_MAX + 1];
    ensure_invalid("acknowledge", store.acknowledge(sale, &attempts).await)?;
    let users: Vec<UserId> = many.map(user).collect();
    ensure_invalid("allocations", store.allocations(sale, &users).await)?;
    bench.ensure_taken("after the refusals", 1).await?;
    ensure_eq!(
        "a refused user's allocation",
        bench.allocation(1).await?,
        None
    );
    Ok(Ran::Yes)
}

pub(super) async fn allocations_come_in_the_order_of_the_users(rigs: Rigs<'_>) -> Checked {
    let bench = Bench::open(rigs, 3).await?;
    let (one, three) = (bench.win(1).await?.id, bench.win(3).await?.id);
    let users = [user(3), user(2), user(1), user(3)];
    let allocations = bench.store.allocations(&bench.sale, &users).await?;
    let attempts: Vec<_> = allocations
        .into_iter()
        .map(|allocation| Some(allocation?.attempt))
        .collect();
    ensure_eq!(
        "the attempts",
        attempts,
        vec![Some(three), None, Some(one), Some(three)]
    );
    Ok(Ran::Yes)
}
