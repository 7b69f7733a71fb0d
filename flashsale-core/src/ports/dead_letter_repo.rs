use std::fmt::Debug;

use async_trait::async_trait;

use super::Undecodable;
use crate::domain::Timestamp;
use crate::error::PortError;

/// Keeps what came out of the queue and could not be turned into an order, until somebody has
/// looked at it.
#[async_trait]
pub trait DeadLetterRepo: Debug + Send + Sync + 'static {
    /// Keeps items, [`BATCH_MAX`](super::BATCH_MAX) at most. One whose position is known is kept
    /// once.
    async fn keep(&self, items: &[Undecodable]) -> Result<(), PortError>;

    /// Items by ascending id, those after `after`, `max` at most.
    async fn list(&self, after: Option<i64>, max: usize) -> Result<Vec<DeadLetter>, PortError>;

    /// One item.
    async fn find(&self, id: i64) -> Result<Option<DeadLetter>, PortError>;

    /// Notes that an item has been replayed. Nothing changes for one that is unknown or has been
    /// before.
    async fn replayed(&self, id: i64) -> Result<(), PortError>;
}

/// An item that a [`DeadLetterRepo`] keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it.
    pub id: i64,
    /// When it was first kept.
    pub kept_at: Timestamp,
    /// When it was replayed, if it was.
    pub replayed_at: Option<Timestamp>,
    /// What it is.
    pub item: Undecodable,
}
