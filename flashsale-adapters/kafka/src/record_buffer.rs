use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flashsale_core::ports::{Delivery, Undecodable};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::error::Fault;

/// The records of a reader that are fetched and not committed.
///
/// A record is fetched, then delivered, then done, then committed. For each partition, those that are
/// delivered and those that are fetched are one unbroken stretch, in order, and a partition that is
/// revoked takes all of its records with it. So a commit never passes over a record that nobody has
/// read.
#[derive(Debug)]
pub(crate) struct RecordBuffer {
    state: Mutex<State>,
    /// For the reader that waits for records.
    fetched: Notify,
    /// For the reader that waits for its commit.
    settled: Notify,
    /// For the threads of the consumer and of the committer.
    changed: Condvar,
    records_max: usize,
}

#[derive(Debug, Default)]
struct State {
    assigned: HashSet<i32>,
    fetched: VecDeque<Record>,
    /// What the fetched records weigh.
    fetched_bytes: usize,
    delivered: VecDeque<Record>,
    /// The offsets to be committed, of the records that are done.
    done: BTreeMap<i32, i64>,
    /// Since when there are some, or since the last commit.
    done_since: Option<Instant>,
    /// Why the brokers do not take the last commit and will not take another.
    refused: Option<Fault>,
    closed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) delivery: Delivery,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Taken {
    Records(Vec<Delivery>),
    /// Too much is delivered and not done.
    TooMuch,
    /// Nothing more will come.
    Closed,
}

/// The most records that may be delivered and not done.
pub(crate) const UNCOMMITTED_MAX: usize = 65_536;
/// The most bytes of fetched records that cannot be read; attempts are small.
const BYTES_MAX: usize = 16 << 20;

/// For the reader.
impl RecordBuffer {
    pub(crate) fn new(records_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            fetched: Notify::new(),
            settled: Notify::new(),
            changed: Condvar::new(),
            records_max,
        }
    }

    /// The next records, `max` at most. Waits for the first until `deadline`.
    pub(crate) async fn take(&self, max: usize, deadline: tokio::time::Instant) -> Taken {
        loop {
            // Listens before it looks, so that nothing that comes in between is missed.
            let mut fetched = pin!(self.fetched.notified());
            fetched.as_mut().enable();
            match self.take_now(max) {
                Taken::Records(records) if records.is_empty() && max > 0 => {}
                taken => return taken,
            }
            if timeout_at(deadline, fetched).await.is_err() {
                return self.take_now(max);
            }
        }
    }

    fn take_now(&self, max: usize) -> Taken {
        let mut state = self.state();
        if state.closed {
            return Taken::Closed;
        }
        let count = state.fetched.len().min(max);
        if state.delivered.len() + count > UNCOMMITTED_MAX {
            return Taken::TooMuch;
        }
        let had_room = self.has_room_in(&state);
        let taken: Vec<_> = state.fetched.drain(..count).collect();
        state.fetched_bytes -= taken.iter().map(Record::bytes).sum::<usize>();
        state.delivered.extend(taken.iter().cloned());
        if !had_room && self.has_room_in(&state) {
            self.changed.notify_all();
        }
        Taken::Records(taken.into_iter().map(|record| record.delivery).collect())
    }

    /// What was delivered comes again, before everything else. Says whether there is any use in that:
    /// once the buffer is closed, there is none.
    pub(crate) fn rewind(&self) -> bool {
        let mut state = self.state();
        let mut again = std::mem::take(&mut state.delivered);
        state.fetched_bytes += again.iter().map(Record::bytes).sum::<usize>();
        again.append(&mut state.fetched);
        state.fetched = again;
        self.fetched.notify_one();
        !state.closed
    }

    /// Everything that was delivered is done, and to be committed.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        let State {
            delivered, done, ..
        } = &mut *state;
        // Later records of a partition come later.
        let next = delivered
            .drain(..)
            .map(|one| (one.partition, one.offset + 1));
        done.extend(next);
        if !state.done.is_empty() {
            state.done_since.get_or_insert_with(Instant::now);
            self.changed.notify_all();
        }
    }

    /// Waits until everything that is done is committed, but only until that has been outstanding
    /// for `patience`. It stays to be committed.
    ///
    /// # Errors
    /// If the brokers refuse it for good.
    pub(crate) async fn committed(&self, patience: Duration) -> Result<(), Fault> {
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            let since = {
                let state = self.state();
                match (state.done_since, &state.refused) {
                    (None, _) => return Ok(()),
                    (Some(_), Some(why)) => return Err(why.clone()),
                    (Some(since), None) => since,
                }
            };
            let deadline = (since + patience).into();
            if timeout_at(deadline, settled).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Nothing more will come, and the consumer is to end.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.fetched.notify_one();
        self.changed.notify_all();
    }
}

