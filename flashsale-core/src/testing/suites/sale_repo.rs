//! The suite of [`SaleRepo`](crate::ports::SaleRepo).

use std::sync::Arc;

use super::{create_sale, fresh_place, race};
use crate::domain::{
    ChangeRefused, Epoch, NewSale, NewSaleRefused, Phase, Sale, SaleChange, SaleId, SaleRef,
    StockEvent, UNITS_MAX, Window,
};
use crate::error::PortError;
use crate::ports::{ChangeOutcome, CreateSaleOutcome, Revision, SaleRepo};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, ensure_matches, run_cases};
use crate::testing::samples::{HOUR_MS, START, WINDOW, fresh_new_sale, fresh_sale};
use crate::testing::{Fixture, Report, Violation};

type Rig = Arc<dyn SaleRepo>;
type Rigs<'a> = &'a dyn Fixture<Rig>;

/// Checks a [`SaleRepo`] against its contract.
pub async fn sale_repo(fixture: &dyn Fixture<Arc<dyn SaleRepo>>) -> Report {
    let mut report = Report::new("SaleRepo");
    run_cases!(
        report,
        fixture,
        [
            a_new_sale_is_scheduled_at_version_1_and_the_first_epoch,
            a_sale_that_breaks_a_rule_is_refused,
            a_product_of_that_name_is_used_if_there_is_one,
            a_sale_that_overlaps_is_refused,
            touching_windows_do_not_overlap,
            sales_of_other_products_do_not_overlap,
            a_closed_sale_does_not_overlap,
            of_overlapping_sales_created_at_the_same_time_one_is_stored,
            a_scheduled_sale_is_marked_as_open,
            a_sale_that_has_changed_since_is_not_marked_as_open,
            any_other_sale_is_not_marked_as_open,
            changes_are_made_by_the_rules_of_a_sale,
            a_refused_change_leaves_the_sale_as_it_is,
            a_change_of_an_unknown_sale_is_told,
            events_come_in_order_after_a_version,
            racing_changes_have_versions_without_gaps,
            a_change_of_a_sale_that_is_not_as_it_was_is_refused,
            a_sale_is_paused_before_it_is_opened,
            units_are_withdrawn,
            a_sale_is_extended_up_to_the_next_one,
            a_recovery_begins_once_per_epoch,
            a_recovered_sale_is_opened_when_it_is_sealed,
            a_closed_sale_recovers_and_stays_closed,
            sales_are_listed_by_ascending_id,
            an_unknown_sale_is_not_found,
            the_first_changed_returns_at_once,
            a_change_wakes_who_waits_for_it,
            sales_survive_a_reopen,
        ]
    );
    report
}

async fn open(rigs: Rigs<'_>) -> Result<Rig, Violation> {
    Ok(rigs.open(&fresh_place("sales")).await?)
}

/// A sale of the same product, `from` to `to` hours after the first sale's start.
fn again(new: &NewSale, from: i64, to: i64) -> NewSale {
    NewSale {
        window: Window {
            start: START.plus_ms(from * HOUR_MS),
            end: START.plus_ms(to * HOUR_MS),
        },
        ..new.clone()
    }
}

async fn create(repo: &Rig, new: &NewSale) -> Result<Sale, Violation> {
    match repo.create(new).await? {
        CreateSaleOutcome::Created(sale) => Ok(sale),
        CreateSaleOutcome::Refused(refused) => Err(Violation::new(format!(
            "{new:?} must be created, is refused: {refused}"
        ))),
    }
}

async fn refused(repo: &Rig, new: &NewSale) -> Result<NewSaleRefused, Violation> {
    match repo.create(new).await? {
        CreateSaleOutcome::Refused(refused) => Ok(refused),
        CreateSaleOutcome::Created(_) => Err(Violation::new(format!(
            "{new:?} must be refused, is created"
        ))),
    }
}

