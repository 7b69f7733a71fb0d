use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use flashsale_core::domain::{Timestamp, UserId};
use tokio::time::Instant;

/// What the process remembers of a sale without units, to refuse a crowd without asking Redis.
///
/// It refuses only while all of this holds: the last answer of Redis, at most `keep` ago, showed no
/// unit; the holders are known as of that answer, by a number that changes whenever somebody comes
/// to hold units; and the user is not among them. So it never sells wrongly, a holder is told what
/// he holds, and what another process changes is missed for at most `keep`. Halfway through that
/// time one caller asks Redis for all.
#[derive(Debug)]
pub(crate) struct SoldOut {
    keep: Duration,
    hasher: RandomState,
    state: RwLock<Memory>,
    /// Somebody is asking Redis for all.
    probing: AtomicBool,
    /// Grows when this process returns units; what was sent before tells nothing about after.
    returns: AtomicU64,
}

#[derive(Debug, Default)]
struct Memory {
    seen: Option<Seen>,
    holders: Option<Holders>,
    reading: Reading,
}

/// Whether the holders are being read.
#[derive(Clone, Copy, Debug, Default)]
enum Reading {
    /// They may be.
    #[default]
    Idle,
    /// They are, since then.
    Since(Instant),
    /// They were, and are not to be again before then: reading costs Redis some time, and while
    /// units come and go it would be in vain.
    NotBefore(Instant),
}

/// That Redis had no unit.
#[derive(Clone, Copy, Debug)]
struct Seen {
    version: u64,
    /// When Redis was asked.
    at: Instant,
    /// For how long this may be told, from then on.
    keep: Duration,
    /// When the sale ends, and nobody is told any more that it is sold out.
    ends_at: Timestamp,
}

/// Hashes of the users who hold units, sorted.
#[derive(Clone, Debug)]
struct Holders {
    version: u64,
    hashes: Arc<[u64]>,
}

/// What an answer of Redis shows of the stock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    /// Changes whenever somebody comes to hold units, or does no more.
    pub(crate) version: u64,
    pub(crate) available: u64,
    /// Whether it sells to whom it has units for; nothing if the answer does not show it.
    pub(crate) selling: Option<bool>,
    /// The moment by the clock of the stock.
    pub(crate) at: Timestamp,
    /// When the sale ends, by the same clock.
    pub(crate) ends_at: Timestamp,
    /// When Redis was asked.
    pub(crate) asked_at: Instant,
    /// What [`SoldOut::returns`] said then.
    pub(crate) returns: u64,
}

/// The most holders that are remembered: 8 MB of hashes. With more, Redis is asked every time.
pub(crate) const HOLDERS_MAX: usize = 1_000_000;

impl SoldOut {
    pub(crate) fn new(keep: Duration) -> Self {
        Self {
            keep,
            hasher: RandomState::new(),
            state: RwLock::default(),
            probing: AtomicBool::new(false),
            returns: AtomicU64::new(0),
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
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(seen), Some(holders)) = (state.seen, &state.holders) else {
            return false;
        };
        let age = now.saturating_duration_since(seen.at);
        let over = age >= seen.keep || moment.is_some_and(|moment| moment >= seen.ends_at);
        if seen.version != holders.version || over {
            return false;
        }
        let holds = |user| holders.hashes.binary_search(&self.hash(user)).is_ok();
        if users.any(holds) {
            return false;
        }
        // The first one in the second half of the time asks for all.
        age < self.keep / 2 || self.probing.swap(true, Ordering::Relaxed)
    }

