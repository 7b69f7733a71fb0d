use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use flashsale_core::ErrorKind;
use flashsale_core::ports::QueuePosition;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::{KafkaConfig, check_group};
use crate::error::{Fault, fault};
use crate::reports::log;

/// Those who ask the brokers how far groups are, without joining them: one for each group that is
/// asked about, on a thread of its own, because the client blocks.
///
/// An observer keeps its connections between questions, and ends when there was none for a while.
/// Questions that come while it is busy are answered together, by what the brokers say next.
#[derive(Debug)]
pub(crate) struct Observers {
    config: KafkaConfig,
    idle_max: Duration,
    rooms: Arc<Rooms>,
}

/// The next offset of each partition.
pub(crate) type EndOffsets = BTreeMap<i32, i64>;

/// Where questions about each group go.
type Rooms = Mutex<HashMap<String, SyncSender<Question>>>;

/// What is asked, and who wants to know it.
#[derive(Debug)]
enum Question {
    /// Where the partitions end.
    Ends(Reply<QueuePosition>),
    /// How much the group has not committed; only what is before the mark, if there is one.
    Left(Option<QueuePosition>, Reply<u64>),
}

type Reply<T> = oneshot::Sender<Result<T, Fault>>;

/// How long the brokers may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The most groups that are observed at the same time.
const GROUPS_MAX: usize = 16;
/// The most questions about a group that wait.
const WAITING_MAX: usize = 256;
/// After this time without a question an observer ends.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How often an observer without a question serves the events of its client.
const LOOK: Duration = Duration::from_secs(1);
/// The pause before a group is asked about again that is being given to another broker.
const MOVING_PAUSE: Duration = Duration::from_millis(20);
/// For questions that are about no group; it has no members and commits nothing.
const NO_GROUP: &str = "flashsale-mark";

impl Observers {
    pub(crate) fn new(config: KafkaConfig) -> Self {
        Self {
            config,
            idle_max: IDLE_MAX,
            rooms: Arc::default(),
        }
    }

    /// Where the partitions of the topic end now.
    pub(crate) async fn end(&self) -> Result<QueuePosition, Fault> {
        self.ask(NO_GROUP, Question::Ends).await
    }

    /// How many messages a group has not committed; only those before the mark, if there is one.
    pub(crate) async fn lag(&self, group: &str, mark: Option<QueuePosition>) -> Result<u64, Fault> {
        check_group(group)?;
        self.ask(group, |reply| Question::Left(mark, reply)).await
    }

    async fn ask<T>(
        &self,
        group: &str,
        question: impl FnOnce(Reply<T>) -> Question,
    ) -> Result<T, Fault> {
        let (reply, answered) = oneshot::channel();
        self.hand_over(group, question(reply))?;
        match timeout(ANSWER_MAX, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => {
                let ms = ANSWER_MAX.as_millis();
                Err(Fault::unavailable(format!("no answer within {ms} ms")))
            }
        }
    }

    /// Gives a question to the group's observer, a new one if there is none.
    fn hand_over(&self, group: &str, question: Question) -> Result<(), Fault> {
        let busy = |line: String| Err(Fault::new(ErrorKind::Busy, line));
        let mut rooms = lock(&self.rooms);
        if !rooms.contains_key(group) {
            if rooms.len() >= GROUPS_MAX {
                return busy(format!("{GROUPS_MAX} groups are asked about already"));
            }
            let room = self.start(group)?;
            rooms.insert(group.to_owned(), room);
        }
        match rooms[group].try_send(question) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                busy(format!("{WAITING_MAX} questions about {group} are waiting"))
            }
            // Its thread has panicked; the next question gets a new one.
            Err(TrySendError::Disconnected(_)) => {
                rooms.remove(group);
                Err(Fault::unavailable("the observer has ended"))
            }
        }
    }

    fn start(&self, group: &str) -> Result<SyncSender<Question>, Fault> {
        let (room, questions) = sync_channel(WAITING_MAX);
        let mut observer = Observer {
            config: self.config.clone(),
            group: group.to_owned(),
            idle_max: self.idle_max,
            questions,
            rooms: Arc::downgrade(&self.rooms),
            client: None,
        };
        let thread = std::thread::Builder::new().name("kafka observer".to_owned());
        thread
            .spawn(move || observer.run())
            .map_err(|error| Fault::unavailable(format!("no thread to ask: {error}")))?;
        Ok(room)
    }
}