async fn found(repo: &Rig, id: SaleId) -> Result<Sale, Violation> {
    let sale = repo.find(id).await?;
    sale.ok_or_else(|| Violation::new(format!("sale {id} must be found")))
}

async fn a_new_sale_is_scheduled_at_version_1_and_the_first_epoch(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let new = fresh_new_sale(7);
    let sale = create(&repo, &new).await?;
    ensure_eq!("the name", sale.product.name, new.product_name);
    ensure_eq!(
        "the description",
        sale.product.description,
        new.product_description
    );
    ensure_eq!("the window", sale.window, new.window);
    ensure_eq!("the phase", sale.phase, Phase::Scheduled);
    ensure_eq!("the stock", (sale.initial_stock, sale.added_stock), (7, 0));
    ensure_eq!("the epoch", sale.epoch, Epoch::FIRST);
    ensure_eq!("the version", sale.version, 1);
    ensure_eq!("the sale that is found", found(&repo, sale.id).await?, sale);
    ensure_eq!("its changes", repo.events(sale.id, 0).await?, vec![]);
    Ok(Ran::Yes)
}

async fn a_sale_that_breaks_a_rule_is_refused(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let good = fresh_new_sale(7);
    let nameless = NewSale {
        product_name: "  ".to_owned(),
        ..good.clone()
    };
    let too_long = NewSale {
        product_name: "x".repeat(NewSale::NAME_MAX + 1),
        ..good.clone()
    };
    let empty = NewSale {
        stock: 0,
        ..good.clone()
    };
    let too_many = NewSale {
        stock: UNITS_MAX + 1,
        ..good.clone()
    };
    let bad = [
        (nameless, NewSaleRefused::ProductName),
        (too_long, NewSaleRefused::ProductName),
        (again(&good, 1, 1), NewSaleRefused::Window),
        (again(&good, 2, 1), NewSaleRefused::Window),
        (empty, NewSaleRefused::Stock),
        (too_many, NewSaleRefused::Stock),
    ];
    for (new, why) in bad {
        ensure_eq!("the reason", refused(&repo, &new).await?, why);
    }
    let most = NewSale {
        stock: UNITS_MAX,
        ..good
    };
    ensure_eq!(
        "the stock",
        create(&repo, &most).await?.initial_stock,
        UNITS_MAX
    );
    Ok(Ran::Yes)
}

async fn a_product_of_that_name_is_used_if_there_is_one(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let new = fresh_new_sale(7);
    let first = create(&repo, &new).await?;
    let described = NewSale {
        product_description: "something else".to_owned(),
        ..again(&new, 5, 6)
    };
    let second = create(&repo, &described).await?;
    ensure_eq!(
        "the product of the same name",
        second.product,
        first.product
    );
    let other = create_sale(&*repo, 7).await?;
    ensure!(
        other.product.id != first.product.id,
        "another name is another product"
    );
    Ok(Ran::Yes)
}

async fn a_sale_that_overlaps_is_refused(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let new = again(&fresh_new_sale(7), 10, 20);
    let sale = create(&repo, &new).await?;
    let windows = [
        (10, 20),
        (9, 11),
        (19, 21),
        (12, 13),
        (5, 25),
        (10, 11),
        (19, 20),
    ];
    for (from, to) in windows {
        let why = refused(&repo, &again(&new, from, to)).await?;
        let what = format!("hours {from} to {to}");
        ensure_eq!(what, why, NewSaleRefused::Overlaps(sale.id));
    }
    repo.opened(&sale.key(), 1).await?;
    let why = refused(&repo, &new).await?;
    ensure_eq!("an open sale", why, NewSaleRefused::Overlaps(sale.id));
    repo.change(sale.id, SaleChange::Pause, None).await?;
    let why = refused(&repo, &new).await?;
    ensure_eq!("a paused sale", why, NewSaleRefused::Overlaps(sale.id));
    Ok(Ran::Yes)
}

