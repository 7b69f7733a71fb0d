use std::fmt;

use flashsale_core::ErrorKind;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::error::Fault;

/// The session that is asked for if nothing is said: so long the attempts of a reader that is killed
/// wait for another one. Shorter ones end by themselves on a machine that is busy.
const SESSION_SHORT_MS: u64 = 2_000;
/// The shortest session that brokers grant by default.
pub(crate) const SESSION_LONG_MS: u64 = 6_000;
/// The longest time until a reader hears that its group is finding a new order.
const HEARTBEAT_MAX_MS: u64 = 500;

/// Where Kafka is and how it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `HOST:PORT`, several separated by commas. One that answers is enough to find the others.
    pub brokers: String,
    /// The topic of the attempts; `flashsale.attempts` by default.
    pub topic: String,
    /// Whether the topic is made if it is missing; it is by default.
    pub create_topic: bool,
    /// How many partitions a topic gets that is made; 12 by default. One that exists is used as it
    /// is. So many readers of a group can work at the same time.
    pub partitions: i32,
    /// What decides which partition an attempt goes to; a batch keeps together by default.
    pub partition_by: PartitionBy,
    /// How many brokers keep a copy of a topic that is made; what the brokers have for a default if
    /// nothing is said. With 3 or more, two of them have to confirm an attempt.
    pub replication: Option<i32>,
    /// How long publishing waits for the brokers, in milliseconds; 250 by default.
    pub publish_wait_ms: u64,
    /// How long an attempt waits for others to be sent along, in milliseconds; 1 by default.
    pub linger_ms: u64,
    /// The most attempts that wait in this process to be sent; further ones are
    /// [`Unconfirmed`](flashsale_core::ports::Published::Unconfirmed). 65,536 by default.
    pub waiting_max: usize,
    /// The most attempts that wait in this process to be read, for each reader; 4,096 by default.
    pub buffer_max: usize,
    /// How long a commit waits for the brokers, in milliseconds; 250 by default. What is not
    /// confirmed by then is committed later: a group that is finding a new order confirms nothing,
    /// and its readers go on meanwhile.
    pub commit_wait_ms: u64,
    /// After this silence a reader counts as dead and its attempts go to the others of its group,
    /// in milliseconds. If nothing is said, 2,000, and 6,000 with brokers that refuse so little,
    /// as they do by default (`group.min.session.timeout.ms`).
    pub session_ms: Option<u64>,
    /// Further settings of librdkafka, with their values, for the connections: credentials,
    /// compression and the like. Those that this adapter has promises on are refused. Values do not
    /// print.
    pub properties: Vec<(String, String)>,
}

/// What decides which partition an attempt goes to. The message's key is the user in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PartitionBy {
    /// The batch: attempts that are published together stay together, and the next batch goes to the
    /// next partition. A partition that does not answer is left. Large requests cost much less.
    #[default]
    Batch,
    /// The user: the murmur2 hash of the key, as with Java clients, so that all attempts of a user
    /// are in one partition. For other programs that read the topic and rely on it.
    User,
}

/// Why a [`KafkaConfig`] cannot be used. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Brokers are named by host and port.
    #[error("{0:?} is not a list of brokers: must be like 127.0.0.1:9092 or a:9092,b:9092")]
    Brokers(String),
    /// Topics have names that Kafka takes.
    #[error(
        "{0:?} is not the name of a topic: must have 1 to 249 letters, digits, '.', '_' or '-'"
    )]
    Topic(String),
    /// A number is out of range.
    #[error("{name} must be from {min} to {max}, but is {value}")]
    Range {
        /// The field.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The least it can be.
        min: u64,
        /// The most it can be.
        max: u64,
    },
    /// A further setting is unknown, has no such value, or is not free.
    #[error("the Kafka property {name}: {problem}")]
    Property {
        /// The property.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The client cannot be made.
    #[error("no Kafka client can be made: {0}")]
    Client(String),
}

