use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Where Kafka is and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `HOST:PORT`, several separated by commas. One that answers is enough to find the others.
    pub brokers: String,
    /// The topic of the attempts; `flashsale.attempts` by default. It is made if it is missing and
    /// may be made.
    pub topic: String,
    /// How many partitions a topic gets that is made; 12 by default. One that exists is used as it
    /// is. So many readers of a group can work at the same time.
    pub partitions: i32,
    /// How many brokers keep a copy of a topic that is made; what the brokers have for a default if
    /// nothing is said.
    pub replication: Option<i32>,
    /// How long publishing waits for the brokers, in milliseconds; 250 by default.
    pub publish_wait_ms: u64,
    /// How long an attempt waits for others to be sent along, in milliseconds; 1 by default.
    pub linger_ms: u64,
    /// The most attempts that wait in this process to be sent; further ones are
    /// [`Unconfirmed`](flashsale_core::ports::Published::Unconfirmed). 65,536 by default.
    pub waiting_max: usize,
    /// After this silence a reader counts as dead and its attempts go to the others of its group,
    /// in milliseconds; 6,000 by default, which is the least that brokers allow by default.
    pub session_ms: u64,
    /// Names this process among the readers of a group, for ever: if it is back within the session
    /// it gets its partitions back at once. No two processes may have one name. None by default.
    pub instance: Option<String>,
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
    #[error("{name} is {value}: must be {allowed}")]
    Range {
        /// The field.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// librdkafka refuses a setting.
    #[error("the Kafka client refuses its settings: {0}")]
    Client(String),
}

impl KafkaConfig {
    /// The defaults, for these brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: "flashsale.attempts".to_owned(),
            partitions: 12,
            replication: None,
            publish_wait_ms: 250,
            linger_ms: 1,
            waiting_max: 65_536,
            session_ms: 6_000,
            instance: None,
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
        let named = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let topic = &self.topic;
        let fits = (1..=249).contains(&topic.len()) && topic != "." && topic != "..";
        if !fits || !topic.chars().all(named) {
            return Err(ConfigError::Topic(topic.clone()));
        }
        let range = |name, value, fits, allowed| {
            if fits {
                Ok(())
            } else {
                Err(ConfigError::Range {
                    name,
                    value,
                    allowed,
                })
            }
        };
        let partitions = u64::try_from(self.partitions).unwrap_or(0);
        let fits = (1..=10_000).contains(&partitions);
        range("partitions", partitions, fits, "1 to 10000")?;
        if let Some(replication) = self.replication {
            let copies = u64::try_from(replication).unwrap_or(0);
            range("replication", copies, (1..=99).contains(&copies), "1 to 99")?;
        }
        let wait = self.publish_wait_ms;
        range(
            "publish_wait_ms",
            wait,
            (1..=60_000).contains(&wait),
            "1 to 60000",
        )?;
        let linger = self.linger_ms;
        range("linger_ms", linger, linger <= 1_000, "0 to 1000")?;
        let waiting = self.waiting_max as u64;
        let fits = (1_024..=1_000_000).contains(&waiting);
        range("waiting_max", waiting, fits, "1024 to 1000000")?;
        let session = self.session_ms;
        range(
            "session_ms",
            session,
            (1_000..=300_000).contains(&session),
            "1000 to 300000",
        )
    }

    /// What all clients have in common: they notice soon when a broker is back.
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "flashsale")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "200")
            .set("socket.timeout.ms", "3000")
            .set("socket.connection.setup.timeout.ms", "3000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("log.connection.close", "false");
        client.set_log_level(RDKafkaLogLevel::Warning);
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
            .set("queue.buffering.max.messages", self.waiting_max.to_string())
            // What was not confirmed in time is sent all the same when the brokers are back: a
            // message that is given up may be in the log already.
            .set("message.timeout.ms", "300000");
        client
    }

    /// One that reads attempts in a group.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", self.session_ms.to_string())
            .set("heartbeat.interval.ms", (self.session_ms / 4).to_string())
            // Many small fetches cost the brokers more than anything else; so wait a moment for
            // enough to come together.
            .set("fetch.min.bytes", "65536")
            .set("fetch.wait.max.ms", "20")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("enable.partition.eof", "false");
        if let Some(instance) = &self.instance {
            client.set("group.instance.id", instance);
        }
        client
    }

    /// One that asks and administers.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.client()
    }
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
        let wrong: [fn(&mut KafkaConfig); 7] = [
            |config| config.topic = "a topic".to_owned(),
            |config| config.topic = "a".repeat(250),
            |config| config.partitions = 0,
            |config| config.replication = Some(0),
            |config| config.publish_wait_ms = 0,
            |config| config.waiting_max = 1_023,
            |config| config.session_ms = 999,
        ];
        for change in wrong {
            let mut config = KafkaConfig::new("a:1");
            change(&mut config);
            config.validate().unwrap_err();
        }
    }
}
