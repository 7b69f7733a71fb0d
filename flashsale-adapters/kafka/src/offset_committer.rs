use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::Fault;
use crate::record_buffer::RecordBuffer;

/// Commits the offsets of what a reader has done, on a thread of its own beside the one that polls.
///
/// The brokers answer a commit only when they have answered what was asked before it, and while a
/// group rebalances that is the request to stay in it: if a reader was killed, until its session is
/// over. Whoever waited for that would decide nothing meanwhile.
pub(crate) struct OffsetCommitter<'a, C: ConsumerContext> {
    topic: &'a str,
    buffer: &'a RecordBuffer,
    client: &'a BaseConsumer<C>,
    /// Reports an error; what is to be done about it if the brokers refuse something.
    heed: &'a (dyn Fn(&KafkaError) -> Option<Fault> + Sync),
    stopped: AtomicBool,
}

/// Stops a committer, also after a panic.
pub(crate) struct Stop<'a> {
    stopped: &'a AtomicBool,
    buffer: &'a RecordBuffer,
}

/// The longest time without a look around.
const IDLE: Duration = Duration::from_millis(100);
/// The pause before a commit is tried again.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(10);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(100);

impl<'a, C: ConsumerContext> OffsetCommitter<'a, C> {
    pub(crate) fn new(
        topic: &'a str,
        buffer: &'a RecordBuffer,
        client: &'a BaseConsumer<C>,
        heed: &'a (dyn Fn(&KafkaError) -> Option<Fault> + Sync),
    ) -> Self {
        Self {
            topic,
            buffer,
            client,
            heed,
            stopped: AtomicBool::new(false),
        }
    }

    pub(crate) fn stop_on_drop(&self) -> Stop<'_> {
        Stop {
            stopped: &self.stopped,
            buffer: self.buffer,
        }
    }

    /// Commits what is done, again and again, until it is stopped; then once more.
    pub(crate) fn run(&self) {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let is_last = self.is_stopped();
            let offsets = self.buffer.done(|| !self.is_stopped(), IDLE);
            let committed = offsets.is_empty() || self.commit(&offsets);
            if is_last {
                return;
            }
            if committed {
                pause = RETRY_PAUSE_MIN;
            } else {
                std::thread::sleep(pause);
                pause = RETRY_PAUSE_MAX.min(pause * 2);
            }
        }
    }

    /// Says whether they are committed.
    fn commit(&self, offsets: &BTreeMap<i32, i64>) -> bool {
        let Err(error) = self.try_to_commit(offsets) else {
            self.buffer.confirm(offsets);
            return true;
        };
        if !is_rebalance(&error)
            && let Some(refusal) = (self.heed)(&error)
        {
            self.buffer.refuse(refusal);
        }
        false
    }

    fn try_to_commit(&self, offsets: &BTreeMap<i32, i64>) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(self.topic, *partition, Offset::Offset(*offset))?;
        }
        // Asynchronous ones of rdkafka do not tell how they end.
        self.client.commit(&list, CommitMode::Sync)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.buffer.wake();
    }
}

/// Whether a commit was refused because the group rebalances, or has done so.
fn is_rebalance(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
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
