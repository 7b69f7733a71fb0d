//! Stories in which something is wrong, to show that the judge sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::books::{Books, Row};
use crate::dice::Dice;
use crate::faults::{Fault, Kind, Target};
use crate::history::{Ask, Event, Moment, Told};
use crate::judge::judge;
use crate::options::Engine;
use crate::sale::Played;
use crate::shop::{Deeds, Moved};
use crate::sighting::{Change, Sighting};
use crate::user::User;

/// Shows that the judge finds nothing in a good story and sees what is wrong in bad ones.
pub(crate) fn prove() {
    expect(&[], |_| {});
    expect(&["oversold", "conservation"], |story| {
        story.books.stock = 0;
        story.initial = 0;
    });
    expect(&["conservation"], |story| story.books.stock = 4);
    expect(&["stock store"], |story| story.books.key = Some(2));
    expect(&["stock store"], |story| {
        story.books.audit = json!({"store": {"available": 0}});
    });
    expect(&["audit"], |story| story.books.audit_code = Some(2));
    expect(&["order of nobody", "sold out"], |story| {
        let rows = story.books.orders["ann"].clone();
        story.books.orders.insert("eve".to_owned(), rows);
        story.books.orders.remove("ann");
        story.users[0].events.clear();
    });
    expect(&["unique", "conservation"], |story| {
        let rows = story.books.orders.get_mut("ann").unwrap();
        rows.push(rows[0].clone());
    });
    expect(&["over-promise", "told success", "conservation"], |story| {
        story.books.orders.get_mut("ann").unwrap()[0].failed = Some("NO_STOCK".to_owned());
    });
    expect(&["lost attempt", "conservation", "sold out"], |story| {
        story.books.orders.remove("ann");
        story.users[0].events.pop();
    });
    expect(&["told success", "conservation", "sold out"], |story| {
        story.books.orders.remove("ann");
        story.users[0].events.drain(..2);
    });
    for told in [Told::Pending, Told::Failed, Told::Nothing, Told::SoldOut] {
        let rules: &[&str] = match told {
            Told::Failed => &["monotone", "told failed", "forgotten"],
            Told::SoldOut => &["monotone", "sold out", "forgotten"],
            Told::Nothing => &["monotone", "forgotten"],
            _ => &["monotone"],
        };
        expect(rules, |story| tell(story, 0, 9_000, 1, told.clone()));
    }
    expect(&["sold out"], |story| {
        tell(story, 1, 20_000, 1, Told::SoldOut)
    });
    expect(&["odd answer"], |story| {
        tell(story, 1, 3_000, 1, Told::Odd("500".to_owned()))
    });
    expect(&["budget"], |story| {
        tell(story, 1, 3_000, 4_000, Told::Unavailable)
    });
    expect(&["budget"], |story| {
        // Frozen for a part of that time only.
        tell(story, 1, 3_000, 6_000, Told::Unavailable);
        freeze(story, 3_000, 5_000);
    });
    expect(&[], |story| {
        tell(story, 1, 3_000, 4_000, Told::Unavailable);
        freeze(story, 3_000, 6_000);
    });
    // A unit that was put in may be told as sold out for as long as a fault keeps it unseen.
    expect(&[], |story| {
        tell(story, 1, 20_000, 1, Told::SoldOut);
        freeze(story, 4_000, 19_000);
    });
    prove_changes();
}