/// One that asks about a group.
struct Observer {
    config: KafkaConfig,
    group: String,
    idle_max: Duration,
    questions: Receiver<Question>,
    rooms: Weak<Rooms>,
    /// Kept as long as it works.
    client: Option<Client>,
}

type Client = BaseConsumer<Quiet>;

impl Observer {
    fn run(&mut self) {
        while let Some(first) = self.next() {
            let others = self.questions.try_iter().take(WAITING_MAX);
            let questions: Vec<_> = std::iter::once(first).chain(others).collect();
            self.answer(questions);
        }
    }

    /// The next question; nothing if it is time to end.
    fn next(&self) -> Option<Question> {
        let over = Instant::now() + self.idle_max;
        loop {
            match self.questions.recv_timeout(LOOK.min(self.idle_max)) {
                Ok(question) => return Some(question),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if Instant::now() < over => self.serve_events(),
                Err(RecvTimeoutError::Timeout) => {
                    let rooms = self.rooms.upgrade()?;
                    let mut rooms = lock(&rooms);
                    // One that came just now is still answered; none comes after this.
                    let last = self.questions.try_recv();
                    if last.is_err() {
                        rooms.remove(&self.group);
                    }
                    return last.ok();
                }
            }
        }
    }

    /// What the client reports would pile up.
    fn serve_events(&self) {
        const EVENTS_MAX: usize = 64;
        if let Some(client) = &self.client {
            (0..EVENTS_MAX)
                .map_while(|_| client.poll(Duration::ZERO))
                .for_each(drop);
        }
    }

    /// Answers all of them by one look at the brokers, which begins now.
    fn answer(&mut self, questions: Vec<Question>) {
        self.serve_events();
        let client = match self.client.take() {
            Some(client) => Ok(client),
            None => Client::from_config_and_context(&self.config.observer(&self.group), Quiet),
        };
        let mut look = Look {
            topic: &self.config.topic,
            deadline: Instant::now() + ANSWER_MAX,
            client: client.map_err(|error| fault(&error, &self.config.topic)),
            committed: None,
            ends: BTreeMap::new(),
        };
        for question in questions {
            match question {
                Question::Ends(reply) if !reply.is_closed() => {
                    let _ = reply.send(look.mark());
                }
                Question::Left(mark, reply) if !reply.is_closed() => {
                    let _ = reply.send(look.left(mark.as_ref()));
                }
                // Nobody waits for it any more.
                Question::Ends(_) | Question::Left(..) => {}
            }
        }
        self.client = look.client.ok();
    }
}

/// What the brokers have said to some questions. After a fault everything else is that fault, and the
/// client is of no use any more.
struct Look<'a> {
    topic: &'a str,
    deadline: Instant,
    client: Result<Client, Fault>,
    /// What the group has committed in each partition, if anything.
    committed: Option<BTreeMap<i32, Option<i64>>>,
    /// The oldest and the next offset of a partition.
    ends: BTreeMap<i32, (i64, i64)>,
}