    /// Takes note of an answer. Says whether the holders should be read now: then exactly one caller
    /// is told so, and has to call [`learn`](Self::learn).
    pub(crate) fn note(&self, shown: Shown) -> bool {
        if self.keep.is_zero() {
            return false;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if shown.returns != self.returns() {
            return false;
        }
        if shown.available == 0 && shown.selling.is_none() {
            return false;
        }
        if shown.available > 0 || shown.selling == Some(false) {
            state.seen = None;
            return false;
        }
        self.note_empty(&mut state, shown)
    }

    fn note_empty(&self, state: &mut Memory, shown: Shown) -> bool {
        self.probing.store(false, Ordering::Relaxed);
        let left = Duration::from_millis(shown.ends_at.since_ms(shown.at));
        if state.seen.is_none_or(|seen| seen.at <= shown.asked_at) {
            state.seen = Some(Seen {
                version: shown.version,
                at: shown.asked_at,
                keep: self.keep.min(left),
                ends_at: shown.ends_at,
            });
        }
        let current = |holders: &Holders| holders.version == shown.version;
        state.holders = state.holders.take().filter(current);
        let known = state.holders.is_some();
        let now = Instant::now();
        let may = match state.reading {
            Reading::Idle => true,
            Reading::Since(_) => false,
            Reading::NotBefore(then) => then <= now,
        };
        if known || !may {
            return false;
        }
        state.reading = Reading::Since(now);
        true
    }

    /// Takes the holders as of a version, or nothing if they could not be read.
    pub(crate) fn learn(&self, holders: Option<(u64, Vec<u64>)>) {
        let holders = holders.map(|(version, mut hashes)| {
            hashes.sort_unstable();
            Holders {
                version,
                hashes: hashes.into(),
            }
        });
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.holders = holders.or_else(|| state.holders.take());
        if let Reading::Since(begun) = state.reading {
            let now = Instant::now();
            state.reading = Reading::NotBefore(now + now.saturating_duration_since(begun) * 4);
        }
    }

    /// This process has returned units, or has changed what the sale sells.
    pub(crate) fn clear(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.returns.fetch_add(1, Ordering::AcqRel);
        (state.seen, state.holders) = (None, None);
    }

    /// A number that changes with every [`clear`](Self::clear).
    pub(crate) fn returns(&self) -> u64 {
        self.returns.load(Ordering::Acquire)
    }

    /// Stands for a user. Two users with one hash only mean that Redis is asked.
    pub(crate) fn hash(&self, user: &UserId) -> u64 {
        self.hash_text(user.as_str())
    }

    pub(crate) fn hash_text(&self, user: &str) -> u64 {
        self.hasher.hash_one(user)
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

    fn empty(sold_out: &SoldOut, version: u64, asked_at: Instant) -> Shown {
        Shown {
            version,
            available: 0,
            selling: Some(true),
            at: Timestamp::from_millis(0),
            ends_at: Timestamp::from_millis(1_000),
            asked_at,
            returns: sold_out.returns(),
        }
    }

    /// A memory of a sale that ann holds the last unit of.
    fn known(now: Instant) -> SoldOut {
        let sold_out = SoldOut::new(KEEP);
        assert!(sold_out.note(empty(&sold_out, 7, now)));
        let ann = sold_out.hash(&user("ann"));
        sold_out.learn(Some((7, vec![ann])));
        sold_out
    }

    fn refuses(sold_out: &SoldOut, name: &str, now: Instant) -> bool {
        sold_out.refuses([user(name)].iter(), now, None)
    }

    /// Notes the same answer until the holders are to be read again, which is soon.
    fn until_read_again(sold_out: &SoldOut, version: u64, now: Instant) {
        let begun = std::time::Instant::now();
        while !sold_out.note(empty(sold_out, version, now)) {
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "nobody reads them"
            );
        }
    }

    #[test]
    fn nobody_is_refused_before_the_holders_are_known() {
        let now = Instant::now();
        let sold_out = SoldOut::new(KEEP);
        assert!(sold_out.note(empty(&sold_out, 7, now)));
        assert!(!sold_out.note(empty(&sold_out, 7, now)), "one reads them");
        assert!(!refuses(&sold_out, "bob", now));
        sold_out.learn(None);
        assert!(!refuses(&sold_out, "bob", now));
        until_read_again(&sold_out, 7, now);
    }

    #[test]
    fn strangers_are_refused_and_holders_are_not() {
        let now = Instant::now();
        let sold_out = known(now);
        assert!(refuses(&sold_out, "bob", now));
        assert!(!refuses(&sold_out, "ann", now));
    }

    #[test]
    fn one_caller_asks_halfway_and_everybody_afterwards() {
        let now = Instant::now();
        let sold_out = known(now);
        let half = now + KEEP / 2;
        assert!(refuses(&sold_out, "bob", half - Duration::from_millis(1)));
        assert!(!refuses(&sold_out, "bob", half), "the one who asks");
        assert!(refuses(&sold_out, "bob", half));
        assert!(!refuses(&sold_out, "bob", now + KEEP));
        sold_out.note(empty(&sold_out, 7, half));
        assert!(refuses(
            &sold_out,
            "bob",
            now + KEEP - Duration::from_millis(1)
        ));
    }

    #[test]
    fn another_version_a_unit_a_pause_and_a_return_end_it() {
        let now = Instant::now();
        let sold_out = known(now);
        until_read_again(&sold_out, 8, now);
        assert!(!refuses(&sold_out, "bob", now));

        let sold_out = known(now);
        let unit = Shown {
            available: 1,
            ..empty(&sold_out, 7, now)
        };
        assert!(!sold_out.note(unit));
        assert!(!refuses(&sold_out, "bob", now));

        let sold_out = known(now);
        let paused = Shown {
            selling: Some(false),
            ..empty(&sold_out, 7, now)
        };
        assert!(!sold_out.note(paused));
        assert!(!refuses(&sold_out, "bob", now));

        let sold_out = known(now);
        let holders_only = Shown {
            selling: None,
            ..empty(&sold_out, 7, now)
        };
        assert!(!sold_out.note(holders_only));
        assert!(refuses(&sold_out, "bob", now), "that shows nothing new");

        let sold_out = known(now);
        let before = empty(&sold_out, 7, now);
        sold_out.clear();
        assert!(!refuses(&sold_out, "bob", now));
        assert!(!sold_out.note(before), "an answer from before the return");
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
        let soon = Shown {
            ends_at: Timestamp::from_millis(30),
            ..empty(&sold_out, 7, now)
        };
        sold_out.note(soon);
        assert!(refuses(&sold_out, "bob", now + Duration::from_millis(29)));
        assert!(!refuses(&sold_out, "bob", now + Duration::from_millis(30)));
    }

    #[test]
    fn it_can_be_turned_off() {
        let now = Instant::now();
        let sold_out = SoldOut::new(Duration::ZERO);
        assert!(!sold_out.note(empty(&sold_out, 7, now)));
    }
}
