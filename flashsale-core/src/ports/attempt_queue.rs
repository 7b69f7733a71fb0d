use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::Attempt;
use crate::error::PortError;

/// Carries accepted attempts to the workers, at least once.
///
/// Nothing is ordered, not even the attempts of one user: the order repository decides by attempt
/// and user, so that the order in which it meets them matters to nobody.
#[async_trait]
pub trait AttemptQueue: Debug + Send + Sync + 'static {
    /// Hands attempts over, one outcome per attempt, in order.
    ///
    /// Waits a bounded time that the adapter states. Publishing an attempt twice is harmless.
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError>;

    /// Joins a group of readers. Every attempt goes to one reader of each group, and comes again
    /// if that reader goes away before it has committed. A group that is new starts at the oldest
    /// attempt that is kept.
    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError>;

    /// Where the queue ends now: every attempt that was [`Logged`](Published::Logged) before this
    /// call is before it.
    async fn end(&self) -> Result<QueuePosition, PortError>;

    /// How many items before a position the group has not committed yet.
    async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, PortError>;
}

/// A place in an [`AttemptQueue`]. Only the queue that made it can read it; the default is the start.
#[derive(Clone, Debug, Default)]
pub struct QueuePosition(Option<Arc<dyn Any + Send + Sync>>);

impl QueuePosition {
    /// The place that the queue describes like this, in its own terms.
    pub fn new<T: Any + Send + Sync>(place: T) -> Self {
        Self(Some(Arc::new(place)))
    }

    /// What the queue has described it with; nothing at the start, or if it is of another queue.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }
}

/// One reader of an [`AttemptQueue`].
#[async_trait]
pub trait AttemptReader: Debug + Send + 'static {
    /// The next attempts, `max` at most. Waits until there is one, but not longer than `wait_ms`
    /// milliseconds; returns none then.
    ///
    /// Dropping the call loses nothing. What cannot be decoded comes out as such, once.
    async fn poll(&mut self, max: usize, wait_ms: u64) -> Result<Vec<Delivery>, PortError>;

    /// Marks everything polled so far as done for this group.
    async fn commit(&mut self) -> Result<(), PortError>;

    /// Goes back to the last commit: what was polled since comes again, to this reader or to
    /// another of its group. After an `Err` the reader is of no use any more; drop it.
    async fn rewind(&mut self) -> Result<(), PortError>;
}

/// Whether the queue has an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Published {
    /// It has, durably.
    Logged,
    /// Not known; it may have. Publish again later.
    Unconfirmed,
}

/// An item that comes out of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An attempt.
    Attempt(Attempt),
    /// Something that is not an attempt of ours.
    Undecodable(Undecodable),
}

/// An item that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Where it stands in the queue, in the queue's own words.
    pub position: String,
    /// The item as it came.
    pub payload: Vec<u8>,
    /// What is wrong with it.
    pub problem: String,
}
