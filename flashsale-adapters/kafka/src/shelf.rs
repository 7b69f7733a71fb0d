use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flashsale_core::ports::{Delivery, Undecodable};
use tokio::sync::Notify;

use crate::bell::Bell;

/// What lies between a reader and the thread that reads for it.
///
/// For each partition, what was handed out since the last commit and what waits are one unbroken
/// stretch of the partition, in order. So a commit never passes over what nobody has read: a
/// partition that goes to another reader takes all of its items with it.
#[derive(Debug)]
pub(crate) struct Shelf {
    items: Mutex<Items>,
    arrived: Notify,
    /// Wakes the thread when there is room again.
    bell: Arc<Bell>,
    items_max: usize,
}

#[derive(Debug, Default)]
struct Items {
    /// The partitions that this reader has.
    owned: HashSet<i32>,
    waiting: VecDeque<Item>,
    /// Handed out and not committed.
    lent: VecDeque<Item>,
    /// Where to go on in partitions with items that are done, but whose commit was not confirmed in
    /// time.
    owed: BTreeMap<i32, i64>,
    /// What the waiting items weigh.
    bytes: usize,
    /// Nothing more will come.
    ended: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) delivery: Delivery,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// What was on the shelf.
#[derive(Debug)]
pub(crate) enum Taken {
    Items(Vec<Delivery>),
    /// Too much is handed out and not committed.
    TooMuch,
    /// Nothing more will come.
    Ended,
}

/// The most items that may be handed out and not committed.
pub(crate) const UNCOMMITTED_MAX: usize = 65_536;
/// The most bytes of items that cannot be read; attempts are small.
const BYTES_MAX: usize = 16 << 20;

impl Shelf {
    pub(crate) fn new(items_max: usize, bell: Arc<Bell>) -> Self {
        Self {
            items: Mutex::default(),
            arrived: Notify::new(),
            bell,
            items_max,
        }
    }

    /// The next items, `max` at most. Waits for the first until `deadline`.
    pub(crate) async fn take(&self, max: usize, deadline: tokio::time::Instant) -> Taken {
        loop {
            let arrived = self.arrived.notified();
            let mut arrived = std::pin::pin!(arrived);
            // Listens before it looks, so that nothing that arrives in between is missed.
            arrived.as_mut().enable();
            match self.take_now(max) {
                Taken::Items(items) if items.is_empty() && max > 0 => {}
                taken => return taken,
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return self.take_now(max);
            }
        }
    }

    fn take_now(&self, max: usize) -> Taken {
        let mut items = self.items();
        if items.ended {
            return Taken::Ended;
        }
        let count = items.waiting.len().min(max);
        if items.lent.len() + count > UNCOMMITTED_MAX {
            return Taken::TooMuch;
        }
        let had_no_room = !self.roomy(&items);
        let taken: Vec<_> = items.waiting.drain(..count).collect();
        items.bytes -= taken.iter().map(Item::bytes).sum::<usize>();
        items.lent.extend(taken.iter().cloned());
        if had_no_room && self.roomy(&items) {
            self.bell.room();
        }
        Taken::Items(taken.into_iter().map(|item| item.delivery).collect())
    }

    /// Where to go on in each partition once everything that is handed out is done.
    pub(crate) fn marks(&self) -> BTreeMap<i32, i64> {
        let items = self.items();
        let mut marks = items.owed.clone();
        // Later items of a partition come later.
        let lent = items.lent.iter();
        marks.extend(lent.map(|item| (item.partition, item.offset + 1)));
        marks
    }

    /// Everything that was handed out is done, and committed.
    pub(crate) fn committed(&self) {
        let mut items = self.items();
        items.lent.clear();
        items.owed.clear();
    }

    /// Everything that was handed out is done, but perhaps not committed.
    pub(crate) fn owe(&self) {
        let mut items = self.items();
        let Items { lent, owed, .. } = &mut *items;
        owed.extend(lent.drain(..).map(|item| (item.partition, item.offset + 1)));
    }

    /// Those of these marks that are still to be committed. A partition that was taken away is at
    /// another mark by now, also if it is back.
    pub(crate) fn due(&self, marks: &BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
        let items = self.items();
        let lent: HashSet<_> = items.lent.iter().map(|item| item.partition).collect();
        let due = |partition: &i32| lent.contains(partition) || items.owed.contains_key(partition);
        let marks = marks.iter().filter(|(partition, _)| due(partition));
        marks.map(|(partition, mark)| (*partition, *mark)).collect()
    }

