use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use flashsale_core::domain::{Timestamp, UserId};
use tokio::time::Instant;

/// What the process remembers of a sale without units, to refuse a crowd without asking Redis.
///
/// While somebody is refused, a task asks Redis twice in `keep`, and reads who holds units whenever
/// that has changed. A user is refused only while all of this holds: the last answer to the task, to
/// a question of at most `keep` ago, showed no unit; the holders are known as of that answer, by a
/// version that grows whenever somebody comes to hold units; no answer to anybody showed a later
/// version; and the user is not among the holders. So it never sells wrongly, a holder is told what
/// he holds, and what another process changes is missed for at most `keep`.
#[derive(Debug)]
pub(crate) struct SoldOut {
    pub(crate) keep: Duration,
    hasher: RandomState,
    memory: RwLock<Option<Memory>>,
    /// The latest version of the holders that an answer of Redis has shown.
    version: AtomicU64,
    /// There is a task that asks Redis.
    watched: AtomicBool,
    /// Somebody was refused since the task has asked.
    used: AtomicBool,
}

#[derive(Debug)]
struct Memory {
    version: u64,
    /// Hashes of the users who hold units, sorted.
    holders: Vec<u64>,
    /// Nothing until Redis has shown that the holders are still these.
    empty: Option<Empty>,
}

/// That Redis had no unit for anybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Empty {
    /// The version of the holders.
    pub(crate) version: u64,
    /// Until when users are refused.
    pub(crate) until: Instant,
    /// When the sale ends by the clock of the stock, and nobody is told any more that it is sold out.
    pub(crate) ends_at: Timestamp,
}

/// The right to ask Redis for everybody, of one task at a time.
#[derive(Debug)]
pub(crate) struct Watch<'a>(&'a SoldOut);

impl SoldOut {
    pub(crate) fn new(keep: Duration) -> Self {
        Self {
            keep,
            hasher: RandomState::new(),
            memory: RwLock::default(),
            version: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            used: AtomicBool::new(false),
        }
    }

