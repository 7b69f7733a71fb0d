use flashsale_core::domain::Attempt;
use flashsale_core::ports::AttemptDecoder;

use crate::message;

/// Reads the payloads of messages. Needs no broker.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaAttemptDecoder;

impl AttemptDecoder for KafkaAttemptDecoder {
    fn decode(&self, payload: &[u8]) -> Result<Attempt, String> {
        message::decode(payload)
    }
}
