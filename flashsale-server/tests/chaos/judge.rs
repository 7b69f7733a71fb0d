use std::time::Duration;

use crate::faults::{Fault, Kind, Target};
use crate::history::{Ask, Event, Moment, Told};
use crate::options::Engine;
use crate::sale::Played;
use crate::shop::Moved;
use crate::user::User;

/// Something that must never happen.
#[derive(Debug)]
pub(crate) struct Violation {
    /// What is broken, in a few words that are the same each time.
    pub(crate) rule: &'static str,
    pub(crate) what: String,
    /// Whom it happened to, by the place among the users of the sale.
    pub(crate) user: Option<usize>,
}

/// How long an answer may take while its process is up and not frozen: 400 ms for Redis and 250 ms
/// for Kafka, by the documented budgets, and what two busy cores add.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(3);
/// A restock can be bought for certain after this much time without faults.
const VISIBLE_AFTER: Duration = Duration::from_secs(3);
/// For so long a process may say from memory that everything is sold.
const SOLD_OUT_MEMORY: Duration = Duration::from_millis(300);

/// Judges a sale that is at rest by what its users were told and what its stores say.
pub(crate) fn judge(engine: Engine, played: &Played) -> Vec<Violation> {
    let found = played.late.iter();
    let mut found: Vec<_> = found.map(|late| whole("late", late.clone())).collect();
    books(played, &mut found);
    for (index, user) in played.users.iter().enumerate() {
        let mut complain = |rule, what: String| {
            found.push(Violation {
                rule,
                what: format!("{}: {what}", user.name),
                user: Some(index),
            });
        };
        decisions(played, user, &mut complain);
        answers(user, played, &mut complain);
        budgets(engine, user, &played.faults, &mut complain);
    }
    sold_out(engine, played, &mut found);
    sightings(played, &mut found);
    found
}

fn whole(rule: &'static str, what: String) -> Violation {
    let user = None;
    Violation { rule, what, user }
}

/// Whether all units add up.
fn books(played: &Played, found: &mut Vec<Violation>) {
    let books = &played.books;
    let mut demand = |rule, holds: bool, what: String| {
        if !holds {
            found.push(whole(rule, what));
        }
    };
    let sold = books.sold();
    let (stock, remaining) = (books.stock, books.remaining);
    demand(
        "oversold",
        sold <= stock,
        format!("oversold: {sold} orders for {stock} units"),
    );
    demand(
        "conservation",
        sold + remaining == stock,
        format!("units are lost: {stock} in all, {sold} sold, {remaining} remain"),
    );
    let (restocks, withdrawals) = (&played.deeds.restocks, &played.deeds.withdrawals);
    let units = |moves: &[Moved], confirmed: bool| -> u64 {
        let some = moves.iter().filter(|moved| moved.confirmed || !confirmed);
        some.map(|moved| moved.units).sum()
    };
    let put_in = |confirmed| played.initial + units(restocks, confirmed);
    let least = put_in(true).saturating_sub(units(withdrawals, false));
    let most = put_in(false).saturating_sub(units(withdrawals, true));
    demand(
        "conservation",
        (least..=most).contains(&stock),
        format!("{stock} units in all, but {least} to {most} were put in and left"),
    );
    let available = &books.audit["store"]["available"];
    demand(
        "stock store",
        *available == remaining,
        format!("{remaining} units remain, but the stock store has {available}"),
    );
    if let Some(key) = books.key {
        demand(
            "stock store",
            key == remaining,
            format!("{remaining} units remain, but the key of the stock says {key}"),
        );
    }
    let (code, audit) = (books.audit_code, &books.audit);
    demand(
        "audit",
        code == Some(0),
        format!("audit ends with {code:?}: {audit}"),
    );
    for name in books.orders.keys() {
        let tried = |user: &User| user.name == *name && !user.events.is_empty();
        demand(
            "order of nobody",
            played.users.iter().any(tried),
            format!("{name} has an order and never tried"),
        );
    }
}

