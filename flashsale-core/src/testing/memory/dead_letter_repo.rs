use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{check_batch, lock};
use crate::error::PortError;
use crate::ports::{Clock, DeadItem, DeadLetter, DeadLetterRepo};

/// Dead letters in memory. Cloning shares them.
#[derive(Clone, Debug)]
pub struct MemoryDeadLetterRepo {
    letters: Arc<Mutex<Vec<DeadLetter>>>,
    clock: Arc<dyn Clock>,
}

impl MemoryDeadLetterRepo {
    /// No dead letters; those to come are kept at the clock's time.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            letters: Arc::default(),
            clock,
        }
    }
}

#[async_trait]
impl DeadLetterRepo for MemoryDeadLetterRepo {
    async fn keep(&self, items: &[DeadItem]) -> Result<(), PortError> {
        check_batch(items.len(), "keep")?;
        let kept_at = self.clock.now();
        let mut letters = lock(&self.letters);
        for item in items {
            let mut known = letters.iter().map(|letter| &letter.item.position);
            if known.all(|position| *position != item.position) {
                let id = letters.len() as i64 + 1;
                letters.push(DeadLetter {
                    id,
                    kept_at,
                    replayed_at: None,
                    item: item.clone(),
                });
            }
        }
        Ok(())
    }

    async fn list(&self, after: Option<i64>, max: usize) -> Result<Vec<DeadLetter>, PortError> {
        let letters = lock(&self.letters);
        let later = letters.iter().filter(|letter| Some(letter.id) > after);
        Ok(later.take(max).cloned().collect())
    }

    async fn find(&self, id: i64) -> Result<Option<DeadLetter>, PortError> {
        let letters = lock(&self.letters);
        Ok(letters.iter().find(|letter| letter.id == id).cloned())
    }

    async fn replayed(&self, id: i64) -> Result<(), PortError> {
        let now = self.clock.now();
        let mut letters = lock(&self.letters);
        if let Some(letter) = letters.iter_mut().find(|letter| letter.id == id) {
            letter.replayed_at.get_or_insert(now);
        }
        Ok(())
    }
}