/// For the consumer.
impl RecordBuffer {
    /// The reader has these partitions, too.
    pub(crate) fn assign(&self, partitions: &[i32]) {
        self.state().assigned.extend(partitions);
    }

    /// These partitions are taken away. Whoever gets them reads on from the last commit.
    pub(crate) fn revoke(&self, partitions: &[i32]) {
        self.revoke_if(|partition| partitions.contains(&partition));
    }

    /// All partitions are taken away.
    pub(crate) fn revoke_all(&self) {
        self.revoke_if(|_| true);
    }

    fn revoke_if(&self, is_revoked: impl Fn(i32) -> bool) {
        let mut state = self.state();
        state.assigned.retain(|partition| !is_revoked(*partition));
        state.fetched.retain(|one| !is_revoked(one.partition));
        state.delivered.retain(|one| !is_revoked(one.partition));
        state.done.retain(|partition, _| !is_revoked(*partition));
        state.fetched_bytes = state.fetched.iter().map(Record::bytes).sum();
        if state.done.is_empty() {
            self.settle(&mut state);
        }
    }

    /// Adds a record, unless its partition is somebody else's by now. The reader hears of it with the
    /// next [notification](Self::notify).
    pub(crate) fn push(&self, record: Record) {
        let mut state = self.state();
        if state.assigned.contains(&record.partition) {
            state.fetched_bytes += record.bytes();
            state.fetched.push_back(record);
        }
    }

    /// Tells the reader that records have come.
    pub(crate) fn notify(&self) {
        self.fetched.notify_one();
    }

    /// Whether nothing more should be fetched for now.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.state();
        state.fetched.len() >= self.records_max || state.fetched_bytes >= BYTES_MAX
    }

    /// Whether so much room is left that fetching is worth it.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_in(&self.state())
    }

    /// Waits until there is room or the buffer is closed, for `within` at most. Says whether that is
    /// so.
    pub(crate) fn wait_for_room(&self, within: Duration) -> bool {
        let ready = |state: &State| self.has_room_in(state) || state.closed;
        ready(&self.wait_until(ready, within))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Waits until the buffer is closed, for `within` at most.
    pub(crate) fn wait_for_close(&self, within: Duration) {
        drop(self.wait_until(|state| state.closed, within));
    }

    fn has_room_in(&self, state: &State) -> bool {
        state.fetched.len() <= self.records_max / 2 && state.fetched_bytes <= BYTES_MAX / 2
    }
}

/// For the committer.
impl RecordBuffer {
    /// The offsets to be committed. Waits for some while it `goes_on`, for `within` at most.
    pub(crate) fn done(&self, goes_on: impl Fn() -> bool, within: Duration) -> BTreeMap<i32, i64> {
        let ready = |state: &State| !state.done.is_empty() || !goes_on();
        self.wait_until(ready, within).done.clone()
    }

    /// Lets the committer see that it does not go on.
    pub(crate) fn wake(&self) {
        let _state = self.state();
        self.changed.notify_all();
    }

