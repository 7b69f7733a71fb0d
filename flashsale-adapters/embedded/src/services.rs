use std::sync::Arc;

use flashsale_core::PortError;
use flashsale_core::ports::{Recorder, SoleProcess};
use flashsale_core::services::{EnginePorts, EngineServices};

use crate::{EmbeddedEngine, UuidV7};

impl EmbeddedEngine {
    /// All ports of this engine, with [`UuidV7`] for attempt ids.
    pub fn ports(&self, recorder: Arc<dyn Recorder>) -> EnginePorts {
        EnginePorts {
            stock: self.stock(),
            queue: self.queue(),
            orders: self.orders(),
            sales: self.sales(),
            attempts: self.attempts(),
            dead_letters: self.dead_letters(),
            decoder: None,
            leadership: Arc::new(SoleProcess),
            clock: self.clock(),
            ids: Arc::new(UuidV7),
            recorder,
        }
    }

    /// The services over this engine, wired and ready.
    ///
    /// In one process every change of a sale goes through [`EngineServices::sales`], which keeps
    /// the catalogue fresh: nothing has to run in the background, unless the stock store
    /// [decides later](crate::Decides::Later).
    ///
    /// # Errors
    /// If the database fails.
    pub async fn services(&self, recorder: Arc<dyn Recorder>) -> Result<EngineServices, PortError> {
        let services = self.ports(recorder).services();
        services.prepare().await?;
        Ok(services)
    }
}
