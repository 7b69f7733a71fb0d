use flashsale_core::{ErrorKind, PortError};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

const ADAPTER: &str = "kafka";

/// Why something does not work, before it is known which operation of the port it was for. The
/// line names the remedy if there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}")]
pub(crate) struct Fault {
    kind: ErrorKind,
    line: String,
}

impl Fault {
    pub(crate) fn new(kind: ErrorKind, line: impl Into<String>) -> Self {
        let line = line.into();
        Self { kind, line }
    }

    /// Later may be better.
    pub(crate) fn unavailable(line: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, line)
    }

    /// Somebody has to do something; the line says what.
    pub(crate) fn misconfigured(line: impl Into<String>) -> Self {
        Self::new(ErrorKind::Misconfigured, line)
    }

    /// As the error of an operation that has left nothing behind.
    pub(crate) fn of(self, operation: &'static str) -> PortError {
        PortError::new(self.kind, ADAPTER, operation).with_source(self)
    }
}

/// What the client reports as a fault of the port.
pub(crate) fn fault(error: &KafkaError, topic: &str) -> Fault {
    let refusal = error.rdkafka_error_code().and_then(|c| refusal(c, topic));
    refusal.unwrap_or_else(|| Fault::unavailable(error.to_string()))
}

/// What to do about brokers that know us and say no, if that is what the code says.
pub(crate) fn refusal(code: Code, topic: &str) -> Option<Fault> {
    let line = match code {
        Code::TopicAuthorizationFailed => format!(
            "Kafka refuses this user the topic {topic}: grant it DESCRIBE, READ and WRITE on the topic"
        ),
        Code::GroupAuthorizationFailed => {
            "Kafka refuses this user the group of readers: grant it READ on the group".to_owned()
        }
        Code::ClusterAuthorizationFailed => format!(
            "Kafka refuses this user an idempotent producer: grant it WRITE on the topic {topic}, \
             and IDEMPOTENT_WRITE on the cluster if it is older than 3.0"
        ),
        Code::SaslAuthenticationFailed | Code::Authentication => {
            "Kafka refuses the credentials: correct the sasl.* properties".to_owned()
        }
        Code::InvalidSessionTimeout => {
            "Kafka refuses session_ms: keep it between group.min.session.timeout.ms and \
             group.max.session.timeout.ms of the brokers"
                .to_owned()
        }
        Code::InvalidTopic => format!("Kafka takes no topic named {topic}: use another name"),
        _ => return None,
    };
    Some(Fault::misconfigured(line))
}

/// What to do about a connection that cannot be encrypted, if that is what the client says, like
/// `ssl://HOST:PORT/bootstrap: SSL handshake failed: error:0A000086:SSL routines::…`. The code of such
/// an error may be that of a broker that went away, and a broker that goes away in the middle of it
/// is none.
pub(crate) fn not_encrypted(reason: &str) -> Option<Fault> {
    let (_, said) = reason.split_once("SSL routines:")?;
    let remedy = if said.contains(" alert ") {
        "the brokers want a certificate of a CA that they trust, in ssl.certificate.location and \
         ssl.key.location"
    } else if said.contains("certificate verify failed") {
        "correct ssl.ca.location, or the names of the brokers"
    } else {
        return None;
    };
    let what = said.trim_start_matches(':').split([':', '(']);
    let what = what.map(str::trim).next().unwrap_or_default();
    let broker = reason.split('/').nth(2).unwrap_or_default();
    let line = format!("no encrypted connection to Kafka at {broker} ({what}): {remedy}");
    Some(Fault::misconfigured(line))
}
