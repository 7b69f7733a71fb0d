use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::config::KafkaConfig;
use crate::error::{Fault, fault};

/// How many messages of the topic a group has not committed, asked without joining it. Blocks, not
/// longer than `within`.
pub(crate) fn lag(config: &KafkaConfig, group: &str, within: Duration) -> Result<u64, Fault> {
    let deadline = Instant::now() + within;
    let left = || deadline.saturating_duration_since(Instant::now());
    let topic = &config.topic;
    let wrong = |error: KafkaError| fault(&error, topic);
    let consumer: BaseConsumer = config.observer(group).create().map_err(wrong)?;
    let metadata = consumer.fetch_metadata(Some(topic), left());
    let metadata = metadata.map_err(wrong)?;
    let partitions = metadata.topics().first().map(|topic| topic.partitions());
    let mut asked = TopicPartitionList::new();
    for partition in partitions.unwrap_or_default() {
        asked.add_partition(topic, partition.id());
    }
    if asked.count() == 0 {
        return Err(Fault::unavailable(format!(
            "the topic {topic} is not there"
        )));
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
        lag += u64::try_from(next - done).unwrap_or(0);
    }
    Ok(lag)
}
