use std::sync::Arc;

use crate::domain::{Decision, SaleRef};
use crate::error::{ErrorKind, PortError};
use crate::ports::{AttemptDecoder, DeadLetter, DeadLetterContent, DeadLetterRepo};

use super::Repair;

/// Looks at what came out of the queue and could not be turned into an order, and tries again.
///
/// Nobody's units hang on that: whoever holds units for an attempt that the queue has spoilt gets an
/// order by [`Repair`].
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// Keeps them.
    pub repo: Arc<dyn DeadLetterRepo>,
    /// Reads them once more, if they can be read.
    pub decoder: Option<Arc<dyn AttemptDecoder>>,
    /// Decides about those that can be read by now.
    pub repair: Repair,
}

/// What became of an attempt to replay a [`DeadLetter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// It is an attempt, and this was decided about it, now or before.
    Decided(Decision),
    /// It still cannot be read, or the sale that it names is unknown.
    Undecodable(String),
    /// There is no such letter.
    Unknown,
}

impl DeadLetters {
    /// Dead letters by ascending id, those after `after`, `max` at most.
    ///
    /// # Errors
    /// If the repository fails.
    pub async fn list(&self, after: Option<i64>, max: usize) -> Result<Vec<DeadLetter>, PortError> {
        self.repo.list(after, max).await
    }

    /// One dead letter.
    ///
    /// # Errors
    /// If the repository fails.
    pub async fn find(&self, id: i64) -> Result<Option<DeadLetter>, PortError> {
        self.repo.find(id).await
    }

    /// Reads a letter once more and, if it is an attempt by now, has it decided. Safe to repeat.
    ///
    /// # Errors
    /// The first port that fails; the letter is as before then.
    pub async fn replay(&self, id: i64) -> Result<ReplayOutcome, PortError> {
        let Some(letter) = self.repo.find(id).await? else {
            return Ok(ReplayOutcome::Unknown);
        };
        let attempt = match (letter.item.content, &self.decoder) {
            (DeadLetterContent::Attempt(attempt), _) => attempt,
            (DeadLetterContent::Undecodable(payload), Some(decoder)) => {
                match decoder.decode(&payload) {
                    Ok(attempt) => attempt,
                    Err(problem) => return Ok(ReplayOutcome::Undecodable(problem)),
                }
            }
            (DeadLetterContent::Undecodable(_), None) => {
                return Ok(ReplayOutcome::Undecodable(letter.item.problem));
            }
        };
        let sale = SaleRef {
            id: attempt.sale,
            product: attempt.product,
            epoch: attempt.epoch,
        };
        let decisions = match self.repair.complete(&sale, &[attempt]).await {
            Ok(decisions) => decisions,
            Err(fault) if fault.kind() == ErrorKind::Invalid => {
                return Ok(ReplayOutcome::Undecodable(fault.to_string()));
            }
            Err(fault) => return Err(fault),
        };
        self.repo.replayed(id).await?;
        let decision = decisions.first().copied();
        Ok(decision.map_or(ReplayOutcome::Unknown, ReplayOutcome::Decided))
    }
}