    /// Whether all these users are to be told that nothing is left, without asking Redis. `moment`
    /// is the time by the clock of the stock, if the process has that clock.
    pub(crate) fn refuses<'a>(
        &self,
        mut users: impl Iterator<Item = &'a UserId>,
        now: Instant,
        moment: Option<Timestamp>,
    ) -> bool {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Memory {
            version,
            holders,
            empty: Some(empty),
        }) = &*memory
        else {
            return false;
        };
        let over = now >= empty.until || moment.is_some_and(|moment| moment >= empty.ends_at);
        if over || *version != self.version.load(Ordering::Acquire) {
            return false;
        }
        if users.any(|user| holders.binary_search(&self.hash(user.as_str())).is_ok()) {
            return false;
        }
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        true
    }

    /// An answer of Redis has shown this version of the holders, and, unless only they have asked,
    /// whether there was no unit. Says whether the caller has to see to a [`Watch`].
    pub(crate) fn note(&self, version: u64, empty: Option<bool>) -> bool {
        self.version.fetch_max(version, Ordering::AcqRel);
        if empty == Some(false) {
            self.clear();
        }
        empty == Some(true) && !self.keep.is_zero() && !self.watched.load(Ordering::Relaxed)
    }

    /// There may be units again. What was asked before then is of no use either: it would have to
    /// find the holders here.
    pub(crate) fn clear(&self) {
        *self.write() = None;
    }

    /// The right to watch, if nobody has it.
    pub(crate) fn watch(&self) -> Option<Watch<'_>> {
        (!self.watched.swap(true, Ordering::AcqRel)).then(|| Watch(self))
    }

    /// Stands for a user. Two users with one hash only mean that Redis is asked.
    pub(crate) fn hash(&self, user: &str) -> u64 {
        self.hasher.hash_one(user)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Memory>> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch<'_> {
    /// Has users refused for some time. Says whether the holders of this version are known; if not,
    /// nobody is.
    pub(crate) fn extend(&self, empty: Empty) -> bool {
        match &mut *self.0.write() {
            Some(memory) if memory.version == empty.version => {
                memory.empty = Some(empty);
                true
            }
            _ => false,
        }
    }

    /// Takes the hashes of the holders, read after this version was shown. They are of use once it
    /// is shown again.
    pub(crate) fn learn(&self, version: u64, mut holders: Vec<u64>) {
        holders.sort_unstable();
        *self.0.write() = Some(Memory {
            version,
            holders,
            empty: None,
        });
    }

    /// Whether somebody was refused since this was asked last.
    pub(crate) fn was_used(&self) -> bool {
        self.0.used.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.watched.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEEP: Duration = Duration::from_millis(100);

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn empty(version: u64, asked_at: Instant) -> Empty {
        Empty {
            version,
            until: asked_at + KEEP,
            ends_at: Timestamp::from_millis(1_000),
        }
    }

    /// A memory of a sale that ann holds the last unit of.
    fn known(now: Instant) -> SoldOut {
        let sold_out = SoldOut::new(KEEP);
        assert!(sold_out.note(7, Some(true)));
        let watch = sold_out.watch().unwrap();
        assert!(!watch.extend(empty(7, now)));
        watch.learn(7, vec![sold_out.hash("ann")]);
        assert!(watch.extend(empty(7, now)));
        drop(watch);
        sold_out
    }

    fn refuses(sold_out: &SoldOut, name: &str, now: Instant) -> bool {
        sold_out.refuses([user(name)].iter(), now, None)
    }

    #[test]
    fn nobody_is_refused_before_the_holders_are_known() {
        let now = Instant::now();
        let sold_out = SoldOut::new(KEEP);
        assert!(sold_out.note(7, Some(true)));
        assert!(!refuses(&sold_out, "bob", now));
        let watch = sold_out.watch().unwrap();
        assert!(sold_out.watch().is_none(), "one watches");
        watch.learn(7, Vec::new());
        assert!(!refuses(&sold_out, "bob", now), "they may have changed");
        assert!(!watch.extend(empty(8, now)), "they have");
        assert!(!refuses(&sold_out, "bob", now));
    }

    #[test]
    fn strangers_are_refused_and_holders_are_not() {
        let now = Instant::now();
        let sold_out = known(now);
        assert!(refuses(&sold_out, "bob", now));
        assert!(!refuses(&sold_out, "ann", now));
        let both = [user("bob"), user("ann")];
        assert!(!sold_out.refuses(both.iter(), now, None));
    }

    #[test]
    fn it_lasts_no_longer_than_it_may_and_the_watch_as_long_as_somebody_asks() {
        let now = Instant::now();
        let sold_out = known(now);
        let last = now + KEEP - Duration::from_millis(1);
        assert!(refuses(&sold_out, "bob", last));
        assert!(!refuses(&sold_out, "bob", now + KEEP));
        let watch = sold_out.watch().unwrap();
        assert!(watch.was_used(), "bob was refused");
        let half = now + KEEP / 2;
        assert!(watch.extend(empty(7, half)));
        assert!(refuses(&sold_out, "bob", now + KEEP));
        assert!(!refuses(&sold_out, "bob", half + KEEP));
        assert!(watch.was_used());
        assert!(!watch.was_used(), "nobody was");
    }

    #[test]
    fn another_version_a_unit_and_a_return_end_it() {
        let now = Instant::now();
        let sold_out = known(now);
        sold_out.note(7, None);
        sold_out.note(6, Some(true));
        assert!(refuses(&sold_out, "bob", now), "that shows nothing new");
        sold_out.note(8, None);
        assert!(!refuses(&sold_out, "bob", now));

        let sold_out = known(now);
        sold_out.note(7, Some(false));
        assert!(!refuses(&sold_out, "bob", now));

        let sold_out = known(now);
        sold_out.clear();
        let asked_before = empty(7, now);
        let watch = sold_out.watch().unwrap();
        assert!(!watch.extend(asked_before));
        assert!(!refuses(&sold_out, "bob", now));
    }

    #[test]
    fn it_ends_with_the_sale() {
        let now = Instant::now();
        let sold_out = known(now);
        let users = [user("bob")];
        let at = |ms| Some(Timestamp::from_millis(ms));
        assert!(sold_out.refuses(users.iter(), now, at(999)));
        assert!(!sold_out.refuses(users.iter(), now, at(1_000)));
    }

    #[test]
    fn it_can_be_turned_off() {
        let sold_out = SoldOut::new(Duration::ZERO);
        assert!(!sold_out.note(7, Some(true)));
    }
}
