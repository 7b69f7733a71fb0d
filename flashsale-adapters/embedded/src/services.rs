use std::sync::Arc;

use flashsale_core::PortError;
use flashsale_core::ports::{Clock, IdSource, OrderRepo, Recorder, SaleRepo, StockStore};
use flashsale_core::services::{
    Auditor, Catalogue, FlashSalePorts, FlashSaleService, Repair, RepairLimits, SaleService,
    Worker, WorkerPorts,
};

use crate::{EmbeddedEngine, UuidV7};

/// The services of core over one engine, wired and ready.
///
/// In one process every change of a sale goes through [`sales`](Self::sales), which keeps the
/// catalogue fresh: nothing has to run in the background.
#[derive(Clone, Debug)]
pub struct EmbeddedServices {
    /// Serves buyers.
    pub flash_sale: FlashSaleService,
    /// The shop's side.
    pub sales: SaleService,
    /// Accounts for every unit.
    pub auditor: Auditor,
    /// The sales in memory.
    pub catalogue: Arc<Catalogue>,
    /// Decides what comes out of the queue; idle as long as the stock store
    /// [decides at once](crate::Decides::AtOnce).
    pub worker: Worker,
    /// Finishes attempts that an earlier process left undecided.
    pub repair: Repair,
}

impl EmbeddedEngine {
    /// Wires the services and brings every sale's stock up to date.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn services(
        &self,
        recorder: Arc<dyn Recorder>,
    ) -> Result<EmbeddedServices, PortError> {
        let repo: Arc<dyn SaleRepo> = self.sales();
        let orders: Arc<dyn OrderRepo> = self.orders();
        let stock: Arc<dyn StockStore> = self.stock();
        let clock: Arc<dyn Clock> = self.clock();
        let ids: Arc<dyn IdSource> = Arc::new(UuidV7);
        let catalogue = Arc::new(Catalogue::new(Arc::clone(&repo)));
        let services = EmbeddedServices {
            flash_sale: FlashSaleService::new(FlashSalePorts {
                catalogue: Arc::clone(&catalogue),
                stock: Arc::clone(&stock),
                queue: self.queue(),
                clock: Arc::clone(&clock),
                ids,
                recorder: Arc::clone(&recorder),
            }),
            sales: SaleService {
                repo: Arc::clone(&repo),
                orders: Arc::clone(&orders),
                stock: Arc::clone(&stock),
                catalogue: Arc::clone(&catalogue),
            },
            auditor: Auditor {
                sales: Arc::clone(&repo),
                orders: Arc::clone(&orders),
                stock: Arc::clone(&stock),
            },
            worker: Worker::new(WorkerPorts {
                catalogue: Arc::clone(&catalogue),
                orders: Arc::clone(&orders),
                stock: Arc::clone(&stock),
                recorder: Arc::clone(&recorder),
            }),
            repair: Repair {
                stock,
                queue: self.queue(),
                orders,
                clock,
                recorder,
                limits: RepairLimits::default(),
            },
            catalogue,
        };
        for sale in repo.list().await? {
            services.sales.prepare(&sale).await?;
        }
        services.catalogue.refresh().await?;
        Ok(services)
    }
}
