use std::sync::Arc;

use super::{ensure_invalid, fresh_place};
use crate::domain::{Attempt, Epoch};
use crate::ports::{BATCH_MAX, DeadItem, DeadLetter, DeadLetterContent, DeadLetterRepo};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, run_cases};
use crate::testing::samples::{self, units, user};
use crate::testing::{Fixture, Report, Violation};

type Rigs<'a> = &'a dyn Fixture<Arc<dyn DeadLetterRepo>>;

/// Checks a [`DeadLetterRepo`] against its contract. Its cases may share a repository.
pub async fn dead_letter_repo(fixture: &dyn Fixture<Arc<dyn DeadLetterRepo>>) -> Report {
    let mut report = Report::new("DeadLetterRepo");
    run_cases!(
        report,
        fixture,
        [
            an_item_is_kept_as_it_came,
            an_attempt_is_kept_as_it_was,
            a_position_is_kept_once,
            items_come_by_ascending_id_after_one_and_up_to_a_number,
            an_item_is_replayed_once,
            an_unknown_item_is_nothing,
            a_larger_batch_is_refused_as_a_whole,
        ]
    );
    report
}

fn item(payload: &[u8]) -> DeadItem {
    DeadItem {
        position: format!("place {}", samples::fresh_number()),
        problem: "not an attempt".to_owned(),
        content: DeadLetterContent::Undecodable(payload.to_vec()),
    }
}

/// All letters whose items are these, by ascending id.
async fn kept(repo: &dyn DeadLetterRepo, items: &[DeadItem]) -> Result<Vec<DeadLetter>, Violation> {
    let (mut letters, mut after) = (Vec::new(), None);
    loop {
        let page = repo.list(after, 100).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        letters.extend(page);
    }
    letters.retain(|letter| items.iter().any(|i| i.position == letter.item.position));
    Ok(letters)
}

async fn keep_one(repo: &dyn DeadLetterRepo, item: &DeadItem) -> Result<DeadLetter, Violation> {
    let items = std::slice::from_ref(item);
    repo.keep(items).await?;
    let mut letters = kept(repo, items).await?;
    ensure_eq!("the number of letters", letters.len(), 1);
    letters.pop().ok_or_else(|| Violation::new("it is lost"))
}

async fn an_item_is_kept_as_it_came(rigs: Rigs<'_>) -> Checked {
    let repo = rigs.open(&fresh_place("letters")).await?;
    for payload in [&b"text"[..], b"", b"\x00\xff\xfe", b"attempt=1"] {
        let item = item(payload);
        let letter = keep_one(&*repo, &item).await?;
        ensure_eq!("the item", &letter.item, &item);
        ensure_eq!("replayed", letter.replayed_at, None);
        let found = repo.find(letter.id).await?;
        ensure_eq!("the letter by its id", found, Some(letter));
    }
    Ok(Ran::Yes)
}

async fn an_attempt_is_kept_as_it_was(rigs: Rigs<'_>) -> Checked {
    let repo = rigs.open(&fresh_place("letters")).await?;
    let plain = samples::attempt(&samples::fresh_sale(), user(1), 5);
    // The numbers may be what was wrong with it.
    let extreme = Attempt {
        id: samples::fresh_attempt_id(),
        quantity: units(u32::MAX),
        epoch: Epoch::new(u32::MAX),
        seq: u64::MAX,
        reserved_at: crate::domain::Timestamp::from_millis(i64::MIN),
        ..plain.clone()
    };
    for attempt in [plain, extreme] {
        let item = DeadItem {
            position: format!("attempt {}", attempt.id),
            problem: "no such sale".to_owned(),
            content: DeadLetterContent::Attempt(attempt),
        };
        let letter = keep_one(&*repo, &item).await?;
        ensure_eq!("the item", letter.item, item);
    }
    Ok(Ran::Yes)
}

async fn a_position_is_kept_once(rigs: Rigs<'_>) -> Checked {
    let repo = rigs.open(&fresh_place("letters")).await?;
    let first = item(b"first");
    let second = DeadItem {
        position: first.position.clone(),
        ..item(b"second")
    };
    let letter = keep_one(&*repo, &first).await?;
    repo.keep(&[second.clone(), first.clone(), second]).await?;
    let all = kept(&*repo, &[first]).await?;
    ensure_eq!("the letters", all, vec![letter]);
    Ok(Ran::Yes)
}

async fn items_come_by_ascending_id_after_one_and_up_to_a_number(rigs: Rigs<'_>) -> Checked {
    let repo = rigs.open(&fresh_place("letters")).await?;
    let items: Vec<_> = (0..5).map(|_| item(b"x")).collect();
    repo.keep(&items).await?;
    let letters = kept(&*repo, &items).await?;
    let positions: Vec<_> = letters.iter().map(|letter| &letter.item.position).collect();
    let expected: Vec<_> = items.iter().map(|item| &item.position).collect();
    ensure_eq!("the order", positions, expected);
    ensure!(letters.is_sorted_by(|a, b| a.id < b.id), "ids must ascend");
    let page = repo.list(Some(letters[1].id), 2).await?;
    ensure_eq!("a page", page.len(), 2);
    ensure!(
        page.iter().all(|letter| letter.id > letters[1].id),
        "only later letters may come"
    );
    ensure_eq!("no letters", repo.list(None, 0).await?.len(), 0);
    Ok(Ran::Yes)
}

async fn an_item_is_replayed_once(rigs: Rigs<'_>) -> Checked {
    let repo = rigs.open(&fresh_place("letters")).await?;
    let letter = keep_one(&*repo, &item(b"x")).await?;
    repo.replayed(letter.id).await?;
    let once = repo.find(letter.id).await?;
    ensure!(
        once.as_ref()
            .is_some_and(|letter| letter.replayed_at.is_some()),
        "the letter must be marked"
    );
    repo.replayed(letter.id).await?;
    let twice = repo.find(letter.id).await?;
    ensure_eq!("after the second time", twice, once);
    Ok(Ran::Yes)
}

async fn an_unknown_item_is_nothing(rigs: Rigs<'_>) -> Checked {
    let repo = rigs.open(&fresh_place("letters")).await?;
    ensure_eq!("an unknown letter", repo.find(i64::MAX).await?, None);
    repo.replayed(i64::MAX).await?;
    ensure_eq!("after a replay", repo.find(i64::MAX).await?, None);
    Ok(Ran::Yes)
}

async fn a_larger_batch_is_refused_as_a_whole(rigs: Rigs<'_>) -> Checked {
    let repo = rigs.open(&fresh_place("letters")).await?;
    let items: Vec<_> = (0..=BATCH_MAX).map(|_| item(b"x")).collect();
    ensure_invalid("keep", repo.keep(&items).await)?;
    ensure_eq!("the letters", kept(&*repo, &items).await?, vec![]);
    repo.keep(&items[1..]).await?;
    ensure_eq!("the largest", kept(&*repo, &items).await?.len(), BATCH_MAX);
    Ok(Ran::Yes)
}