async fn touching_windows_do_not_overlap(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let new = again(&fresh_new_sale(7), 10, 20);
    create(&repo, &new).await?;
    create(&repo, &again(&new, 9, 10)).await?;
    create(&repo, &again(&new, 20, 21)).await?;
    Ok(Ran::Yes)
}

async fn sales_of_other_products_do_not_overlap(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    create(&repo, &fresh_new_sale(7)).await?;
    create(&repo, &fresh_new_sale(7)).await?;
    Ok(Ran::Yes)
}

async fn a_closed_sale_does_not_overlap(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let new = fresh_new_sale(7);
    let first = create(&repo, &new).await?;
    repo.change(first.id, SaleChange::Close, None).await?;
    let second = create(&repo, &new).await?;
    ensure_eq!("the product", second.product, first.product);
    Ok(Ran::Yes)
}

async fn of_overlapping_sales_created_at_the_same_time_one_is_stored(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let new = again(&fresh_new_sale(7), 0, 10);
    let tasks = (0..10).map(|from| {
        let (repo, new) = (Arc::clone(&repo), again(&new, from, 10));
        async move { repo.create(&new).await }
    });
    let outcomes = race(rigs, tasks).await?;
    let created: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            CreateSaleOutcome::Created(sale) => Some(sale.id),
            CreateSaleOutcome::Refused(_) => None,
        })
        .collect();
    ensure_eq!("the number of sales", created.len(), 1);
    let overlaps = CreateSaleOutcome::Refused(NewSaleRefused::Overlaps(created[0]));
    let refused = outcomes
        .iter()
        .filter(|outcome| **outcome == overlaps)
        .count();
    ensure_eq!("the number of refusals", refused, 9);
    Ok(Ran::Yes)
}

async fn a_scheduled_sale_is_marked_as_open(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let sale = create_sale(&*repo, 7).await?;
    repo.opened(&sale.key(), 1).await?;
    let opened = Sale {
        phase: Phase::Open,
        ..sale
    };
    ensure_eq!("the sale", found(&repo, opened.id).await?, opened);
    Ok(Ran::Yes)
}

async fn a_sale_that_has_changed_since_is_not_marked_as_open(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let sale = create_sale(&*repo, 7).await?;
    repo.change(sale.id, SaleChange::Withdraw(1), None).await?;
    for version in [1, 3] {
        repo.opened(&sale.key(), version).await?;
        let phase = found(&repo, sale.id).await?.phase;
        ensure_eq!("the phase", phase, Phase::Scheduled);
    }
    repo.opened(&sale.key(), 2).await?;
    ensure_eq!("the phase", found(&repo, sale.id).await?.phase, Phase::Open);
    Ok(Ran::Yes)
}

async fn any_other_sale_is_not_marked_as_open(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    repo.opened(&fresh_sale(), 1).await?;
    let sale = create_sale(&*repo, 7).await?;
    repo.opened(&sale.key(), 1).await?;
    for change in [SaleChange::Pause, SaleChange::Close] {
        repo.change(sale.id, change, None).await?;
        let before = found(&repo, sale.id).await?;
        repo.opened(&sale.key(), 1).await?;
        ensure_eq!("the sale", found(&repo, sale.id).await?, before);
    }
    Ok(Ran::Yes)
}

async fn changes_are_made_by_the_rules_of_a_sale(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let mut model = create_sale(&*repo, 7).await?;
    repo.opened(&model.key(), 1).await?;
    model.phase = Phase::Open;
    let changes = [
        SaleChange::Pause,
        SaleChange::Restock(3),
        SaleChange::Resume,
        SaleChange::Restock(2),
        SaleChange::Close,
    ];
    for change in changes {
        let event = model
            .change(change)
            .map_err(|e| Violation::new(e.to_string()))?;
        let outcome = repo.change(model.id, change, None).await?;
        ensure_eq!(
            "the change",
            outcome,
            ChangeOutcome::Changed(model.clone(), event)
        );
        ensure_eq!("the sale", found(&repo, model.id).await?, model);
    }
    Ok(Ran::Yes)
}

