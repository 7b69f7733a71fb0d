use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::client_log::LogOnly;
use crate::config::{ConfigError, KafkaConfig};
use crate::error::{Fault, fault, refusal};
use crate::health::{Health, no_answer};
use crate::producer::{Producer, Producers};

/// Sees to it that Kafka can be used, from a thread of its own, for as long as it lives: makes the
/// topic if it is missing, replaces a producer that cannot go on, and tells the [`Health`].
#[derive(Debug)]
pub(crate) struct TopicAdmin(Arc<Health>);

/// The pause before the next look while something is wrong.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the brokers may take to say what they know of the topic.
const ASK_MAX: Duration = Duration::from_millis(1_000);
/// How long they may take to make it.
const MAKE_MAX: Duration = Duration::from_secs(5);
/// How long a new topic may take to be usable.
const SETTLE_MAX: Duration = Duration::from_secs(2);

impl TopicAdmin {
    pub(crate) fn start(
        config: KafkaConfig,
        producers: Arc<Producers>,
        health: Arc<Health>,
    ) -> Result<Self, ConfigError> {
        let admin = Self(Arc::clone(&health));
        let thread = std::thread::Builder::new().name("kafka admin".to_owned());
        thread
            .spawn(move || run(&config, &producers, &health))
            .map_err(|error| ConfigError::Client(error.to_string()))?;
        Ok(admin)
    }
}

impl Drop for TopicAdmin {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn run(config: &KafkaConfig, producers: &Producers, health: &Health) {
    let mut known = Ok(());
    let mut pause = PAUSE_MIN;
    loop {
        let sound = producers.mend();
        let number = health.begin();
        let producer = producers.present();
        let ensured = ensure(&producer, config);
        // Who is refused may not even learn whether the topic is there.
        let found = health.refusal().map_or(ensured, Err);
        if found.is_ok() {
            producer.answers();
        }
        drop(producer);
        log_change(config, &known, &found);
        known.clone_from(&found);
        let healthy = found.is_ok() && sound;
        health.end(number, found);
        pause = match healthy {
            true => PAUSE_MIN,
            false => PAUSE_MAX.min(pause * 2),
        };
        if !health.wait(number, pause, !healthy) {
            return;
        }
    }
}

/// Nothing is logged while things stay as they are.
fn log_change(config: &KafkaConfig, known: &Result<(), Fault>, found: &Result<(), Fault>) {
    if known == found {
        return;
    }
    let KafkaConfig { brokers, topic, .. } = config;
    match found {
        Ok(()) => tracing::info!(brokers, topic, "Kafka can be used"),
        Err(why) => tracing::warn!(brokers, topic, %why, "Kafka cannot be used; trying again"),
    }
}

/// Sees to it that the topic is there and can be used. Blocks, for seconds at most.
fn ensure(producer: &Producer, config: &KafkaConfig) -> Result<(), Fault> {
    match look(producer, config)? {
        Topic::Ready => return Ok(()),
        Topic::Leaderless => return Err(leaderless(config)),
        Topic::Missing { brokers } => create(config, brokers)?,
    }
    let since = Instant::now();
    while since.elapsed() < SETTLE_MAX {
        if let Ok(Topic::Ready) = look(producer, config) {
            let (topic, partitions) = (&config.topic, config.partitions);
            tracing::info!(topic, partitions, "created the topic of the attempts");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(leaderless(config))
}

/// What the brokers say about the topic.
enum Topic {
    Ready,
    /// Some partitions have no leader now.
    Leaderless,
    Missing {
        /// How many brokers there are.
        brokers: usize,
    },
}

fn look(producer: &Producer, config: &KafkaConfig) -> Result<Topic, Fault> {
    let name = &config.topic;
    let metadata = match producer.metadata(name, ASK_MAX) {
        Ok(metadata) => metadata,
        Err(error) => match error.rdkafka_error_code() {
            Some(Code::BrokerTransportFailure | Code::OperationTimedOut) => {
                return Err(no_answer());
            }
            _ => return Err(fault(&error, name)),
        },
    };
    let Some(topic) = metadata.topics().first() else {
        return Err(Fault::unavailable("the brokers do not know the topic yet"));
    };
    match topic.error().map(Code::from) {
        None if has_leaders(topic) => Ok(Topic::Ready),
        None | Some(Code::LeaderNotAvailable) => Ok(Topic::Leaderless),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(Topic::Missing {
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

fn create(config: &KafkaConfig, brokers: usize) -> Result<(), Fault> {
    let KafkaConfig {
        topic, partitions, ..
    } = config;
    if !config.create_topic {
        return Err(Fault::misconfigured(format!(
            "the topic {topic} does not exist: make it, with {partitions} partitions"
        )));
    }
    match request_creation(config) {
        Ok(Ok(_) | Err((_, Code::TopicAlreadyExists))) => Ok(()),
        Ok(Err((_, code))) => Err(not_created(config, brokers, code)),
        Err(error) => match error.rdkafka_error_code() {
            Some(code) => Err(not_created(config, brokers, code)),
            None => Err(Fault::unavailable(error.to_string())),
        },
    }
}

fn request_creation(config: &KafkaConfig) -> Result<TopicResult, KafkaError> {
    let admin = AdminClient::from_config_and_context(&config.client(), LogOnly)?;
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
fn not_created(config: &KafkaConfig, brokers: usize, code: Code) -> Fault {
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
