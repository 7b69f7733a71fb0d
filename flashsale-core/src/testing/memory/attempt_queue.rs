use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{check_batch, lock};
use crate::domain::Attempt;
use crate::error::PortError;
use crate::ports::{AttemptQueue, AttemptReader, Delivery, Published, QueuePosition, Undecodable};

/// An attempt queue of one partition: of a group's readers, the one that came first gets everything
/// and the next takes over when it is dropped. Cloning shares the queue.
///
/// Core has no timer, so `poll` never waits: it returns what is there, also nothing. Whoever loops
/// over it has to pause by himself.
#[derive(Clone, Debug, Default)]
pub struct MemoryAttemptQueue(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    items: Vec<Delivery>,
    groups: HashMap<String, Group>,
    readers: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// How many items are done.
    committed: usize,
    /// Its readers; the first one reads.
    readers: VecDeque<u64>,
}

impl MemoryAttemptQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts something into the queue that is not an attempt.
    pub fn publish_undecodable(&self, payload: &[u8]) {
        let items = &mut lock(&self.0).items;
        items.push(Delivery::Undecodable(Undecodable {
            position: items.len().to_string(),
            payload: payload.to_vec(),
            problem: "not an attempt".to_owned(),
        }));
    }

    /// How many items were ever published.
    pub fn published(&self) -> usize {
        lock(&self.0).items.len()
    }

    /// How many items a group has marked as done.
    pub fn committed(&self, group: &str) -> usize {
        let log = lock(&self.0);
        log.groups.get(group).map_or(0, |group| group.committed)
    }
}

#[async_trait]
impl AttemptQueue for MemoryAttemptQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        check_batch(attempts.len(), "publish")?;
        let items = attempts.iter().cloned().map(Delivery::Attempt);
        lock(&self.0).items.extend(items);
        Ok(vec![Published::Logged; attempts.len()])
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        let mut log = lock(&self.0);
        log.readers += 1;
        let reader = log.readers;
        let readers = &mut log.groups.entry(group.to_owned()).or_default().readers;
        readers.push_back(reader);
        Ok(Box::new(MemoryAttemptReader {
            log: Arc::clone(&self.0),
            group: group.to_owned(),
            reader,
            position: None,
        }))
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        Ok(QueuePosition::new(self.published()))
    }

    async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, PortError> {
        let end = until.get::<usize>().copied().unwrap_or_default();
        Ok(end.saturating_sub(self.committed(group)) as u64)
    }
}

/// A reader of a [`MemoryAttemptQueue`].
#[derive(Debug)]
struct MemoryAttemptReader {
    log: Arc<Mutex<Log>>,
    group: String,
    reader: u64,
    /// Where to read on; nothing before it is this reader's turn.
    position: Option<usize>,
}

#[async_trait]
impl AttemptReader for MemoryAttemptReader {
    async fn poll(&mut self, max: usize, _wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        let log = lock(&self.log);
        let group = log.groups.get(&self.group);
        let Some(group) = group.filter(|group| group.readers.front() == Some(&self.reader)) else {
            return Ok(Vec::new());
        };
        let from = *self.position.get_or_insert(group.committed);
        let items = log.items.iter().skip(from).take(max);
        let items: Vec<_> = items.cloned().collect();
        self.position = Some(from + items.len());
        Ok(items)
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        let mut log = lock(&self.log);
        if let (Some(position), Some(group)) = (self.position, log.groups.get_mut(&self.group)) {
            group.committed = position;
        }
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        self.position = None;
        Ok(())
    }
}

impl Drop for MemoryAttemptReader {
    fn drop(&mut self) {
        let mut log = lock(&self.log);
        if let Some(group) = log.groups.get_mut(&self.group) {
            group.readers.retain(|reader| *reader != self.reader);
        }
    }
}
