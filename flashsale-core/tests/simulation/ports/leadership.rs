use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::SaleId;
use flashsale_core::ports::Leadership;

use crate::line::Line;
use crate::trace::About;
use crate::world::Life;

/// The election as one process takes part in it: whoever comes first looks after a sale until that
/// process ends.
#[derive(Debug)]
pub(crate) struct SimLeadership {
    pub(crate) line: Line,
    pub(crate) life: Life,
}

#[async_trait]
impl Leadership for SimLeadership {
    async fn leads(&self, sale: SaleId) -> Result<bool, PortError> {
        let about = About {
            sale: sale.get() as u64,
            ..About::default()
        };
        let (world, life) = (Arc::clone(&self.line.world), self.life);
        let run = move || Ok(world.elect(sale, life));
        self.line.call("lead", about, run).await
    }
}
