use std::time::Duration;

use flashsale_core::ports::BATCH_MAX;
use flashsale_core::{ErrorKind, PortError};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// How long a question to the brokers may take.
pub(crate) const ASK_MAX: Duration = Duration::from_millis(1_500);

/// A fault of this adapter.
pub(crate) fn fault(kind: ErrorKind, operation: &'static str) -> PortError {
    PortError::new(kind, "kafka", operation)
}

/// A fault of Kafka that has left nothing behind.
pub(crate) fn broken(operation: &'static str, error: KafkaError) -> PortError {
    match error.rdkafka_error_code() {
        Some(code) if is_forbidden(code) => {
            fault(ErrorKind::Misconfigured, operation).with_source(format!(
                "the brokers refuse this user ({code}): give it the right to read, write and \
                 describe the topic and to read the group"
            ))
        }
        _ => fault(ErrorKind::Unavailable, operation).with_source(error),
    }
}

/// Whether the brokers know us and say no.
pub(crate) fn is_forbidden(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication
    )
}

/// Refuses a batch that is too large.
pub(crate) fn check_batch(operation: &'static str, size: usize) -> Result<(), PortError> {
    if size > BATCH_MAX {
        return Err(fault(ErrorKind::Invalid, operation));
    }
    Ok(())
}

/// Runs a call of the client that blocks, off the async threads. It bounds itself.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    call: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => done,
        Err(_) => Err(fault(ErrorKind::Unavailable, operation).effect_unknown()),
    }
}
