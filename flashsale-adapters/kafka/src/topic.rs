use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use tokio::time::sleep;

use crate::attempt_queue::Inner;
use crate::config::KafkaConfig;
use crate::error::{ASK_MAX, is_forbidden};
use crate::producer::log;

/// What is known about the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing yet: no broker has answered.
    Nothing,
    /// It is there.
    There,
    /// It is not there, and the brokers do not let us make it: what is wrong and what to do.
    Refused(String),
}

/// What is known about the topic, kept up to date by [`look_after`].
#[derive(Debug)]
pub(crate) struct Topic(Mutex<Known>);

impl Topic {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Known::Nothing))
    }

    pub(crate) fn known(&self) -> Known {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, known: Known) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Known::Refused(problem) = &known
            && *now != known
        {
            tracing::error!(problem, "the topic of the attempts cannot be used");
        }
        *now = known;
    }
}

/// Quiet callbacks for the client that administers.
#[derive(Debug)]
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

/// Makes the topic if it is missing, and tries again until it is there or the queue is gone.
pub(crate) async fn look_after(queue: Weak<Inner>, config: KafkaConfig) {
    const PAUSE_MIN: Duration = Duration::from_millis(200);
    const PAUSE_MAX: Duration = Duration::from_secs(2);
    let mut pause = PAUSE_MIN;
    loop {
        let known = ensure(&queue, &config).await;
        let Some(inner) = queue.upgrade() else {
            return;
        };
        let there = known == Known::There;
        inner.topic.set(known);
        drop(inner);
        if there {
            return;
        }
        sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

async fn ensure(queue: &Weak<Inner>, config: &KafkaConfig) -> Known {
    match look(queue).await {
        Some(Known::Nothing) => create(config).await,
        Some(known) => known,
        None => Known::Nothing,
    }
}

/// Asks whether the topic is there; [`Known::Nothing`] if it is not, `None` if nobody answers.
async fn look(queue: &Weak<Inner>) -> Option<Known> {
    let inner = queue.upgrade()?;
    let asked = tokio::task::spawn_blocking(move || inner.producer.metadata(ASK_MAX));
    let metadata = asked.await.ok()?.ok()?;
    let topic = metadata.topics().first()?;
    match topic.error() {
        None => Some(Known::There),
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        ) => Some(Known::Nothing),
        Some(error) => match RDKafkaErrorCode::from(error) {
            code if is_forbidden(code) => Some(Known::Refused(format!(
                "no right to topic {}: give this user the rights to describe, read and write it",
                topic.name()
            ))),
            _ => None,
        },
    }
}

async fn create(config: &KafkaConfig) -> Known {
    let KafkaConfig {
        topic, partitions, ..
    } = config;
    let Ok(admin) = AdminClient::from_config_and_context(&config.admin(), Quiet) else {
        return Known::Nothing;
    };
    let replication = TopicReplication::Fixed(config.replication.unwrap_or(-1));
    let new = NewTopic::new(topic, *partitions, replication);
    let options = AdminOptions::new()
        .request_timeout(Some(Duration::from_secs(5)))
        .operation_timeout(Some(Duration::from_secs(5)));
    let created = admin.create_topics([&new], &options).await;
    // Ending it waits for its thread.
    std::thread::spawn(move || drop(admin));
    let refused = |code: RDKafkaErrorCode| {
        Known::Refused(format!(
            "topic {topic} does not exist and cannot be made ({code}): make it with {partitions} \
             partitions, or give this user the right to create it"
        ))
    };
    match created {
        Ok(results) => match results.into_iter().next() {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Known::There,
            Some(Err((
                _,
                RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::NotController
                | RDKafkaErrorCode::CoordinatorNotAvailable,
            )))
            | None => Known::Nothing,
            Some(Err((_, code))) => refused(code),
        },
        Err(error) => match error.rdkafka_error_code() {
            Some(code) if is_forbidden(code) => refused(code),
            _ => Known::Nothing,
        },
    }
}