    /// The marks that are to be committed some time.
    pub(crate) fn owed(&self) -> BTreeMap<i32, i64> {
        self.items().owed.clone()
    }

    /// These marks are committed, or need not be.
    pub(crate) fn paid(&self, marks: &BTreeMap<i32, i64>) {
        let owed = &mut self.items().owed;
        owed.retain(|partition, mark| marks.get(partition).is_none_or(|paid| *mark > *paid));
    }

    /// What was handed out waits again, before everything else. Says whether there is any use in
    /// that: once nothing more will come, there is none.
    pub(crate) fn take_back(&self) -> bool {
        let mut items = self.items();
        let Items {
            waiting,
            lent,
            bytes,
            ended,
            ..
        } = &mut *items;
        *bytes += lent.iter().map(Item::bytes).sum::<usize>();
        lent.append(waiting);
        std::mem::swap(waiting, lent);
        self.arrived.notify_one();
        !*ended
    }

    /// Adds what has come, unless its partition is somebody else's by now. The reader hears of it
    /// with the next [announcement](Self::announce).
    pub(crate) fn put(&self, item: Item) {
        let mut items = self.items();
        if items.owned.contains(&item.partition) {
            items.bytes += item.bytes();
            items.waiting.push_back(item);
        }
    }

    /// Tells the reader that something has come.
    pub(crate) fn announce(&self) {
        self.arrived.notify_one();
    }

    /// This reader has these partitions, too.
    pub(crate) fn assign(&self, partitions: impl IntoIterator<Item = i32>) {
        self.items().owned.extend(partitions);
    }

    /// These partitions are taken away. Whoever gets them reads on from the last commit.
    pub(crate) fn revoke(&self, partitions: &[i32]) {
        let mut items = self.items();
        for partition in partitions {
            items.owned.remove(partition);
        }
        items.keep_owned();
    }

    /// All partitions are taken away.
    pub(crate) fn revoke_all(&self) {
        let mut items = self.items();
        items.owned.clear();
        items.keep_owned();
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.items().ended = true;
        self.arrived.notify_one();
    }

    /// Whether nothing more should be fetched for now.
    pub(crate) fn is_full(&self) -> bool {
        let items = self.items();
        items.waiting.len() >= self.items_max || items.bytes >= BYTES_MAX
    }

    /// Whether so much room is left that fetching is worth it.
    pub(crate) fn has_room(&self) -> bool {
        self.roomy(&self.items())
    }

