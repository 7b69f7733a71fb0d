use std::collections::{BTreeMap, BTreeSet, HashMap};

use flashsale_core::domain::Attempt;
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, params};
use tokio::sync::Notify;

use crate::rows;

/// How many attempts are kept although every group has committed them.
pub(crate) const KEPT: usize = 10_000;

/// What of the queue is in memory.
#[derive(Debug, Default)]
pub(crate) struct QueueState {
    pub(crate) log: Mutex<Log>,
    pub(crate) published: Notify,
}

/// The attempts that are kept, and how far each group has come.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) attempts: BTreeMap<i64, Attempt>,
    pub(crate) groups: HashMap<String, Group>,
}

/// How far a group of readers has come.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Everything up to here is committed.
    pub(crate) done: i64,
    /// Committed positions after `done`.
    pub(crate) done_early: BTreeSet<i64>,
    /// Handed to a reader that has not committed them.
    pub(crate) lent: BTreeSet<i64>,
}

impl Log {
    /// The position of the oldest of the newest [`KEPT`] attempts.
    pub(crate) fn oldest_to_keep(&self) -> i64 {
        let surplus = self.attempts.len().saturating_sub(KEPT);
        self.attempts.keys().nth(surplus).copied().unwrap_or(0)
    }

    /// The oldest attempts that no reader of the group has or had.
    pub(crate) fn lend(&mut self, group: &str, max: usize) -> Vec<(i64, Attempt)> {
        let Some(group) = self.groups.get_mut(group) else {
            return Vec::new();
        };
        let free = self
            .attempts
            .range(group.done + 1..)
            .filter(|(position, _)| {
                !group.lent.contains(position) && !group.done_early.contains(position)
            });
        let lent: Vec<_> = free
            .take(max)
            .map(|(position, attempt)| (*position, attempt.clone()))
            .collect();
        group.lent.extend(lent.iter().map(|(position, _)| position));
        lent
    }
}

impl Group {
    /// Up to where every attempt is committed once `more` are.
    pub(crate) fn done_with(&self, attempts: &BTreeMap<i64, Attempt>, more: &[i64]) -> i64 {
        let more: BTreeSet<_> = more.iter().collect();
        let after = attempts
            .range(self.done + 1..)
            .map(|(position, _)| position);
        after
            .take_while(|position| self.done_early.contains(position) || more.contains(position))
            .last()
            .copied()
            .unwrap_or(self.done)
    }

    pub(crate) fn commit(&mut self, positions: &[i64], done: i64) {
        for position in positions {
            self.lent.remove(position);
            self.done_early.insert(*position);
        }
        self.done = done;
        self.done_early = self.done_early.split_off(&(done + 1));
    }
}

impl QueueState {
    /// The queue as the disk has it; what was handed out and not committed is handed out again.
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut log = Log::default();
        let sql = format!(
            "SELECT position, {} FROM queue ORDER BY position",
            rows::ATTEMPT
        );
        let mut statement = connection.prepare(&sql)?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            log.attempts.insert(row.get(0)?, rows::attempt(row, 1)?);
        }
        let mut statement = connection.prepare("SELECT name, done FROM queue_groups")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let group = Group {
                done: row.get(1)?,
                ..Group::default()
            };
            log.groups.insert(row.get(0)?, group);
        }
        Ok(Self {
            log: Mutex::new(log),
            published: Notify::new(),
        })
    }
}

/// Stores attempts at the end, and says where they are.
pub(crate) fn append(
    transaction: &Transaction<'_>,
    attempts: &[Attempt],
) -> rusqlite::Result<Vec<i64>> {
    let sql = format!(
        "INSERT INTO queue ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        rows::ATTEMPT
    );
    let mut insert = transaction.prepare_cached(&sql)?;
    let append = |attempt: &Attempt| {
        insert.insert(params![
            attempt.id.as_uuid(),
            attempt.sale.get(),
            attempt.product.get(),
            attempt.user.as_str(),
            attempt.quantity.units(),
            attempt.epoch.get(),
            attempt.seq,
            attempt.reserved_at.as_millis(),
        ])
    };
    attempts.iter().map(append).collect()
}

/// Stores how far a group has come.
pub(crate) fn store_done(
    transaction: &Transaction<'_>,
    group: &str,
    done: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO queue_groups (name, done) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET done = max(done, excluded.done)";
    transaction
        .prepare_cached(sql)?
        .execute(params![group, done])?;
    Ok(())
}