impl Look<'_> {
    fn mark(&mut self) -> Result<QueuePosition, Fault> {
        let ends = self.partitions()?.into_iter();
        let ends = ends.map(|partition| Ok((partition, self.ends(partition)?.1)));
        let ends: Result<EndOffsets, Fault> = ends.collect();
        Ok(QueuePosition::new(ends?))
    }

    fn left(&mut self, mark: Option<&QueuePosition>) -> Result<u64, Fault> {
        let mut left = 0;
        for (partition, committed) in self.committed()? {
            let end = match mark {
                // A partition that is newer than the mark has nothing before it.
                Some(mark) => {
                    let ends = mark.get::<EndOffsets>();
                    let end = ends.and_then(|ends| ends.get(&partition));
                    end.copied().unwrap_or_default()
                }
                None => self.ends(partition)?.1,
            };
            if committed.unwrap_or(0) >= end {
                continue;
            }
            // What is not kept any more is not read. Without a commit a new member starts there.
            let oldest = self.ends(partition)?.0;
            let done = committed.unwrap_or(oldest).max(oldest);
            left += u64::try_from(end - done).unwrap_or(0);
        }
        Ok(left)
    }

    fn committed(&mut self) -> Result<BTreeMap<i32, Option<i64>>, Fault> {
        if let Some(committed) = &self.committed {
            return Ok(committed.clone());
        }
        let mut asked = TopicPartitionList::new();
        for partition in self.partitions()? {
            asked.add_partition(self.topic, partition);
        }
        let deadline = self.deadline;
        let answer = self.call(|client, within| {
            loop {
                match committed(client, asked.clone(), within) {
                    Err(error) if is_moving(&error) && Instant::now() + MOVING_PAUSE < deadline => {
                        std::thread::sleep(MOVING_PAUSE);
                    }
                    answer => return answer,
                }
            }
        })?;
        Ok(self.committed.insert(answer).clone())
    }

    fn ends(&mut self, partition: i32) -> Result<(i64, i64), Fault> {
        if let Some(ends) = self.ends.get(&partition) {
            return Ok(*ends);
        }
        let topic = self.topic;
        let ends = self.call(|client, within| client.fetch_watermarks(topic, partition, within))?;
        self.ends.insert(partition, ends);
        Ok(ends)
    }

    fn partitions(&mut self) -> Result<Vec<i32>, Fault> {
        let topic = self.topic;
        let metadata = self.call(|client, within| client.fetch_metadata(Some(topic), within))?;
        let partitions = metadata.topics().first().map(|topic| topic.partitions());
        let partitions = partitions.unwrap_or_default().iter();
        let partitions: Vec<_> = partitions.map(|partition| partition.id()).collect();
        if partitions.is_empty() {
            let line = format!("the topic {topic} is not there");
            return Err(Fault::unavailable(line));
        }
        Ok(partitions)
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&Client, Duration) -> KafkaResult<T>,
    ) -> Result<T, Fault> {
        let within = self.deadline.saturating_duration_since(Instant::now());
        let client = self.client.as_ref().map_err(Fault::clone)?;
        call(client, within).map_err(|error| {
            let fault = fault(&error, self.topic);
            self.client = Err(fault.clone());
            fault
        })
    }
}

fn committed(
    client: &Client,
    asked: TopicPartitionList,
    within: Duration,
) -> KafkaResult<BTreeMap<i32, Option<i64>>> {
    let committed = client.committed_offsets(asked, within)?;
    let committed = committed.elements().into_iter().map(|one| {
        one.error()?;
        let offset = match one.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok((one.partition(), offset))
    });
    committed.collect()
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Callbacks of a client that only asks.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Quiet {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rdkafka::mocking::MockCluster;

    use super::*;

    #[tokio::test]
    async fn an_observer_without_questions_ends_and_the_next_question_gets_another() {
        let cluster = MockCluster::new(1).unwrap();
        let mut observers = Observers::new(KafkaConfig::new(cluster.bootstrap_servers()));
        cluster.create_topic("flashsale.attempts", 3, 1).unwrap();
        observers.idle_max = Duration::from_millis(20);
        for _ in 0..3 {
            let mark = observers.end().await.unwrap();
            assert_eq!(mark.get::<EndOffsets>().unwrap().len(), 3);
            let left = observers.lag("workers", Some(mark)).await;
            assert_eq!(left.unwrap(), 0);
            while !lock(&observers.rooms).is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}