async fn a_refused_change_leaves_the_sale_as_it_is(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let sale = create_sale(&*repo, 7).await?;
    let id = sale.id;
    let scheduled = ChangeRefused::Phase(Phase::Scheduled);
    ensure_refused(&repo, id, SaleChange::Resume, scheduled).await?;
    repo.opened(&sale.key(), 1).await?;
    let open = ChangeRefused::Phase(Phase::Open);
    ensure_refused(&repo, id, SaleChange::Resume, open).await?;
    let most = ChangeRefused::Units {
        most: UNITS_MAX - 7,
    };
    ensure_refused(&repo, id, SaleChange::Restock(0), most).await?;
    ensure_refused(&repo, id, SaleChange::Restock(UNITS_MAX - 6), most).await?;
    ensure_refused(&repo, id, SaleChange::Restock(u64::MAX), most).await?;
    let most = ChangeRefused::Withdrawal { most: 7 };
    ensure_refused(&repo, id, SaleChange::Withdraw(0), most).await?;
    ensure_refused(&repo, id, SaleChange::Withdraw(8), most).await?;
    let end = ChangeRefused::End(WINDOW.end);
    ensure_refused(&repo, id, SaleChange::Extend(WINDOW.end), end).await?;
    repo.change(id, SaleChange::Close, None).await?;
    for change in [
        SaleChange::Close,
        SaleChange::Resume,
        SaleChange::Restock(1),
        SaleChange::Withdraw(1),
        SaleChange::Extend(WINDOW.end.plus_ms(1)),
    ] {
        ensure_refused(&repo, id, change, ChangeRefused::Closed).await?;
    }
    let events = repo.events(id, 0).await?;
    ensure_eq!("the number of changes kept", events.len(), 1);
    Ok(Ran::Yes)
}

async fn ensure_refused(
    repo: &Rig,
    id: SaleId,
    change: SaleChange,
    why: ChangeRefused,
) -> Result<(), Violation> {
    let before = found(repo, id).await?;
    let outcome = repo.change(id, change, None).await?;
    ensure_eq!(format!("{change:?}"), outcome, ChangeOutcome::Refused(why));
    ensure_eq!("the sale", found(repo, id).await?, before);
    Ok(())
}

async fn a_change_of_an_unknown_sale_is_told(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let outcome = repo
        .change(fresh_sale().id, SaleChange::Close, None)
        .await?;
    ensure_eq!("the outcome", outcome, ChangeOutcome::UnknownSale);
    Ok(Ran::Yes)
}

async fn events_come_in_order_after_a_version(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let id = create_sale(&*repo, 7).await?.id;
    let changes = [2, 3, 4, 5].map(SaleChange::Restock);
    let mut events = Vec::new();
    for (version, change) in (2..).zip(changes) {
        repo.change(id, change, None).await?;
        events.push(StockEvent { version, change });
    }
    for (after, from) in [(0, 0), (1, 0), (2, 1), (4, 3), (5, 4), (99, 4)] {
        let later = repo.events(id, after).await?;
        ensure_eq!(
            format!("after version {after}"),
            later,
            events[from..].to_vec()
        );
    }
    let unknown = repo.events(fresh_sale().id, 0).await?;
    ensure_eq!("an unknown sale", unknown, vec![]);
    Ok(Ran::Yes)
}

async fn racing_changes_have_versions_without_gaps(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let id = create_sale(&*repo, 7).await?.id;
    let tasks = (0..10).map(|_| {
        let repo = Arc::clone(&repo);
        async move { repo.change(id, SaleChange::Restock(2), None).await }
    });
    for outcome in race(rigs, tasks).await? {
        ensure_matches!("a racing restock", outcome, ChangeOutcome::Changed(..));
    }
    let sale = found(&repo, id).await?;
    ensure_eq!(
        "units added and version",
        (sale.added_stock, sale.version),
        (20, 11)
    );
    let versions: Vec<_> = repo
        .events(id, 0)
        .await?
        .iter()
        .map(|e| e.version)
        .collect();
    ensure_eq!("the versions", versions, (2..=11).collect::<Vec<_>>());
    Ok(Ran::Yes)
}

