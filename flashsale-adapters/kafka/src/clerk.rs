use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::refusal;
use crate::reading::{Native, Reading};
use crate::tray::Commit;

/// Commits what a reader has done, on a thread of its own beside the one that polls.
///
/// The brokers answer a commit only when they have answered what was asked before it, and while a
/// group is finding a new order that is the request to stay in it: if a reader was killed, until its
/// session is over. Whoever waited for that would decide nothing meanwhile.
pub(crate) struct Clerk<'a> {
    pub(crate) reading: &'a Reading,
    pub(crate) consumer: &'a Native,
    /// Set when the consumer is done with.
    pub(crate) over: &'a AtomicBool,
}

/// The longest time without a look around.
const IDLE: Duration = Duration::from_millis(100);
/// The pause before a commit is tried again.
const PAUSE: Duration = Duration::from_millis(10);

impl Clerk<'_> {
    /// Works until the consumer is done with.
    pub(crate) fn run(&self) {
        while !self.is_over() {
            match self.reading.tray.take(IDLE) {
                Some(commit) => self.commit(commit),
                None => self.pay(),
            }
        }
        // What came at the last moment.
        match self.reading.tray.take(Duration::ZERO) {
            Some(commit) => self.commit(commit),
            None => self.pay(),
        }
        self.reading.tray.clear();
    }

    /// Commits, again and again until it is done, refused for good, or nobody waits any more: then
    /// the reader owes it.
    fn commit(&self, commit: Commit) {
        let Commit { marks, answer } = commit;
        while !answer.is_closed() {
            let Err(error) = self.try_to_commit(&marks) else {
                // Before anybody hears of it: nothing older may be committed after it.
                self.reading.shelf.paid(&marks);
                let _ = answer.send(Ok(()));
                return;
            };
            if self.consumer.client().fatal_error().is_some() {
                // Another consumer takes its place, or that of another reader, and reads it again.
                let _ = answer.send(Ok(()));
                self.reading.bell.stir();
                return;
            }
            let code = error.rdkafka_error_code();
            if !is_rebalance(code) {
                self.reading.heed(&error);
            }
            if let Some(why) = code.and_then(|code| refusal(code, &self.reading.topic)) {
                let _ = answer.send(Err(why));
                return;
            }
            if self.is_over() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Commits what former commits have left, if it can be committed now.
    fn pay(&self) {
        let owed = self.reading.shelf.owed();
        if !owed.is_empty() && self.try_to_commit(&owed).is_ok() {
            self.reading.shelf.paid(&owed);
        }
    }

    /// Commits what is still this reader's to commit.
    fn try_to_commit(&self, marks: &BTreeMap<i32, i64>) -> KafkaResult<()> {
        let Reading { topic, shelf, .. } = self.reading;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in shelf.due(marks) {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        match list.count() {
            // Others have the partitions now, and do what is left once more.
            0 => Ok(()),
            _ => self.consumer.commit(&list, CommitMode::Sync),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// Whether a commit was refused because the group is finding a new order, or has found one.
fn is_rebalance(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::RebalanceInProgress
                | Code::StaleMemberEpoch
                | Code::FencedInstanceId
                | Code::NoOffset
                | Code::AssignmentLost
        )
    )
}