/// Shows the same of what the shop changes.
fn prove_changes() {
    // A unit that was taken out need not be there, and need not be sold.
    expect(&[], |story| {
        story.deeds.withdrawals.push(moved(1, 8_000));
        story.books.stock = 1;
        story.books.remaining = 0;
        story.books.audit = json!({"store": {"available": 0}});
        tell(story, 1, 20_000, 1, Told::SoldOut);
    });
    expect(&["conservation"], |story| {
        story.deeds.withdrawals.push(moved(1, 8_000));
    });
    expect(&["sold out"], |story| {
        // It was taken out after that.
        story.deeds.withdrawals.push(moved(1, 30_000));
        story.books.stock = 1;
        story.books.remaining = 0;
        story.books.audit = json!({"store": {"available": 0}});
        tell(story, 1, 20_000, 1, Told::SoldOut);
    });
    expect(&["odd answer"], |story| {
        tell(story, 1, 20_000, 1, Told::Ended)
    });
    expect(&["odd answer"], |story| {
        story.deeds.closing = Some(at(21_000));
        tell(story, 1, 20_000, 1, Told::Ended);
    });
    expect(&[], |story| {
        story.deeds.closing = Some(at(20_000));
        tell(story, 1, 20_000, 1, Told::Ended);
    });
    expect(&[], |story| see(story, Some(at(10_040))));
    expect(&["unseen"], |story| see(story, None));
    expect(&[], |story| {
        see(story, None);
        freeze(story, 12_000, 13_000);
    });
    expect(&["unseen"], |story| {
        see(story, None);
        freeze(story, 1_000, 2_000);
    });
    expect(&[], |story| {
        see(story, None);
        story.deeds.sightings[0].certain = false;
    });
}

/// A pause is seen by the first process, and at this moment by the second.
fn see(story: &mut Played, second: Option<Moment>) {
    story.deeds.sightings.push(Sighting {
        change: Change::Pause,
        rush: true,
        certain: true,
        began: at(9_900),
        confirmed: at(10_000),
        seen: vec![Some(at(10_010)), second],
        ended: at(20_000),
    });
}

fn moved(units: u64, ended: u64) -> Moved {
    Moved {
        units,
        began: at(ended - 100),
        ended: at(ended),
        confirmed: true,
    }
}

/// Ann buys the only unit, Bob does not, and later one more is put in.
fn story() -> Played {
    let accepted = |bought| Told::Accepted {
        attempt: "a".to_owned(),
        bought,
        logged: true,
    };
    let row = Row {
        attempt: "a".to_owned(),
        failed: None,
        decided: at(1_500),
        reserved: at(1_000),
    };
    let mut story = Played {
        sale: 1,
        initial: 1,
        deeds: Deeds {
            restocks: vec![moved(1, 5_000)],
            ..Deeds::default()
        },
        users: ["ann", "bob"].map(user).into(),
        faults: Vec::new(),
        began: Duration::ZERO,
        late: Vec::new(),
        books: Books {
            orders: HashMap::from([("ann".to_owned(), vec![row])]),
            stock: 2,
            remaining: 1,
            key: None,
            audit: json!({"store": {"available": 1}}),
            audit_code: Some(0),
        },
        settled_in: Duration::ZERO,
    };
    tell(&mut story, 0, 1_000, 1, accepted(false));
    tell(&mut story, 0, 2_000, 1, accepted(true));
    tell(&mut story, 0, 2_500, 1, Told::Success);
    tell(&mut story, 1, 2_000, 1, Told::SoldOut);
    tell(&mut story, 1, 2_500, 1, Told::Nothing);
    story
}

fn user(name: &str) -> User {
    let dice = &mut Dice::new(1, 1);
    User::new(name.to_owned(), Arc::from(""), Duration::ZERO, dice)
}

const fn at(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

fn tell(story: &mut Played, user: usize, sent: u64, took: u64, told: Told) {
    let ask = match told {
        Told::Success | Told::Pending | Told::Failed | Told::Nothing => Ask::Status,
        _ => Ask::Attempt,
    };
    story.users[user].events.push(Event {
        ask,
        api: 0,
        sent: at(sent),
        answered: at(sent + took),
        told,
    });
}

fn freeze(story: &mut Played, began: u64, over: u64) {
    story.faults.push(Fault {
        target: Target::Process(0),
        kind: Kind::Freeze,
        began: at(began),
        over: at(over),
    });
}

/// Demands that these rules are broken, and no others.
fn expect(rules: &[&str], change: impl FnOnce(&mut Played)) {
    let mut story = story();
    change(&mut story);
    let found = judge(Engine::Distributed, &story);
    let all = found
        .iter()
        .all(|violation| rules.contains(&violation.rule));
    let each = |rule: &&str| found.iter().any(|violation| violation.rule == *rule);
    assert!(
        all && rules.iter().all(each),
        "{rules:?} expected, but {found:#?}"
    );
}