async fn a_change_of_a_sale_that_is_not_as_it_was_is_refused(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let first = create_sale(&*repo, 7).await?;
    let id = first.id;
    let restock = SaleChange::Restock(1);
    let outcome = repo.change(id, restock, Some(&first)).await?;
    ensure_matches!("as it is", outcome, ChangeOutcome::Changed(..));
    let outdated = ChangeOutcome::Refused(ChangeRefused::Outdated);
    let second = found(&repo, id).await?;
    for version in [0, 1, 3] {
        let other = Sale {
            version,
            ..second.clone()
        };
        let outcome = repo.change(id, restock, Some(&other)).await?;
        ensure_eq!("from another version", outcome, outdated);
    }
    repo.opened(&second.key(), 2).await?;
    let outcome = repo.change(id, restock, Some(&second)).await?;
    ensure_eq!("not open yet", outcome, outdated);
    ensure_eq!("the version", found(&repo, id).await?.version, 2);
    Ok(Ran::Yes)
}

async fn a_sale_is_paused_before_it_is_opened(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let sale = create_sale(&*repo, 7).await?;
    repo.change(sale.id, SaleChange::Pause, None).await?;
    let paused = found(&repo, sale.id).await?;
    ensure_eq!(
        "phase and pause request",
        (paused.phase, paused.pause_requested),
        (Phase::Scheduled, true)
    );
    repo.opened(&sale.key(), 2).await?;
    ensure_eq!(
        "the phase",
        found(&repo, sale.id).await?.phase,
        Phase::Paused
    );
    repo.change(sale.id, SaleChange::Resume, None).await?;
    let resumed = found(&repo, sale.id).await?;
    ensure_eq!(
        "phase and pause request",
        (resumed.phase, resumed.pause_requested),
        (Phase::Open, false)
    );
    Ok(Ran::Yes)
}

async fn units_are_withdrawn(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let id = create_sale(&*repo, 7).await?.id;
    let outcome = repo.change(id, SaleChange::Withdraw(5), None).await?;
    ensure_matches!("withdrawing", outcome, ChangeOutcome::Changed(..));
    let sale = found(&repo, id).await?;
    ensure_eq!(
        "the stock",
        (sale.withdrawn_stock, sale.total_stock()),
        (5, 2)
    );
    let event = StockEvent {
        version: 2,
        change: SaleChange::Withdraw(5),
    };
    ensure_eq!("the events", repo.events(id, 0).await?, vec![event]);
    let most = ChangeRefused::Withdrawal { most: 2 };
    ensure_refused(&repo, id, SaleChange::Withdraw(3), most).await?;
    repo.change(id, SaleChange::Withdraw(2), None).await?;
    ensure_eq!("the stock", found(&repo, id).await?.total_stock(), 0);
    Ok(Ran::Yes)
}

async fn a_sale_is_extended_up_to_the_next_one(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let new = fresh_new_sale(7);
    let id = create(&repo, &new).await?.id;
    let next = create(&repo, &again(&new, 3, 4)).await?;
    let until = |hours: i64| SaleChange::Extend(START.plus_ms(hours * HOUR_MS));
    let outcome = repo.change(id, until(3), None).await?;
    ensure_matches!("extending", outcome, ChangeOutcome::Changed(..));
    let sale = found(&repo, id).await?;
    ensure_eq!("the end", sale.window.end, next.window.start);
    let too_far = SaleChange::Extend(next.window.start.plus_ms(1));
    ensure_refused(&repo, id, too_far, ChangeRefused::Overlaps(next.id)).await?;
    let event = StockEvent {
        version: 2,
        change: until(3),
    };
    ensure_eq!("the events", repo.events(id, 0).await?, vec![event]);
    repo.change(next.id, SaleChange::Close, None).await?;
    let outcome = repo.change(id, until(4), None).await?;
    ensure_matches!("over a closed sale", outcome, ChangeOutcome::Changed(..));
    let why = refused(&repo, &again(&new, 3, 4)).await?;
    ensure_eq!(
        "a sale in its new window",
        why,
        NewSaleRefused::Overlaps(id)
    );
    Ok(Ran::Yes)
}

