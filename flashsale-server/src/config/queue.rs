use flashsale_core::services::{AcceptAfter, OnPublishFailure};
use flashsale_kafka::PartitionBy;

use super::{Secret, SettingError, given};

/// The attempt queue of the distributed engine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct QueueArgs {
    /// Kafka, for a postgres: database: HOST:PORT, several separated by commas
    #[arg(
        long,
        env = "KAFKA_BROKERS",
        hide_env_values = true,
        value_name = "BROKERS"
    )]
    kafka_brokers: Option<String>,

    /// Topic of the attempts [default: flashsale.attempts]
    #[arg(
        long,
        env = "KAFKA_TOPIC_FLASH_SALE_ATTEMPTS",
        hide_env_values = true,
        value_name = "TOPIC"
    )]
    kafka_topic: Option<String>,

    /// Group of the workers [default: flash-sale-worker-group]
    #[arg(
        long,
        env = "KAFKA_CONSUMER_GROUP",
        hide_env_values = true,
        value_name = "GROUP"
    )]
    kafka_consumer_group: Option<String>,

    /// Further properties of librdkafka, for connections that are encrypted or need a login, and the
    /// like: NAME=VALUE, one a line or several separated by semicolons; a semicolon in a value is
    /// written twice
    #[arg(
        long,
        env = "KAFKA_PROPERTIES",
        hide_env_values = true,
        value_name = "PROPERTIES",
        value_parser = secret
    )]
    kafka_properties: Option<Secret>,

    /// What decides an attempt's partition: `batch` (attempts that come together stay together, which
    /// costs Kafka much less) or `user` (the message's key, for other readers of the topic that rely
    /// on it) [default: batch]
    #[arg(
        long,
        env = "KAFKA_PARTITION_BY",
        hide_env_values = true,
        value_name = "WHAT"
    )]
    kafka_partition_by: Option<String>,

    /// When an attempt is answered: `logged` (Kafka has it, or 250 ms are over) or `reserved`
    /// (Redis has it; faster, and as durable as Redis) [default: logged]
    #[arg(
        long,
        env = "ACCEPT_AFTER",
        hide_env_values = true,
        value_name = "STAGE"
    )]
    accept_after: Option<String>,

    /// What becomes of an attempt that Kafka does not confirm within 250 ms: `complete` (it is
    /// accepted, published again, and decided in any case) or `release` (it fails, its unit comes
    /// back, and the buyer is asked to try again) [default: complete]
    #[arg(
        long,
        env = "ON_PUBLISH_FAILURE",
        hide_env_values = true,
        value_name = "WHAT"
    )]
    on_publish_failure: Option<String>,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// The checked form of [`QueueArgs`]. Whether the brokers can be used is checked by the adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueConfig {
    /// `HOST:PORT`, separated by commas.
    pub(crate) brokers: String,
    /// The topic of the attempts.
    pub(crate) topic: String,
    /// The group of the workers.
    pub(crate) group: String,
    /// Further properties; their values may be secrets.
    pub(crate) properties: Vec<(String, Secret)>,
    /// What decides the partition of an attempt.
    pub(crate) partition_by: PartitionBy,
    /// When an attempt is answered.
    pub(crate) accept_after: AcceptAfter,
    /// What becomes of an attempt that the queue does not take.
    pub(crate) on_publish_failure: OnPublishFailure,
}

impl QueueArgs {
    const TOPIC_DEFAULT: &str = "flashsale.attempts";
    const GROUP_DEFAULT: &str = "flash-sale-worker-group";
    /// What Kafka takes, in bytes.
    const GROUP_LEN_MAX: usize = 249;

    /// Checks the settings, for a command that gets along without a queue; nothing if none is given.
    pub(crate) fn validate_if_given(&self) -> Result<Option<QueueConfig>, SettingError> {
        match given(self.kafka_brokers.as_deref()) {
            Some(_) => self.validate().map(Some),
            None => Ok(None),
        }
    }

