use std::borrow::Cow;
use std::fmt::Debug;

use async_trait::async_trait;

use super::Undecodable;
use crate::domain::{Attempt, AttemptId, Epoch, ProductId, Quantity, SaleId, Timestamp, UserId};
use crate::error::PortError;

/// Keeps what came out of the queue and could not be turned into an order, until somebody has
/// looked at it.
#[async_trait]
pub trait DeadLetterRepo: Debug + Send + Sync + 'static {
    /// Keeps items, [`BATCH_MAX`](super::BATCH_MAX) at most. One whose position is known is kept
    /// once.
    async fn keep(&self, items: &[DeadItem]) -> Result<(), PortError>;

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
    pub item: DeadItem,
}

/// What came out of the queue and could not be turned into an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadItem {
    /// Where it stood in the queue, or which attempt it is.
    pub position: String,
    /// What is wrong with it.
    pub problem: String,
    /// The thing itself.
    pub content: DeadLetterContent,
}

/// What a [`DeadItem`] consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterContent {
    /// An attempt that could not be decided, for example of a sale that nobody knows.
    Attempt(Attempt),
    /// An item of the queue that could not be read, as it came.
    Undecodable(Vec<u8>),
}

impl DeadLetterContent {
    /// What a repository stores, with whether it is an attempt: the item as it came, or a line that
    /// people can read and [`restored`](Self::restored) too, also where a number of the attempt is
    /// what cannot be stored elsewhere.
    pub fn stored(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Undecodable(payload) => payload.into(),
            Self::Attempt(attempt) => {
                let line = format!(
                    "attempt={} sale={} product={} user={} quantity={} epoch={} seq={} reserved_ms={}",
                    attempt.id,
                    attempt.sale,
                    attempt.product,
                    attempt.user,
                    attempt.quantity.units(),
                    attempt.epoch.get(),
                    attempt.seq,
                    attempt.reserved_at.as_millis(),
                );
                line.into_bytes().into()
            }
        }
    }

    /// The content of these bytes; of an attempt, those that [`stored`](Self::stored) gave.
    pub fn restored(is_attempt: bool, bytes: Vec<u8>) -> Self {
        let line = std::str::from_utf8(&bytes).ok().filter(|_| is_attempt);
        match line.and_then(attempt) {
            Some(attempt) => Self::Attempt(attempt),
            None => Self::Undecodable(bytes),
        }
    }

    /// Whether it is an attempt.
    pub fn is_attempt(&self) -> bool {
        matches!(self, Self::Attempt(_))
    }
}

/// The attempt that a line tells of.
fn attempt(line: &str) -> Option<Attempt> {
    let mut fields = line.split(' ');
    let mut field = |name| fields.next()?.strip_prefix(name)?.strip_prefix('=');
    Some(Attempt {
        id: AttemptId::from_uuid(field("attempt")?.parse().ok()?),
        sale: SaleId::new(field("sale")?.parse().ok()?).ok()?,
        product: ProductId::new(field("product")?.parse().ok()?).ok()?,
        user: UserId::new(field("user")?).ok()?,
        quantity: Quantity::new(field("quantity")?.parse().ok()?)?,
        epoch: Epoch::new(field("epoch")?.parse().ok()?),
        seq: field("seq")?.parse().ok()?,
        reserved_at: Timestamp::from_millis(field("reserved_ms")?.parse().ok()?),
    })
}

impl DeadItem {
    /// An attempt that the order repository cannot decide about.
    pub fn undecidable(attempt: &Attempt, fault: &PortError) -> Self {
        Self {
            position: format!("attempt {} of sale {}", attempt.id, attempt.sale),
            problem: fault.to_string(),
            content: DeadLetterContent::Attempt(attempt.clone()),
        }
    }
}

impl From<Undecodable> for DeadItem {
    fn from(item: Undecodable) -> Self {
        Self {
            position: item.position,
            problem: item.problem,
            content: DeadLetterContent::Undecodable(item.payload),
        }
    }
}