    /// These offsets are committed.
    pub(crate) fn confirm(&self, committed: &BTreeMap<i32, i64>) {
        let mut state = self.state();
        state
            .done
            .retain(|partition, next| committed.get(partition).is_none_or(|sent| *next > *sent));
        self.settle(&mut state);
    }

    /// The brokers do not take the commit and will not take another.
    pub(crate) fn refuse(&self, why: Fault) {
        self.state().refused = Some(why);
        self.settled.notify_one();
    }

    fn settle(&self, state: &mut State) {
        state.done_since = (!state.done.is_empty()).then(Instant::now);
        state.refused = None;
        self.settled.notify_one();
    }

    fn wait_until(
        &self,
        ready: impl Fn(&State) -> bool,
        within: Duration,
    ) -> MutexGuard<'_, State> {
        let state = self.state();
        let waited = self
            .changed
            .wait_timeout_while(state, within, |state| !ready(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
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

    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use flashsale_core::ports::{Delivery, Undecodable};

    use super::{BYTES_MAX, Fault, Record, RecordBuffer, Taken, UNCOMMITTED_MAX};

    /// Longer than any test.
    const LONG: Duration = Duration::from_secs(3_600);

    fn record(partition: i32, offset: i64, size: usize) -> Record {
        let undecodable = Undecodable {
            position: format!("{partition}/{offset}"),
            payload: vec![0; size],
            problem: String::new(),
        };
        Record {
            delivery: Delivery::Undecodable(undecodable),
            partition,
            offset,
        }
    }

    fn buffer(records: &[(i32, i64)]) -> RecordBuffer {
        let buffer = RecordBuffer::new(4);
        buffer.assign(&[0, 1]);
        for (partition, offset) in records {
            buffer.push(record(*partition, *offset, 1));
        }
        buffer
    }

    fn take(buffer: &RecordBuffer, max: usize) -> Vec<String> {
        match buffer.take_now(max) {
            Taken::Records(records) => records.into_iter().map(position).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn position(delivery: Delivery) -> String {
        match delivery {
            Delivery::Undecodable(item) => item.position,
            Delivery::Attempt(_) => unreachable!(),
        }
    }

    fn done(buffer: &RecordBuffer) -> Vec<(i32, i64)> {
        let done = buffer.done(|| true, Duration::ZERO);
        done.into_iter().collect()
    }

    #[test]
    fn a_commit_covers_what_was_delivered_and_nothing_else() {
        let buffer = buffer(&[(0, 5), (1, 7), (0, 6)]);
        assert_eq!(take(&buffer, 2), ["0/5", "1/7"]);
        assert_eq!(done(&buffer), []);
        buffer.finish();
        assert_eq!(done(&buffer), [(0, 6), (1, 8)]);
        assert_eq!(take(&buffer, 2), ["0/6"]);
    }

    #[test]
    fn what_comes_again_comes_first_and_in_order() {
        let buffer = buffer(&[(0, 5), (0, 6), (0, 7)]);
        take(&buffer, 2);
        assert!(buffer.rewind());
        buffer.push(record(0, 8, 1));
        assert_eq!(take(&buffer, 9), ["0/5", "0/6", "0/7", "0/8"]);
    }

    #[test]
    fn a_revoked_partition_takes_its_records_with_it() {
        let buffer = buffer(&[(0, 5), (1, 7), (0, 6), (1, 8)]);
        take(&buffer, 1);
        buffer.finish();
        take(&buffer, 2);
        buffer.revoke(&[0]);
        buffer.push(record(0, 7, 1));
        assert_eq!(done(&buffer), []);
        buffer.rewind();
        assert_eq!(take(&buffer, 9), ["1/7", "1/8"]);
        buffer.finish();
        assert_eq!(done(&buffer), [(1, 9)]);
        // It comes back, from the last commit on.
        buffer.assign(&[0]);
        buffer.push(record(0, 5, 1));
        assert_eq!(take(&buffer, 9), ["0/5"]);
    }

    #[test]
    fn it_is_full_by_number_and_by_weight() {
        let buffer = buffer(&[(0, 5), (0, 6), (0, 7)]);
        assert!(!buffer.is_full() && !buffer.has_room());
        buffer.push(record(0, 8, 1));
        assert!(buffer.is_full() && !buffer.wait_for_room(Duration::ZERO));
        take(&buffer, 2);
        assert!(buffer.has_room() && buffer.wait_for_room(Duration::ZERO));
        buffer.push(record(0, 9, BYTES_MAX));
        assert!(buffer.is_full());
        take(&buffer, 9);
        assert!(buffer.has_room());
        buffer.rewind();
        assert!(buffer.is_full());
        buffer.revoke_all();
        assert!(buffer.has_room());
    }

    #[test]
    fn what_is_done_later_is_committed_later() {
        let buffer = buffer(&[(0, 5), (1, 7), (0, 6)]);
        take(&buffer, 2);
        buffer.finish();
        let sent = buffer.done(|| true, Duration::ZERO);
        take(&buffer, 1);
        buffer.finish();
        buffer.confirm(&sent);
        assert_eq!(done(&buffer), [(0, 7)]);
        buffer.confirm(&BTreeMap::from([(0, 7)]));
        assert_eq!(done(&buffer), []);
    }

    #[tokio::test]
    async fn a_reader_waits_once_for_commits_that_do_not_come() {
        let buffer = buffer(&[(0, 5), (0, 6)]);
        let since = || buffer.state().done_since;
        buffer.committed(LONG).await.unwrap();
        take(&buffer, 1);
        buffer.finish();
        let sent = buffer.done(|| true, Duration::ZERO);
        let first = since().unwrap();
        buffer.committed(Duration::ZERO).await.unwrap();
        take(&buffer, 1);
        buffer.finish();
        // Patience is counted from the first one that is outstanding.
        assert_eq!(since(), Some(first));
        // The brokers answer again: it is worth to wait for the next one.
        buffer.confirm(&sent);
        assert!(since().unwrap() > first);
        buffer.confirm(&BTreeMap::from([(0, 7)]));
        assert_eq!(since(), None);
        buffer.committed(LONG).await.unwrap();
    }

    #[tokio::test]
    async fn a_commit_that_is_refused_is_refused_until_one_is_confirmed() {
        let buffer = buffer(&[(0, 5)]);
        take(&buffer, 1);
        buffer.finish();
        let why = Fault::misconfigured("no right");
        buffer.refuse(why.clone());
        assert_eq!(buffer.committed(LONG).await, Err(why.clone()));
        assert_eq!(buffer.committed(LONG).await, Err(why));
        buffer.confirm(&buffer.done(|| true, Duration::ZERO));
        assert_eq!(buffer.committed(LONG).await, Ok(()));
    }

    #[tokio::test]
    async fn a_commit_is_over_when_its_partitions_are_others() {
        let buffer = buffer(&[(0, 5)]);
        take(&buffer, 1);
        buffer.finish();
        buffer.revoke(&[0]);
        assert_eq!(buffer.committed(LONG).await, Ok(()));
    }

    #[test]
    fn a_committer_that_does_not_go_on_waits_no_longer() {
        let since = Instant::now();
        assert!(buffer(&[]).done(|| false, LONG).is_empty());
        assert!(since.elapsed() < LONG);
    }

    #[test]
    fn too_much_is_not_delivered() {
        let buffer = buffer(&[]);
        for offset in 0..=UNCOMMITTED_MAX {
            buffer.push(record(0, offset as i64, 0));
        }
        assert_eq!(take(&buffer, UNCOMMITTED_MAX).len(), UNCOMMITTED_MAX);
        assert!(matches!(buffer.take_now(1), Taken::TooMuch));
        buffer.finish();
        assert_eq!(take(&buffer, 1).len(), 1);
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let buffer = buffer(&[(0, 5)]);
        assert!(buffer.rewind());
        buffer.close();
        assert!(matches!(buffer.take_now(9), Taken::Closed));
        assert!(!buffer.rewind());
    }
}