    /// Checks the settings, for a database that needs a queue.
    pub(crate) fn validate(&self) -> Result<QueueConfig, SettingError> {
        let Some(brokers) = given(self.kafka_brokers.as_deref()) else {
            return Err(SettingError::Secret {
                setting: "KAFKA_BROKERS",
                problem: "is not set: a postgres: database needs it, e.g. 127.0.0.1:9092"
                    .to_owned(),
            });
        };
        let text = |given_text: &Option<String>, default: &str| {
            given(given_text.as_deref()).unwrap_or(default).to_owned()
        };
        let partition_by = match given(self.kafka_partition_by.as_deref()) {
            None | Some("batch") => PartitionBy::Batch,
            Some("user") => PartitionBy::User,
            Some(other) => {
                let allowed = "must be batch or user";
                return Err(SettingError::value("KAFKA_PARTITION_BY", other, allowed));
            }
        };
        let accept_after = match given(self.accept_after.as_deref()) {
            None | Some("logged") => AcceptAfter::Logged,
            Some("reserved") => AcceptAfter::Reserved,
            Some(other) => {
                let allowed = "must be logged or reserved";
                return Err(SettingError::value("ACCEPT_AFTER", other, allowed));
            }
        };
        let on_publish_failure = match given(self.on_publish_failure.as_deref()) {
            None | Some("complete") => OnPublishFailure::Complete,
            Some("release") if accept_after == AcceptAfter::Reserved => {
                let allowed = "needs ACCEPT_AFTER=logged: with `reserved` a buyer is answered \
                    before Kafka is asked";
                return Err(SettingError::value(
                    "ON_PUBLISH_FAILURE",
                    "release",
                    allowed,
                ));
            }
            Some("release") => OnPublishFailure::Release,
            Some(other) => {
                let allowed = "must be complete or release";
                return Err(SettingError::value("ON_PUBLISH_FAILURE", other, allowed));
            }
        };
        let group = text(&self.kafka_consumer_group, Self::GROUP_DEFAULT);
        let odd = |c: char| c.is_control() || c.is_whitespace();
        if group.len() > Self::GROUP_LEN_MAX || group.contains(odd) {
            let allowed = "must have 1 to 249 characters, none of them a space or a control \
                           character, e.g. flash-sale-worker-group";
            return Err(SettingError::value("KAFKA_CONSUMER_GROUP", group, allowed));
        }
        Ok(QueueConfig {
            brokers: brokers.to_owned(),
            topic: text(&self.kafka_topic, Self::TOPIC_DEFAULT),
            group,
            properties: self.properties()?,
            partition_by,
            accept_after,
            on_publish_failure,
        })
    }
}

impl QueueArgs {
    fn properties(&self) -> Result<Vec<(String, Secret)>, SettingError> {
        /// No setting has it.
        const SEMICOLON: &str = "\0";
        let text = self.kafka_properties.as_ref().map_or("", Secret::reveal);
        let text = text.replace(";;", SEMICOLON);
        let lines = text.split([';', '\n']).map(str::trim);
        let lines = lines.filter(|line| !line.is_empty()).enumerate();
        let property = |(number, line): (usize, &str)| {
            let (name, value) = line.split_once('=').ok_or_else(|| SettingError::Secret {
                setting: "KAFKA_PROPERTIES",
                problem: format!(
                    "must be like security.protocol=SSL;ssl.ca.location=/etc/ca.pem, with a \
                     semicolon in a value written twice; its property {} has no =",
                    number + 1
                ),
            })?;
            let value = value.trim().replace(SEMICOLON, ";");
            Ok((name.trim().to_owned(), Secret::new(value)))
        };
        lines.map(property).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{PartitionBy, QueueArgs, Secret};

    fn args(partition_by: Option<&str>) -> QueueArgs {
        QueueArgs {
            kafka_brokers: Some("127.0.0.1:9092".to_owned()),
            kafka_topic: None,
            kafka_consumer_group: None,
            kafka_properties: None,
            kafka_partition_by: partition_by.map(str::to_owned),
            accept_after: None,
            on_publish_failure: None,
        }
    }

    #[test]
    fn the_batch_decides_the_partition_unless_the_user_shall() {
        for (given, expected) in [
            (None, PartitionBy::Batch),
            (Some("batch"), PartitionBy::Batch),
            (Some("user"), PartitionBy::User),
        ] {
            let checked = args(given).validate();
            assert_eq!(checked.expect("valid").partition_by, expected);
        }
    }

    fn properties(text: &str) -> Result<Vec<(String, String)>, String> {
        let args = QueueArgs {
            kafka_properties: Some(Secret::new(text)),
            ..args(None)
        };
        let checked = args.validate().map_err(|error| error.to_string())?;
        let shown = format!("{checked:?} {args:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let revealed = |(name, value): (String, Secret)| (name, value.reveal().to_owned());
        Ok(checked.properties.into_iter().map(revealed).collect())
    }

    #[test]
    fn properties_are_names_with_values() {
        let given = "security.protocol = SASL_SSL; sasl.password=hunter2;;=\n\nssl.ca.location=/ca";
        let expected = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.password", "hunter2;="),
            ("ssl.ca.location", "/ca"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(properties(given).expect("valid"), expected);
        assert_eq!(properties(" ").expect("valid"), []);
        let error = properties("a=b;hunter2").expect_err("no name");
        assert!(
            error.contains("property 2 has no =") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
