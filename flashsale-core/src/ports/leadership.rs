use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::SaleId;
use crate::error::PortError;

/// Chooses which of several processes looks after a sale, so that not all of them do the same work.
///
/// Nothing depends on it but the amount of work: every step of a repair may be done by anyone, twice,
/// late.
#[async_trait]
pub trait Leadership: Debug + Send + Sync + 'static {
    /// Whether this process looks after the sale. It is tried every time; once it does, it goes on
    /// doing so until it ends or cannot be reached.
    async fn leads(&self, sale: SaleId) -> Result<bool, PortError>;
}

/// The leadership of a process that has no others beside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoleProcess;

#[async_trait]
impl Leadership for SoleProcess {
    async fn leads(&self, _sale: SaleId) -> Result<bool, PortError> {
        Ok(true)
    }
}
