use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use flashsale_core::ports::QueueMark;

use crate::config::KafkaConfig;
use crate::error::{Fault, fault};

/// Where the partitions of the topic end. Blocks, not longer than `within`.
pub(crate) fn mark(config: &KafkaConfig, within: Duration) -> Result<QueueMark, Fault> {
    let deadline = Instant::now() + within;
    let left = || deadline.saturating_duration_since(Instant::now());
    let topic = &config.topic;
    let wrong = |error: KafkaError| fault(&error, topic);
    // A group of its own, which never joins and commits nothing.
    let consumer: BaseConsumer = config.observer("flashsale-mark").create().map_err(wrong)?;
    let ends = partitions(&consumer, topic, left())?
        .into_iter()
        .map(|partition| {
            let ends = consumer.fetch_watermarks(topic, partition, left());
            Ok((partition, ends.map_err(wrong)?.1))
        });
    Ok(QueueMark {
        ends: ends.collect::<Result<_, Fault>>()?,
    })
}

fn partitions(consumer: &BaseConsumer, topic: &str, within: Duration) -> Result<Vec<i32>, Fault> {
    let metadata = consumer.fetch_metadata(Some(topic), within);
    let metadata = metadata.map_err(|error| fault(&error, topic))?;
    let partitions = metadata.topics().first().map(|topic| topic.partitions());
    let partitions: Vec<_> = partitions
        .unwrap_or_default()
        .iter()
        .map(|p| p.id())
        .collect();
    if partitions.is_empty() {
        return Err(Fault::unavailable(format!(
            "the topic {topic} is not there"
        )));
    }
    Ok(partitions)
}

/// How many messages of the topic a group has not committed, asked without joining it; only those
/// before the mark, if there is one. Blocks, not longer than `within`.
pub(crate) fn lag(
    config: &KafkaConfig,
    group: &str,
    mark: Option<&QueueMark>,
    within: Duration,
) -> Result<u64, Fault> {
    let deadline = Instant::now() + within;
    let left = || deadline.saturating_duration_since(Instant::now());
    let topic = &config.topic;
    let wrong = |error: KafkaError| fault(&error, topic);
    let consumer: BaseConsumer = config.observer(group).create().map_err(wrong)?;
    let mut asked = TopicPartitionList::new();
    for partition in partitions(&consumer, topic, left())? {
        asked.add_partition(topic, partition);
    }
    let committed = consumer.committed_offsets(asked, left()).map_err(wrong)?;
    let mut lag = 0;
    for partition in committed.elements() {
        partition.error().map_err(wrong)?;
        let ends = consumer.fetch_watermarks(topic, partition.partition(), left());
        let (oldest, next) = ends.map_err(wrong)?;
        let done = match partition.offset() {
            Offset::Offset(offset) => offset.max(oldest),
            // Nothing is committed: a new member starts at the oldest.
            _ => oldest,
        };
        let end = match mark {
            // A partition that is newer than the mark has nothing before it.
            Some(mark) => {
                let mut ends = mark.ends.iter();
                let marked = ends.find(|(number, _)| *number == partition.partition());
                marked.map_or(0, |(_, end)| *end)
            }
            None => next,
        };
        lag += u64::try_from(end - done).unwrap_or(0);
    }
    Ok(lag)
}