/// A sale that is open, and its names.
async fn opened(repo: &Rig) -> Result<SaleRef, Violation> {
    let sale = create_sale(&**repo, 7).await?.key();
    repo.opened(&sale, 1).await?;
    Ok(sale)
}

async fn a_recovery_begins_once_per_epoch(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let scheduled = create_sale(&*repo, 7).await?.key();
    let same = repo.recover(&scheduled).await?;
    ensure_eq!(
        "a scheduled sale",
        same.map(|sale| sale.epoch),
        Some(Epoch::FIRST)
    );
    let sale = opened(&repo).await?;
    let begun = repo.recover(&sale).await?;
    let Some(begun) = begun else {
        return Err(Violation::new("a sale that is there must be found"));
    };
    let next = sale.epoch.next();
    ensure_eq!(
        "phase and epoch",
        (begun.phase, begun.epoch),
        (Phase::Recovering, next)
    );
    ensure_eq!("the seal", begun.sealed, sale.epoch);
    ensure_eq!("the sale", found(&repo, sale.id).await?, begun);
    for key in [sale, begun.key()] {
        ensure_eq!("once more", repo.recover(&key).await?, Some(begun.clone()));
    }
    ensure_eq!("an unknown sale", repo.recover(&fresh_sale()).await?, None);
    ensure_eq!("an unknown sale", repo.seal(&fresh_sale()).await?, None);
    Ok(Ran::Yes)
}

async fn a_recovered_sale_is_opened_when_it_is_sealed(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let sale = opened(&repo).await?;
    repo.recover(&sale).await?;
    let next = SaleRef {
        epoch: sale.epoch.next(),
        ..sale
    };
    repo.opened(&next, 1).await?;
    ensure_eq!(
        "not sealed",
        found(&repo, sale.id).await?.phase,
        Phase::Recovering
    );
    repo.seal(&sale).await?;
    ensure_eq!(
        "the older seal",
        found(&repo, sale.id).await?.sealed,
        sale.epoch
    );
    let sealed = repo.seal(&next).await?;
    ensure_eq!("the seal", sealed.map(|sale| sale.sealed), Some(next.epoch));
    repo.opened(&sale, 1).await?;
    ensure_eq!(
        "another epoch",
        found(&repo, sale.id).await?.phase,
        Phase::Recovering
    );
    repo.change(sale.id, SaleChange::Pause, None).await?;
    repo.opened(&next, 1).await?;
    ensure_eq!(
        "held meanwhile",
        found(&repo, sale.id).await?.phase,
        Phase::Paused
    );
    let again = repo.recover(&next).await?;
    ensure_eq!(
        "the next loss",
        again.map(|sale| sale.epoch),
        Some(next.epoch.next())
    );
    Ok(Ran::Yes)
}

async fn a_closed_sale_recovers_and_stays_closed(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let sale = opened(&repo).await?;
    repo.change(sale.id, SaleChange::Close, None).await?;
    let begun = repo.recover(&sale).await?;
    let begun = begun.map(|sale| (sale.phase, sale.epoch, sale.is_recovering()));
    let next = SaleRef {
        epoch: sale.epoch.next(),
        ..sale
    };
    ensure_eq!("the sale", begun, Some((Phase::Closed, next.epoch, true)));
    repo.seal(&next).await?;
    repo.opened(&next, 1).await?;
    let sale = found(&repo, sale.id).await?;
    ensure_eq!(
        "the sale",
        (sale.phase, sale.is_recovering()),
        (Phase::Closed, false)
    );
    Ok(Ran::Yes)
}

