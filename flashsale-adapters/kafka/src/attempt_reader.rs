use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::ports::{AttemptReader, Delivery};
use flashsale_core::{ErrorKind, PortError};
use tokio::time::Instant;

use crate::error::Fault;
use crate::record_buffer::{RecordBuffer, Taken, UNCOMMITTED_MAX};

/// Reads what the consumer of a member of a group fetches. The consumer lives as long as the reader.
#[derive(Debug)]
pub(crate) struct KafkaAttemptReader {
    buffer: Arc<RecordBuffer>,
    commit_wait: Duration,
}

impl KafkaAttemptReader {
    pub(crate) fn new(buffer: Arc<RecordBuffer>, commit_wait: Duration) -> Self {
        Self {
            buffer,
            commit_wait,
        }
    }
}

#[async_trait]
impl AttemptReader for KafkaAttemptReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        let fault = match self.buffer.take(max, deadline).await {
            Taken::Records(records) => return Ok(records),
            Taken::TooMuch => Fault::new(
                ErrorKind::Busy,
                format!("{UNCOMMITTED_MAX} items are not committed: commit them, or rewind"),
            ),
            Taken::Closed => ended(),
        };
        Err(fault.of("poll"))
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        self.buffer.finish();
        let committed = self.buffer.committed(self.commit_wait).await;
        committed.map_err(|fault| fault.of("commit").effect_unknown())
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        match self.buffer.rewind() {
            true => Ok(()),
            false => Err(ended().of("rewind")),
        }
    }
}

fn ended() -> Fault {
    Fault::new(ErrorKind::Stopped, "the reader has ended: make another")
}

impl Drop for KafkaAttemptReader {
    fn drop(&mut self) {
        // The consumer leaves the group, which may take a moment.
        self.buffer.close();
    }
}
