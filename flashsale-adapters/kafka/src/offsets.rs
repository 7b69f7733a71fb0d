use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use flashsale_core::ports::QueuePosition;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::client_log::LogOnly;
use crate::config::{ConfigError, KafkaConfig, check_group};
use crate::error::{Fault, fault};

/// Asks the brokers where the topic ends and what groups have committed, without joining them.
///
/// The client blocks, so it has a thread of its own, which answers one question after the other.
#[derive(Debug)]
pub(crate) struct Offsets(SyncSender<Question>);

/// The next offset of each partition.
pub(crate) type EndOffsets = BTreeMap<i32, i64>;

type Question = Box<dyn FnOnce(&mut OffsetClient) + Send>;

/// How long the brokers may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The most questions that wait.
const WAITING_MAX: usize = 256;
/// After this time without a question the client ends, and with it its connections.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// The pause before a group is asked about again that is being given to another broker.
const MOVING_PAUSE: Duration = Duration::from_millis(20);
/// For questions that are about no group; it has no members and commits nothing.
const NO_GROUP: &str = "flashsale-end";

impl Offsets {
    pub(crate) fn start(config: KafkaConfig) -> Result<Self, ConfigError> {
        let (sender, questions) = sync_channel(WAITING_MAX);
        let client = OffsetClient {
            config,
            connected: None,
        };
        let thread = std::thread::Builder::new().name("kafka offsets".to_owned());
        thread
            .spawn(move || client.run(&questions))
            .map_err(|error| ConfigError::Client(error.to_string()))?;
        Ok(Self(sender))
    }

    /// Where the topic ends now.
    pub(crate) async fn end(&self) -> Result<QueuePosition, Fault> {
        let ends = self.ask(OffsetClient::end).await;
        ends.map(QueuePosition::new)
    }

    /// How many records before a position a group has not committed.
    pub(crate) async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, Fault> {
        check_group(group)?;
        let Some(ends) = until.get::<EndOffsets>().cloned() else {
            return Ok(0);
        };
        let group = group.to_owned();
        self.ask(move |client, deadline| client.lag(&group, &ends, deadline))
            .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut OffsetClient, Instant) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + ANSWER_MAX;
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |client: &mut OffsetClient| {
            // Perhaps nobody waits for it any more.
            if !reply.is_closed() {
                let _ = reply.send(question(client, deadline));
            }
        });
        match self.0.try_send(question) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let line = format!("{WAITING_MAX} questions about offsets are waiting");
                return Err(Fault::new(ErrorKind::Busy, line));
            }
            Err(TrySendError::Disconnected(_)) => return Err(no_answer()),
        }
        match timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(no_answer()),
        }
    }
}

fn no_answer() -> Fault {
    let ms = ANSWER_MAX.as_millis();
    Fault::unavailable(format!("no answer within {ms} ms"))
}

type Client = BaseConsumer<LogOnly>;

/// Has the client of the group that was asked about last.
struct OffsetClient {
    config: KafkaConfig,
    connected: Option<(String, Client)>,
}

impl OffsetClient {
    fn run(mut self, questions: &Receiver<Question>) {
        loop {
            match questions.recv_timeout(IDLE_MAX) {
                Ok(question) => question(&mut self),
                Err(RecvTimeoutError::Timeout) => self.connected = None,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn end(&mut self, deadline: Instant) -> Result<EndOffsets, Fault> {
        let ends = self.call(None, |client, topic| {
            let metadata = client.fetch_metadata(Some(topic), left(deadline))?;
            let partitions = metadata.topics().iter().flat_map(|one| one.partitions());
            let partitions: Vec<_> = partitions.map(|partition| partition.id()).collect();
            list_offsets(client, topic, &partitions, Offset::End, deadline)
        })?;
        if ends.is_empty() {
            let topic = &self.config.topic;
            let line = format!("the topic {topic} is not there");
            return Err(Fault::unavailable(line));
        }
        Ok(ends)
    }

    fn lag(&mut self, group: &str, ends: &EndOffsets, deadline: Instant) -> Result<u64, Fault> {
        self.call(Some(group), |client, topic| {
            let committed = committed(client, topic, ends.keys(), deadline)?;
            let next = |partition| committed.get(partition).copied();
            let behind = ends
                .iter()
                .filter(|(partition, end)| next(partition).unwrap_or(0) < **end);
            let partitions: Vec<_> = behind.clone().map(|(partition, _)| *partition).collect();
            // What is not kept any more is not read. Without a commit a new member starts there.
            let oldest = list_offsets(client, topic, &partitions, Offset::Beginning, deadline)?;
            let lags = behind.map(|(partition, end)| {
                let oldest = oldest.get(partition).copied().unwrap_or(0);
                let next = next(partition).map_or(oldest, |next| next.max(oldest));
                u64::try_from(end - next).unwrap_or(0)
            });
            Ok(lags.sum())
        })
    }

    /// Calls with a client of the group, or of any. One whose call fails is of no use any more.
    fn call<T>(
        &mut self,
        group: Option<&str>,
        call: impl FnOnce(&Client, &str) -> KafkaResult<T>,
    ) -> Result<T, Fault> {
        const EVENTS_MAX: usize = 64;
        let KafkaConfig { topic, .. } = &self.config;
        let fits = |of: &str| group.is_none_or(|group| group == of);
        let (group, client) = match self.connected.take().filter(|(of, _)| fits(of)) {
            Some(connected) => connected,
            None => {
                let group = group.unwrap_or(NO_GROUP).to_owned();
                let client = self.config.offset_client(&group);
                let client = Client::from_config_and_context(&client, LogOnly);
                (group, client.map_err(|error| fault(&error, topic))?)
            }
        };
        // What the client reports would pile up.
        (0..EVENTS_MAX)
            .map_while(|_| client.poll(Duration::ZERO))
            .for_each(drop);
        let answer = call(&client, topic).map_err(|error| fault(&error, topic))?;
        self.connected = Some((group, client));
        Ok(answer)
    }
}

/// The oldest or the next offset of each of these partitions, all of them.
fn list_offsets(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    which: Offset,
    deadline: Instant,
) -> KafkaResult<BTreeMap<i32, i64>> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition_offset(topic, *partition, which)?;
    }
    let listed = known(&client.offsets_for_times(asked, left(deadline))?)?;
    // Whoever waits until a group is at the end must not pass over a partition.
    match listed.len() == partitions.len() {
        true => Ok(listed),
        false => Err(KafkaError::OffsetFetch(Code::UnknownPartition)),
    }
}

/// The next offset of each of these partitions that the client's group has committed something in.
fn committed<'a>(
    client: &Client,
    topic: &str,
    partitions: impl Iterator<Item = &'a i32>,
    deadline: Instant,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic, *partition);
    }
    loop {
        match client.committed_offsets(asked.clone(), left(deadline)) {
            Err(error) if is_moving(&error) && left(deadline) > MOVING_PAUSE => {
                std::thread::sleep(MOVING_PAUSE);
            }
            answer => return known(&answer?),
        }
    }
}

fn known(answer: &TopicPartitionList) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut known = BTreeMap::new();
    for one in answer.elements() {
        one.error()?;
        if let Offset::Offset(offset) = one.offset() {
            known.insert(one.partition(), offset);
        }
    }
    Ok(known)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Whether the group is being given to another broker, or to the first one.
fn is_moving(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress
        )
    )
}