async fn sales_are_listed_by_ascending_id(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let mut sales = Vec::new();
    for stock in 1..=4 {
        sales.push(create_sale(&*repo, stock).await?);
    }
    let listed = repo.list().await?;
    let ids: Vec<_> = listed.iter().map(|sale| sale.id).collect();
    ensure!(
        ids.is_sorted_by(|a, b| a < b),
        "ids must ascend, are {ids:?}"
    );
    let ours: Vec<_> = listed
        .into_iter()
        .filter(|sale| sales.contains(sale))
        .collect();
    ensure_eq!("the sales", ours, sales);
    Ok(Ran::Yes)
}

async fn an_unknown_sale_is_not_found(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    ensure_eq!("an unknown sale", repo.find(fresh_sale().id).await?, None);
    Ok(Ran::Yes)
}

async fn the_first_changed_returns_at_once(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let seen = repo.changed(Revision::default()).await?;
    ensure!(
        seen != Revision::default(),
        "a revision must be told apart from the first"
    );
    Ok(Ran::Yes)
}

async fn a_change_wakes_who_waits_for_it(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let seen = repo.changed(Revision::default()).await?;
    let before = repo.list().await?.len();
    let waiting = {
        let repo = Arc::clone(&repo);
        async move {
            let mut seen = seen;
            while repo.list().await?.len() <= before {
                seen = repo.changed(seen).await?;
            }
            Ok(())
        }
    };
    let creating = {
        let repo = Arc::clone(&repo);
        async move { repo.create(&fresh_new_sale(3)).await.map(|_| ()) }
    };
    let tasks: [Pinned; 2] = [Box::pin(waiting), Box::pin(creating)];
    race(rigs, tasks.into_iter()).await?;
    let sale = create_sale(&*repo, 3).await?;
    let seen = repo.changed(Revision::default()).await?;
    repo.change(sale.id, SaleChange::Close, None).await?;
    ensure_moves(&repo, seen, "a change").await?;
    Ok(Ran::Yes)
}

type Pinned = std::pin::Pin<Box<dyn Future<Output = Result<(), PortError>> + Send>>;

/// Checks that what has happened since `seen` is told, early returns or not.
async fn ensure_moves(repo: &Rig, seen: Revision, what: &str) -> Result<(), Violation> {
    const EARLY_RETURNS_MAX: usize = 1_000;
    for _ in 0..EARLY_RETURNS_MAX {
        if repo.changed(seen).await? != seen {
            return Ok(());
        }
    }
    Err(Violation::new(format!("{what} is not told")))
}

async fn sales_survive_a_reopen(rigs: Rigs<'_>) -> Checked {
    if !rigs.durable() {
        return Ok(Ran::Skipped);
    }
    let place = fresh_place("sales");
    let repo = rigs.open(&place).await?;
    let new = fresh_new_sale(7);
    let created = create(&repo, &new).await?;
    let id = created.id;
    repo.opened(&created.key(), 1).await?;
    repo.change(id, SaleChange::Restock(3), None).await?;
    repo.change(id, SaleChange::Withdraw(1), None).await?;
    repo.recover(&created.key()).await?;
    repo.change(id, SaleChange::Pause, None).await?;
    let (sale, events) = (found(&repo, id).await?, repo.events(id, 0).await?);
    drop(repo);
    let repo = rigs.open(&place).await?;
    ensure_eq!("the sale", found(&repo, id).await?, sale);
    ensure_eq!("its changes", repo.events(id, 0).await?, events);
    let why = refused(&repo, &new).await?;
    ensure_eq!("an overlapping sale", why, NewSaleRefused::Overlaps(id));
    let later = create(&repo, &again(&new, 5, 6)).await?;
    ensure!(later.id > id, "ids must go on growing after a reopen");
    ensure_eq!("the product", later.product, sale.product);
    ensure_eq!("the window of the first", sale.window, WINDOW);
    Ok(Ran::Yes)
}
