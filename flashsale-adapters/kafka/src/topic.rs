use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::config::KafkaConfig;
use crate::error::{Fault, fault, refusal};
use crate::producer::Producer;
use crate::reports::log;

/// How long the brokers may take to say what they know of the topic.
const ASK_MAX: Duration = Duration::from_millis(1_000);
/// How long they may take to make it.
const MAKE_MAX: Duration = Duration::from_secs(5);
/// How long a new topic may take to be usable.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Sees to it that the topic is there and can be used. Blocks, for seconds at most.
pub(crate) fn ensure(producer: &Producer, config: &KafkaConfig) -> Result<(), Fault> {
    match look(producer, config)? {
        Found::Ready => return Ok(()),
        Found::Leaderless => return Err(leaderless(config)),
        Found::Missing { brokers } => make(config, brokers)?,
    }
    let since = Instant::now();
    while since.elapsed() < SETTLE_MAX {
        if let Ok(Found::Ready) = look(producer, config) {
            let (topic, partitions) = (&config.topic, config.partitions);
            tracing::info!(topic, partitions, "made the topic of the attempts");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(leaderless(config))
}

/// What the brokers say about the topic.
enum Found {
    Ready,
    /// Some partitions have no leader now.
    Leaderless,
    Missing {
        /// How many brokers there are.
        brokers: usize,
    },
}

fn look(producer: &Producer, config: &KafkaConfig) -> Result<Found, Fault> {
    let name = &config.topic;
    let metadata = match producer.metadata(name, ASK_MAX) {
        Ok(metadata) => metadata,
        Err(error) => match error.rdkafka_error_code() {
            Some(Code::BrokerTransportFailure | Code::OperationTimedOut) => {
                return Err(Fault::unavailable("no broker answers"));
            }
            _ => return Err(fault(&error, name)),
        },
    };
    let Some(topic) = metadata.topics().first() else {
        return Err(Fault::unavailable("the brokers do not know the topic yet"));
    };
    match topic.error().map(Code::from) {
        None if has_leaders(topic) => Ok(Found::Ready),
        None | Some(Code::LeaderNotAvailable) => Ok(Found::Leaderless),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(Found::Missing {
            brokers: metadata.brokers().len(),
        }),
        Some(code) => Err(refusal(code, name).unwrap_or_else(|| {
            Fault::unavailable(format!("the topic {name} cannot be used: {code}"))
        })),
    }
}

fn has_leaders(topic: &MetadataTopic) -> bool {
    let partitions = topic.partitions();
    !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0)
}

fn leaderless(config: &KafkaConfig) -> Fault {
    let topic = &config.topic;
    Fault::unavailable(format!("partitions of the topic {topic} have no leader"))
}

fn make(config: &KafkaConfig, brokers: usize) -> Result<(), Fault> {
    let KafkaConfig {
        topic, partitions, ..
    } = config;
    if !config.create_topic {
        return Err(Fault::misconfigured(format!(
            "the topic {topic} does not exist: make it, with {partitions} partitions"
        )));
    }
    match ask_to_make(config) {
        Ok(Ok(_) | Err((_, Code::TopicAlreadyExists))) => Ok(()),
        Ok(Err((_, code))) => Err(not_made(config, brokers, code)),
        Err(error) => match error.rdkafka_error_code() {
            Some(code) => Err(not_made(config, brokers, code)),
            None => Err(Fault::unavailable(error.to_string())),
        },
    }
}

fn ask_to_make(config: &KafkaConfig) -> Result<rdkafka::admin::TopicResult, KafkaError> {
    let admin = AdminClient::from_config_and_context(&config.client(), Quiet)?;
    let replication = config.replication.unwrap_or(-1);
    let mut new = NewTopic::new(
        &config.topic,
        config.partitions,
        TopicReplication::Fixed(replication),
    );
    if replication >= 3 {
        // What one broker alone has acknowledged is lost with its disk.
        new = new.set("min.insync.replicas", "2");
    }
    let options = AdminOptions::new()
        .request_timeout(Some(MAKE_MAX))
        .operation_timeout(Some(MAKE_MAX));
    // Only to wait for one answer, on a thread that is not the runtime's.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| KafkaError::AdminOpCreation(error.to_string()))?;
    let results = runtime.block_on(admin.create_topics([&new], &options))?;
    let result = results.into_iter().next();
    result.ok_or_else(|| KafkaError::AdminOpCreation("no answer about the topic".to_owned()))
}

/// What a refusal to make the topic means, and what can be done about it.
fn not_made(config: &KafkaConfig, brokers: usize, code: Code) -> Fault {
    let KafkaConfig {
        topic, partitions, ..
    } = config;
    let missing = format!("the topic {topic} does not exist");
    match code {
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            Fault::misconfigured(format!(
                "{missing}, and this user may not make it: make it, with {partitions} partitions, \
                 or grant this user CREATE on it"
            ))
        }
        Code::InvalidReplicationFactor => {
            let copies = match config.replication {
                Some(copies) => format!("{copies} copies"),
                None => "as many copies as default.replication.factor says".to_owned(),
            };
            // They may come up one by one.
            Fault::unavailable(format!(
                "{missing}, and {brokers} brokers cannot keep {copies} of it: start more brokers, \
                 or set a smaller replication"
            ))
        }
        Code::PolicyViolation | Code::InvalidPartitions | Code::InvalidConfig => {
            Fault::misconfigured(format!(
                "{missing}, and the brokers do not make one with {partitions} partitions ({code}): \
                 make it by hand"
            ))
        }
        code => refusal(code, topic)
            .unwrap_or_else(|| Fault::unavailable(format!("{missing}, and was not made: {code}"))),
    }
}

/// Callbacks of the client that administers.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}