    fn roomy(&self, items: &Items) -> bool {
        items.waiting.len() <= self.items_max / 2 && items.bytes <= BYTES_MAX / 2
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Items {
    fn keep_owned(&mut self) {
        let Self {
            owned,
            waiting,
            lent,
            owed,
            bytes,
            ..
        } = self;
        waiting.retain(|item| owned.contains(&item.partition));
        lent.retain(|item| owned.contains(&item.partition));
        owed.retain(|partition, _| owned.contains(partition));
        *bytes = waiting.iter().map(Item::bytes).sum();
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match &self.delivery {
            Delivery::Attempt(_) => 0,
            Delivery::Undecodable(Undecodable { payload, .. }) => payload.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use flashsale_core::ports::{Delivery, Undecodable};

    use super::{BYTES_MAX, Bell, Item, Shelf, Taken, UNCOMMITTED_MAX};

    fn item(partition: i32, offset: i64, size: usize) -> Item {
        let undecodable = Undecodable {
            position: format!("{partition}/{offset}"),
            payload: vec![0; size],
            problem: String::new(),
        };
        Item {
            delivery: Delivery::Undecodable(undecodable),
            partition,
            offset,
        }
    }

    fn shelf(items: &[(i32, i64)]) -> Shelf {
        let shelf = Shelf::new(4, Arc::new(Bell::default()));
        shelf.assign([0, 1]);
        for (partition, offset) in items {
            shelf.put(item(*partition, *offset, 1));
        }
        shelf
    }

    fn take(shelf: &Shelf, max: usize) -> Vec<String> {
        match shelf.take_now(max) {
            Taken::Items(items) => items.into_iter().map(position).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn position(delivery: Delivery) -> String {
        match delivery {
            Delivery::Undecodable(item) => item.position,
            Delivery::Attempt(_) => unreachable!(),
        }
    }

    #[test]
    fn what_was_lent_comes_again_in_its_old_place() {
        let shelf = shelf(&[(0, 5), (1, 7), (0, 6), (1, 8)]);
        assert_eq!(take(&shelf, 3), ["0/5", "1/7", "0/6"]);
        assert_eq!(
            shelf.marks().into_iter().collect::<Vec<_>>(),
            [(0, 7), (1, 8)]
        );
        shelf.take_back();
        assert!(shelf.marks().is_empty());
        assert_eq!(take(&shelf, 9), ["0/5", "1/7", "0/6", "1/8"]);
        shelf.committed();
        shelf.take_back();
        assert!(take(&shelf, 9).is_empty());
    }

    #[test]
    fn a_partition_that_goes_takes_all_its_items_with_it() {
        let shelf = shelf(&[(0, 5), (1, 7), (0, 6), (1, 8)]);
        assert_eq!(take(&shelf, 2), ["0/5", "1/7"]);
        shelf.revoke(&[0]);
        // It was fetched before and comes late.
        shelf.put(item(0, 7, 1));
        assert_eq!(shelf.marks().into_iter().collect::<Vec<_>>(), [(1, 8)]);
        shelf.take_back();
        assert_eq!(take(&shelf, 9), ["1/7", "1/8"]);
        shelf.assign([0]);
        shelf.put(item(0, 5, 1));
        assert_eq!(take(&shelf, 9), ["0/5"]);
    }

    #[test]
    fn it_is_full_by_number_and_by_weight() {
        let shelf = shelf(&[(0, 5), (0, 6), (0, 7)]);
        assert!(!shelf.is_full() && !shelf.has_room());
        shelf.put(item(0, 8, 1));
        assert!(shelf.is_full());
        take(&shelf, 2);
        assert!(shelf.has_room());
        shelf.put(item(0, 9, BYTES_MAX));
        assert!(shelf.is_full());
        take(&shelf, 9);
        shelf.take_back();
        assert!(shelf.is_full());
        shelf.revoke_all();
        assert!(shelf.has_room());
    }

    #[test]
    fn what_is_owed_is_committed_with_the_next() {
        let shelf = shelf(&[(0, 5), (1, 7), (0, 6)]);
        take(&shelf, 2);
        shelf.owe();
        assert!(shelf.take_back());
        assert_eq!(take(&shelf, 9), ["0/6"]);
        let marks: Vec<_> = shelf.marks().into_iter().collect();
        assert_eq!(marks, [(0, 7), (1, 8)]);
        shelf.revoke(&[1]);
        let owed = shelf.owed();
        assert_eq!(owed.iter().collect::<Vec<_>>(), [(&0, &6)]);
        shelf.paid(&owed);
        assert!(shelf.owed().is_empty());
        shelf.committed();
        assert!(shelf.marks().is_empty());
    }

    #[test]
    fn a_partition_that_was_away_has_nothing_due() {
        let shelf = shelf(&[(0, 5), (1, 7)]);
        take(&shelf, 2);
        let marks = shelf.marks();
        assert_eq!(shelf.due(&marks), marks);
        shelf.revoke(&[0]);
        shelf.assign([0]);
        let due: Vec<_> = shelf.due(&marks).into_iter().collect();
        assert_eq!(due, [(1, 8)]);
        shelf.owe();
        let owed: Vec<_> = shelf.owed().into_iter().collect();
        assert_eq!(owed, [(1, 8)]);
        shelf.paid(&marks);
        assert!(shelf.due(&marks).is_empty());
    }

    #[test]
    fn too_much_is_not_lent() {
        let shelf = shelf(&[]);
        for offset in 0..=UNCOMMITTED_MAX {
            shelf.put(item(0, offset as i64, 0));
        }
        assert_eq!(take(&shelf, UNCOMMITTED_MAX).len(), UNCOMMITTED_MAX);
        assert!(matches!(shelf.take_now(1), Taken::TooMuch));
        shelf.committed();
        assert_eq!(take(&shelf, 1).len(), 1);
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let shelf = shelf(&[(0, 5)]);
        assert!(shelf.take_back());
        shelf.end();
        assert!(matches!(shelf.take_now(9), Taken::Ended));
        assert!(!shelf.take_back());
    }
}