impl KafkaConfig {
    /// The defaults, for these brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: "flashsale.attempts".to_owned(),
            create_topic: true,
            partitions: 12,
            partition_by: PartitionBy::default(),
            replication: None,
            publish_wait_ms: 250,
            linger_ms: 1,
            waiting_max: 65_536,
            buffer_max: 4_096,
            commit_wait_ms: 250,
            session_ms: None,
            properties: Vec::new(),
        }
    }

    /// Checks every setting, without asking the brokers.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.brokers.split(',').all(is_broker) {
            return Err(ConfigError::Brokers(self.brokers.clone()));
        }
        let topic = &self.topic;
        if !is_topic(topic) {
            return Err(ConfigError::Topic(topic.clone()));
        }
        self.validate_numbers()?;
        self.validate_properties()
    }

    fn validate_numbers(&self) -> Result<(), ConfigError> {
        let partitions = u64::try_from(self.partitions).unwrap_or(0);
        let replication = u64::try_from(self.replication.unwrap_or(1)).unwrap_or(0);
        let ranges = [
            ("partitions", partitions, 1, 10_000),
            ("replication", replication, 1, 99),
            ("publish_wait_ms", self.publish_wait_ms, 1, 60_000),
            ("linger_ms", self.linger_ms, 0, 1_000),
            ("waiting_max", self.waiting_max as u64, 1_024, 1_000_000),
            ("buffer_max", self.buffer_max as u64, 1, 1_000_000),
            ("commit_wait_ms", self.commit_wait_ms, 10, 60_000),
            ("session_ms", self.session_asked_ms(), 1_000, 300_000),
        ];
        let mut ranges = ranges.into_iter();
        match ranges.find(|(_, value, min, max)| !(min..=max).contains(&value)) {
            Some((name, value, min, max)) => Err(ConfigError::Range {
                name,
                value,
                min,
                max,
            }),
            None => Ok(()),
        }
    }

    fn validate_properties(&self) -> Result<(), ConfigError> {
        let wrong = |name: &str, problem: &str| ConfigError::Property {
            name: name.to_owned(),
            problem: problem.to_owned(),
        };
        if let Some((name, _)) = self.properties.iter().find(|(name, _)| is_ours(name)) {
            return Err(wrong(name, "is not free: this adapter's promises need it"));
        }
        let encrypts = |(name, value): &&(String, String)| needs_encryption(name, value);
        let encrypting = self.properties.iter().find(encrypts);
        if let Some((name, _)) = encrypting.filter(|_| !cfg!(feature = "tls")) {
            return Err(wrong(name, "needs a build with the feature `tls`"));
        }
        let consumer = self.consumer("group", "instance", self.session_asked_ms());
        for client in [self.producer(), consumer] {
            match client.create_native_config() {
                Ok(_) => {}
                Err(KafkaError::ClientConfig(_, problem, name, _)) => {
                    return Err(wrong(&name, &problem));
                }
                Err(error) => return Err(ConfigError::Client(error.to_string())),
            }
        }
        Ok(())
    }

    /// What all clients have in common: they notice soon when a broker is back.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "flashsale")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "200")
            // For so long a request hangs on a broker that is frozen.
            .set("socket.timeout.ms", "3000")
            .set("socket.connection.setup.timeout.ms", "3000")
            .set("socket.keepalive.enable", "true")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("log.connection.close", "false");
        client.set_log_level(RDKafkaLogLevel::Warning);
        self.adjusted(client)
    }

    /// With the further settings, which go before those above.
    fn adjusted(&self, mut client: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
    }

    /// One that writes attempts.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", self.linger_ms.to_string())
            // Where the clients of other languages put a key, too.
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", self.waiting_max.to_string());
        client
    }

    /// The session that is asked for first.
    pub(crate) fn session_asked_ms(&self) -> u64 {
        self.session_ms.unwrap_or(SESSION_SHORT_MS)
    }

    /// A static member of a group that reads attempts.
    pub(crate) fn consumer(&self, group: &str, instance_id: &str, session_ms: u64) -> ClientConfig {
        let heartbeat_ms = HEARTBEAT_MAX_MS.min(session_ms / 4);
        let mut client = self.offset_client(group);
        client
            .set("group.instance.id", instance_id)
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", heartbeat_ms.to_string())
            // Many small fetches cost the brokers more than anything else; so wait a moment for
            // enough to come together.
            .set("fetch.min.bytes", "1000000")
            .set("fetch.wait.max.ms", "20")
            // What is fetched ahead is dropped when the partitions are paused.
            .set("queued.min.messages", "2000")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "10")
            // A topic that is not there yet is looked for this often.
            .set("topic.metadata.refresh.interval.ms", "1000");
        self.adjusted(client)
    }

    /// One that asks about a group without being a member.
    pub(crate) fn offset_client(&self, group: &str) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        client
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            brokers,
            topic,
            create_topic,
            partitions,
            partition_by,
            replication,
            publish_wait_ms,
            linger_ms,
            waiting_max,
            buffer_max,
            commit_wait_ms,
            session_ms,
            properties,
        } = self;
        let properties: Vec<_> = properties.iter().map(|(name, _)| name).collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", brokers)
            .field("topic", topic)
            .field("create_topic", create_topic)
            .field("partitions", partitions)
            .field("partition_by", partition_by)
            .field("replication", replication)
            .field("publish_wait_ms", publish_wait_ms)
            .field("linger_ms", linger_ms)
            .field("waiting_max", waiting_max)
            .field("buffer_max", buffer_max)
            .field("commit_wait_ms", commit_wait_ms)
            .field("session_ms", session_ms)
            .field("properties", &properties)
            .finish()
    }
}

