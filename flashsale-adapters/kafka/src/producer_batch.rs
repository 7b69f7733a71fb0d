use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use flashsale_core::domain::Attempt;
use flashsale_core::ports::Published;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::message::encode;

/// The messages of calls that came together. They go to one partition and are answered together.
#[derive(Debug)]
pub(crate) struct ProducerBatch {
    /// When the first call came.
    pub(crate) since: Instant,
    /// How many messages had been delivered by then.
    pub(crate) delivered_before: u64,
    /// Keys and payloads, one behind the other.
    bytes: Vec<u8>,
    messages: Vec<Message>,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Message {
    key: Range<usize>,
    payload: Range<usize>,
}

#[derive(Debug)]
struct Call {
    size: usize,
    reply: oneshot::Sender<Vec<Published>>,
}

impl ProducerBatch {
    pub(crate) fn new(delivered_before: u64) -> Self {
        Self {
            since: Instant::now(),
            delivered_before,
            bytes: Vec::new(),
            messages: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// Adds the attempts of a call, and where its answer goes.
    pub(crate) fn add(&mut self, attempts: &[Attempt], reply: oneshot::Sender<Vec<Published>>) {
        for attempt in attempts {
            let from = self.bytes.len();
            self.bytes
                .extend_from_slice(attempt.user.as_str().as_bytes());
            let key = from..self.bytes.len();
            encode(attempt, &mut self.bytes);
            let payload = key.end..self.bytes.len();
            self.messages.push(Message { key, payload });
        }
        let size = attempts.len();
        self.calls.push(Call { size, reply });
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Key and payload of each message.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let messages = self.messages.iter();
        messages.map(|message| {
            let bytes = |range: &Range<usize>| &self.bytes[range.clone()];
            (bytes(&message.key), bytes(&message.payload))
        })
    }

    /// Tells all callers what became of their attempts.
    pub(crate) fn answer(self, deliveries: &Deliveries) {
        let mut from = 0;
        for Call { size, reply } in self.calls {
            let own = &deliveries.logged[from..from + size];
            from += size;
            let published = own
                .iter()
                .map(|logged| match logged.load(Ordering::Acquire) {
                    true => Published::Logged,
                    false => Published::Unconfirmed,
                });
            // Who is gone needs no answer.
            let _ = reply.send(published.collect());
        }
    }
}

/// What became of the messages of a batch.
#[derive(Debug)]
pub(crate) struct Deliveries {
    /// Where they were sent; nothing if the client has chosen for each.
    pub(crate) partition: Option<i32>,
    logged: Box<[AtomicBool]>,
    open: AtomicUsize,
    done: Notify,
}

/// Whom the delivery of a message is reported to.
#[derive(Debug)]
pub(crate) struct Ticket {
    deliveries: Arc<Deliveries>,
    index: usize,
}

impl Deliveries {
    pub(crate) fn new(size: usize, partition: Option<i32>) -> Self {
        Self {
            partition,
            logged: (0..size).map(|_| AtomicBool::new(false)).collect(),
            open: AtomicUsize::new(size),
            done: Notify::new(),
        }
    }

    pub(crate) fn ticket(self: &Arc<Self>, index: usize) -> Box<Ticket> {
        let deliveries = Arc::clone(self);
        Box::new(Ticket { deliveries, index })
    }

    /// Waits until each is delivered or given up.
    pub(crate) async fn finished(&self) {
        while self.open.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
    }
}

impl Ticket {
    /// The message is delivered or given up. The partition of the batch, if it was the last one.
    pub(crate) fn done(&self, logged: bool) -> Option<i32> {
        let Deliveries {
            partition,
            logged: all,
            open,
            done,
        } = &*self.deliveries;
        all[self.index].store(logged, Ordering::Release);
        if open.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        done.notify_one();
        *partition
    }
}
