use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::ports::{AttemptReader, Delivery};
use flashsale_core::{ErrorKind, PortError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::bell::Bell;
use crate::config::{KafkaConfig, SESSION_LONG_MS, check_group};
use crate::error::Fault;
use crate::readers::{Readers, Seat};
use crate::reading::Reading;
use crate::reports::Reports;
use crate::shelf::{Shelf, Taken, UNCOMMITTED_MAX};
use crate::tray::{Commit, Tray};

/// A member of a group.
///
/// A thread of its own polls the brokers all the time, also while nobody reads: a member that does
/// not poll would be thrown out of its group. What it fetches waits on a shelf.
#[derive(Debug)]
pub(crate) struct KafkaAttemptReader {
    shelf: Arc<Shelf>,
    bell: Arc<Bell>,
    tray: Arc<Tray>,
    seat: Option<Arc<Seat>>,
    commit_wait: Duration,
}

impl KafkaAttemptReader {
    /// Joins the group, in the background.
    pub(crate) fn start(
        config: &KafkaConfig,
        group: &str,
        readers: &Arc<Readers>,
        reports: &Arc<Reports>,
    ) -> Result<Self, Fault> {
        check_group(group)?;
        let bell = Arc::new(Bell::default());
        let Some(living) = readers.admit(&bell) else {
            return Err(Fault::new(ErrorKind::Stopped, "the queue is closed"));
        };
        let shelf = Arc::new(Shelf::new(config.buffer_max, Arc::clone(&bell)));
        let (seat, name) = match &config.instance {
            Some(instance) => {
                let seat = readers.seat(group);
                let name = format!("{instance}-{}", seat.number);
                (Some(seat), name)
            }
            // Nobody else has it, and nobody will have it again.
            None => (None, format!("flashsale-{}", Uuid::now_v7())),
        };
        let tray = Arc::new(Tray::default());
        let member = |session_ms| config.member(group, &name, session_ms);
        let patient_client = match config.session_ms {
            Some(_) => None,
            None => Some(member(SESSION_LONG_MS)),
        };
        let reading = Reading {
            topic: config.topic.clone(),
            group: group.to_owned(),
            client: member(config.session_asked_ms()),
            patient_client,
            shelf: Arc::clone(&shelf),
            bell: Arc::clone(&bell),
            tray: Arc::clone(&tray),
            readers: Arc::clone(readers),
            reports: Arc::clone(reports),
            seat: seat.clone(),
            _living: living,
        };
        let reader = Self {
            shelf,
            bell,
            tray,
            seat,
            commit_wait: Duration::from_millis(config.commit_wait_ms),
        };
        let thread = std::thread::Builder::new().name("kafka reader".to_owned());
        match thread.spawn(move || reading.run()) {
            Ok(_) => Ok(reader),
            Err(error) => Err(Fault::unavailable(format!("no thread to read: {error}"))),
        }
    }
}

#[async_trait]
impl AttemptReader for KafkaAttemptReader {
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        let fault = match self.shelf.take(max, deadline).await {
            Taken::Items(items) => return Ok(items),
            Taken::TooMuch => Fault::new(
                ErrorKind::Busy,
                format!("{UNCOMMITTED_MAX} items are not committed: commit them, or rewind"),
            ),
            Taken::Ended => ended(),
        };
        Err(fault.of("poll"))
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        let marks = self.shelf.marks();
        if marks.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let deadline = self.tray.put(Commit { marks, answer }, self.commit_wait);
        match timeout_at(deadline.into(), answered).await {
            Ok(Ok(Ok(()))) => self.shelf.committed(),
            Ok(Ok(Err(fault))) => return Err(fault.of("commit").effect_unknown()),
            // The thread has ended.
            Ok(Err(_)) => return Err(ended().of("commit").effect_unknown()),
            Err(_) => self.shelf.owe(),
        }
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        match self.shelf.take_back() {
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
        // Its thread leaves the group, which may take a moment.
        self.bell.close();
        if let Some(seat) = &self.seat {
            seat.leave();
        }
    }
}