/// The properties that promises or fields of this adapter need; also those that would be set after
/// them all the same.
fn is_ours(property: &str) -> bool {
    const OURS: [&str; 26] = [
        "acks",
        "request.required.acks",
        "allow.auto.create.topics",
        "auto.commit.enable",
        "auto.offset.reset",
        "bootstrap.servers",
        "metadata.broker.list",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "linger.ms",
        "queue.buffering.max.ms",
        "log.queue",
        "partition.assignment.strategy",
        "partitioner",
        "queue.buffering.max.messages",
        "queuing.strategy",
        "session.timeout.ms",
        "test.mock.num.brokers",
        "transactional.id",
    ];
    OURS.contains(&property)
}

/// Whether a property needs what only a build with OpenSSL has.
fn needs_encryption(name: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match name {
        "security.protocol" => value.ends_with("ssl"),
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("scram"),
        _ => name.starts_with("ssl."),
    }
}

/// The longest name of a group.
const GROUP_LEN_MAX: usize = 249;

/// Refuses what cannot be the name of a group.
pub(crate) fn check_group(group: &str) -> Result<(), Fault> {
    if group.is_empty() || group.len() > GROUP_LEN_MAX || group.contains(char::is_control) {
        let line = "the name of a group must have 1 to 249 bytes and no control characters";
        return Err(Fault::new(ErrorKind::Invalid, line));
    }
    Ok(())
}

fn is_topic(name: &str) -> bool {
    let named = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    (1..=249).contains(&name.len()) && name.chars().all(named) && !matches!(name, "." | "..")
}

fn is_broker(broker: &str) -> bool {
    let Some((host, port)) = broker.trim().rsplit_once(':') else {
        return false;
    };
    let named = |c: char| c.is_ascii_alphanumeric() || ".-_:[]%".contains(c);
    !host.is_empty() && host.chars().all(named) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{ConfigError, KafkaConfig};

    #[test]
    fn brokers_are_hosts_with_ports() {
        for brokers in [
            "127.0.0.1:9092",
            "a:1,b:2",
            "[::1]:9092",
            "kafka.shop.example:9092",
        ] {
            KafkaConfig::new(brokers).validate().unwrap();
        }
        for brokers in [
            "",
            "localhost",
            "a:0",
            "a:70000",
            "kafka://a:9092",
            "a:1,",
            "a b:1",
        ] {
            let error = KafkaConfig::new(brokers).validate().unwrap_err();
            assert_eq!(error, ConfigError::Brokers(brokers.to_owned()));
            assert!(error.to_string().contains("127.0.0.1:9092"));
        }
    }

    #[test]
    fn limits_are_held() {
        let right: [fn(&mut KafkaConfig); 5] = [
            |config| config.topic = "a".repeat(249),
            |config| config.replication = Some(1),
            |config| config.publish_wait_ms = 1,
            |config| config.waiting_max = 1_024,
            |config| config.session_ms = Some(1_000),
        ];
        for change in right {
            let mut config = KafkaConfig::new("a:1");
            change(&mut config);
            config.validate().unwrap();
        }
        let wrong: [fn(&mut KafkaConfig); 7] = [
            |config| config.topic = "a topic".to_owned(),
            |config| config.topic = "a".repeat(250),
            |config| config.partitions = 0,
            |config| config.replication = Some(0),
            |config| config.publish_wait_ms = 0,
            |config| config.waiting_max = 1_023,
            |config| config.session_ms = Some(999),
        ];
        for change in wrong {
            let mut config = KafkaConfig::new("a:1");
            change(&mut config);
            config.validate().unwrap_err();
        }
    }
    #[test]
    fn properties_are_those_of_the_client_and_free() {
        let with = |name: &str, value: &str| KafkaConfig {
            properties: vec![(name.to_owned(), value.to_owned())],
            ..KafkaConfig::new("a:1")
        };
        with("compression.type", "lz4").validate().unwrap();
        with("fetch.wait.max.ms", "100").validate().unwrap();
        for (name, value) in [
            ("acks", "1"),
            ("enable.auto.commit", "true"),
            ("compresion.type", "lz4"),
            ("message.timeout.ms", "soon"),
        ] {
            let error = with(name, value).validate().unwrap_err();
            let ConfigError::Property { name: named, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(named, name);
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }

    #[test]
    fn values_of_properties_do_not_print() {
        let config = KafkaConfig {
            properties: vec![("sasl.password".to_owned(), "hunter2".to_owned())],
            ..KafkaConfig::new("a:1")
        };
        let shown = format!("{config:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"));
    }
}