/// Whether the decisions about a user are possible, and fit what the user was told.
fn decisions(played: &Played, user: &User, complain: &mut impl FnMut(&'static str, String)) {
    let rows = played.books.orders.get(&user.name);
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    let successes = rows.iter().filter(|row| row.failed.is_none()).count();
    if successes > 1 {
        complain("unique", format!("{successes} orders of one user"));
    }
    // A store that lost something may have promised units twice.
    let lost = played.lost();
    for row in rows.iter().filter(|_| !lost) {
        if let Some(reason) = &row.failed {
            let attempt = &row.attempt;
            complain(
                "over-promise",
                format!(
                    "attempt {attempt} was accepted and failed ({reason}), though no store lost anything"
                ),
            );
        }
    }
    if let Some(last) = user.events.last()
        && successes > 0
        && matches!(last.told, Told::Failed | Told::Nothing | Told::SoldOut)
    {
        complain(
            "forgotten",
            format!("has an order, and was told at last: {last}"),
        );
    }
    for event in &user.events {
        match &event.told {
            Told::Accepted {
                attempt, logged, ..
            } => {
                let may_vanish = lost && !logged;
                if !may_vanish && !rows.iter().any(|row| row.attempt == *attempt) {
                    complain(
                        "lost attempt",
                        format!("attempt {attempt} was accepted and is not decided"),
                    );
                    return;
                }
            }
            Told::Success if successes == 0 => {
                complain(
                    "told success",
                    "told SUCCESS, but there is no order".to_owned(),
                );
                return;
            }
            Told::Failed if rows.iter().all(|row| row.failed.is_none()) => {
                complain(
                    "told failed",
                    "told FAILED, but no attempt has failed".to_owned(),
                );
                return;
            }
            _ => {}
        }
        if let Told::Accepted {
            attempt,
            bought: true,
            ..
        } = &event.told
        {
            let bought = |row: &&crate::books::Row| row.attempt == *attempt && row.failed.is_none();
            if !rows.iter().any(|row| bought(&row)) {
                complain(
                    "told success",
                    format!("told that {attempt} has bought, but it is no order"),
                );
            }
        }
    }
}

/// Whether what a user was told is possible, one answer after the other.
fn answers(user: &User, played: &Played, complain: &mut impl FnMut(&'static str, String)) {
    let rows = played.books.orders.get(&user.name);
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    let failed = |attempt: &str| {
        let row = rows.iter().find(|row| row.attempt == attempt);
        // What a store lost may be told as if it had never been, but not what was told as bought.
        played.lost() || row.is_some_and(|row| row.failed.is_some())
    };
    for (place, event) in user.events.iter().enumerate() {
        if let Told::Odd(answer) = &event.told {
            complain(
                "odd answer",
                format!("an answer that nobody expects: {answer}"),
            );
        }
        let closing = played.deeds.closing;
        if event.told == Told::Ended && closing.is_none_or(|closing| event.answered < closing) {
            let what = "told that the sale is over before anybody ended it".to_owned();
            complain("odd answer", what);
        }
        let before = user.events[..place]
            .iter()
            .filter(|before| before.answered <= event.sent);
        let after = &event.told;
        for before in before {
            let contradicts = match (&before.told, after) {
                (before, Told::Success) if before.bought() => false,
                (
                    Told::Accepted { attempt: a, .. },
                    Told::Accepted {
                        attempt: b, bought, ..
                    },
                ) => a != b && !failed(a) || before.told.bought() && !bought,
                (before, Told::Accepted { bought, .. }) if before.bought() => !bought,
                (before, Told::Pending | Told::Failed | Told::Nothing | Told::SoldOut)
                    if before.bought() =>
                {
                    true
                }
                (Told::Accepted { attempt, .. }, Told::Nothing | Told::SoldOut) => !failed(attempt),
                (Told::Accepted { attempt, .. }, Told::Failed) => !failed(attempt),
                (Told::Pending, Told::Nothing | Told::SoldOut) => {
                    !played.lost() && rows.iter().all(|row| row.failed.is_none())
                }
                _ => false,
            };
            if contradicts {
                let lost = played.lost() && before.told.bought();
                complain(
                    if lost {
                        "monotone after a loss"
                    } else {
                        "monotone"
                    },
                    format!("told {:?}, and then {after:?}", before.told),
                );
                return;
            }
        }
    }
}

/// Whether each answer came in time.
fn budgets(
    engine: Engine,
    user: &User,
    faults: &[Fault],
    complain: &mut impl FnMut(&'static str, String),
) {
    for event in &user.events {
        let took = own_time(engine, event, faults);
        if took > ANSWER_MAX {
            complain("budget", format!("no answer for {took:.1?}: {event}"));
        }
    }
}

/// How long a request took, without the time in which its process could not run.
pub(crate) fn own_time(engine: Engine, event: &Event, faults: &[Fault]) -> Duration {
    let excuses = faults.iter().filter(|fault| {
        let stops = match fault.kind {
            Kind::Freeze => true,
            Kind::Cut | Kind::Hold => engine == Engine::Embedded,
            Kind::Kill | Kind::Flush | Kind::Rollback => false,
        };
        stops && fault.target == Target::Process(event.api)
    });
    let excused: Duration = excuses
        .map(|fault| {
            let until = fault.over.min(event.answered);
            until.saturating_sub(fault.began.max(event.sent))
        })
        .sum();
    (event.answered - event.sent).saturating_sub(excused)
}

/// Whether somebody was told that everything is sold while units were certainly left: fewer
/// attempts than units can have taken any until then.
fn sold_out(engine: Engine, played: &Played, found: &mut Vec<Violation>) {
    let mut units = vec![(played.began, played.initial)];
    let restocks = played.deeds.restocks.iter();
    let confirmed = restocks.filter(|restock| restock.confirmed);
    units.extend(confirmed.map(|restock| (certain(restock.ended, &played.faults), restock.units)));
    let takers = takers(engine, played);
    for (index, user) in played.users.iter().enumerate() {
        for event in user
            .events
            .iter()
            .filter(|event| event.told == Told::SoldOut)
        {
            let since = event.sent.saturating_sub(SOLD_OUT_MEMORY);
            let there = units.iter().filter(|(from, _)| *from <= since);
            let there: u64 = there.map(|(_, units)| units).sum();
            let withdrawals = played.deeds.withdrawals.iter();
            let gone = withdrawals.filter(|moved| moved.began <= event.answered);
            let gone: u64 = gone.map(|moved| moved.units).sum();
            let there = there.saturating_sub(gone);
            let taking = takers.iter().filter(|(from, until)| {
                *from <= event.answered && until.is_none_or(|until| until >= since)
            });
            let taken = taking.count() as u64;
            if taken < there {
                found.push(Violation {
                    rule: "sold out",
                    what: format!(
                        "{}: told SOLD_OUT, but at most {taken} of {there} units were taken: {event}",
                        user.name
                    ),
                    user: Some(index),
                });
                break;
            }
        }
    }
}

/// Whether each process showed what the shop has changed.
fn sightings(played: &Played, found: &mut Vec<Violation>) {
    let sightings = played.deeds.sightings.iter();
    for sighting in sightings.filter(|sighting| sighting.is_missing(&played.faults)) {
        let what = format!("a process does not show what the shop has changed: {sighting:?}");
        found.push(whole("unseen", what));
    }
}

/// From when on everybody has to see what was done at this moment.
fn certain(done: Moment, faults: &[Fault]) -> Moment {
    let mut certain = done;
    // A fault in the time that it needs puts it off, and so may another one then.
    while let Some(fault) = faults
        .iter()
        .find(|fault| fault.began < certain + VISIBLE_AFTER && fault.over > certain)
    {
        certain = fault.over;
    }
    certain + VISIBLE_AFTER
}

/// From when until when a unit may have been taken by each attempt that took one. What took one in
/// the distributed engine is decided for ever; a server of the embedded engine that is killed
/// forgets what it has not written.
fn takers(engine: Engine, played: &Played) -> Vec<(Moment, Option<Moment>)> {
    let mut takers = Vec::new();
    for user in &played.users {
        let mut attempts = user.events.iter().filter(|event| event.ask == Ask::Attempt);
        let Some(first) = attempts.clone().next() else {
            continue;
        };
        match played.books.orders.get(&user.name) {
            Some(rows) => takers.extend(rows.iter().map(|_| (first.sent, None))),
            None if engine == Engine::Embedded => {
                let lost = attempts.find(|event| {
                    matches!(event.told, Told::Lost(_) | Told::Hung | Told::Unavailable)
                });
                let memory = Duration::from_secs(1);
                takers.extend(lost.map(|event| (event.sent, Some(event.answered + memory))));
            }
            None => {}
        }
    }
    takers
}
