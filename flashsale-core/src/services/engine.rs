use std::sync::Arc;

use crate::error::PortError;
use crate::ports::{
    AttemptDecoder, AttemptQueue, AttemptRepo, Clock, DeadLetterRepo, IdSource, Leadership,
    OrderRepo, Recorder, SaleRepo, StockStore,
};

use super::{
    AcceptAfter, AuditTrail, Auditor, BackgroundLimits, Catalogue, DeadLetters, FlashSalePorts,
    FlashSaleService, OnPublishFailure, Recovery, Relay, Repair, RepairLimits, SaleService, Worker,
    WorkerPorts,
};

/// The adapters that an engine is made of.
#[derive(Clone, Debug)]
pub struct EnginePorts {
    /// Admits attempts.
    pub stock: Arc<dyn StockStore>,
    /// Carries them to the workers.
    pub queue: Arc<dyn AttemptQueue>,
    /// Decides about them.
    pub orders: Arc<dyn OrderRepo>,
    /// Keeps the sales.
    pub sales: Arc<dyn SaleRepo>,
    /// Keeps the audit trail.
    pub attempts: Arc<dyn AttemptRepo>,
    /// Keeps what came out of the queue and is no attempt.
    pub dead_letters: Arc<dyn DeadLetterRepo>,
    /// Reads such items once more, if the queue's items have a form that can be read.
    pub decoder: Option<Arc<dyn AttemptDecoder>>,
    /// Chooses which process looks after a sale.
    pub leadership: Arc<dyn Leadership>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Names new attempts.
    pub ids: Arc<dyn IdSource>,
    /// Counts.
    pub recorder: Arc<dyn Recorder>,
}

/// The services of an engine, wired.
#[derive(Clone, Debug)]
pub struct EngineServices {
    /// Serves buyers.
    pub flash_sale: FlashSaleService,
    /// The shop's side.
    pub sales: SaleService,
    /// Accounts for every unit.
    pub auditor: Auditor,
    /// The sales in memory.
    pub catalogue: Arc<Catalogue>,
    /// Turns queued attempts into orders.
    pub worker: Worker,
    /// Finishes what was left undone, with the default limits.
    pub repair: Repair,
    /// Rebuilds the stock of sales that was lost, after the workers of
    /// [`WORKERS`](Self::WORKERS) have decided what the queue has.
    pub recovery: Recovery,
    /// Chooses which process repairs and recovers a sale.
    pub leadership: Arc<dyn Leadership>,
    /// Looks after what came out of the queue and is no attempt.
    pub dead_letters: DeadLetters,
    /// What is done after the answer, if the engine was told what to [accept](Self::accepting)
    /// attempts after.
    pub relay: Relay,
    /// Keeps the audit trail.
    pub attempts: Arc<dyn AttemptRepo>,
    /// Takes refusals to the audit trail, if the engine keeps them.
    pub audit_trail: Option<Arc<AuditTrail>>,
    /// When the [background](Self::background) acts.
    pub limits: BackgroundLimits,
}

impl EnginePorts {
    /// The services over these adapters. Their catalogue is empty: see
    /// [`EngineServices::prepare`].
    pub fn services(self) -> EngineServices {
        let Self {
            stock,
            queue,
            orders,
            sales,
            attempts,
            dead_letters,
            decoder,
            leadership,
            clock,
            ids,
            recorder,
        } = self;
        let catalogue = Arc::new(Catalogue::new(Arc::clone(&sales)));
        let sale_service = SaleService {
            repo: Arc::clone(&sales),
            orders: Arc::clone(&orders),
            stock: Arc::clone(&stock),
            catalogue: Arc::clone(&catalogue),
            clock: Arc::clone(&clock),
        };
        let repair = Repair {
            stock: Arc::clone(&stock),
            queue: Arc::clone(&queue),
            orders: Arc::clone(&orders),
            recorder: Arc::clone(&recorder),
            limits: RepairLimits::default(),
        };
        let recovery = Recovery::new(
            sale_service.clone(),
            Arc::clone(&queue),
            Arc::clone(&recorder),
            EngineServices::WORKERS,
        );
        EngineServices {
            flash_sale: FlashSaleService::new(FlashSalePorts {
                catalogue: Arc::clone(&catalogue),
                stock: Arc::clone(&stock),
                queue: Arc::clone(&queue),
                clock: Arc::clone(&clock),
                ids,
                recorder: Arc::clone(&recorder),
            }),
            sales: sale_service,
            recovery,
            leadership,
            relay: Relay::new(Arc::clone(&queue), Arc::clone(&stock)),
            audit_trail: None,
            limits: BackgroundLimits::default(),
            auditor: Auditor {
                sales,
                orders: Arc::clone(&orders),
                stock: Arc::clone(&stock),
                queue,
                attempts: Arc::clone(&attempts),
                group: EngineServices::WORKERS.to_owned(),
            },
            attempts,
            worker: Worker::new(WorkerPorts {
                catalogue: Arc::clone(&catalogue),
                orders: Arc::clone(&orders),
                stock,
                dead_letters: Arc::clone(&dead_letters),
                recorder,
            }),
            dead_letters: DeadLetters {
                repo: dead_letters,
                decoder,
                repair: repair.clone(),
            },
            repair,
            catalogue,
        }
    }
}

impl EngineServices {
    /// The group of readers of the queue that the workers of an engine are, unless it says otherwise.
    pub const WORKERS: &'static str = "flash-sale-worker-group";

    /// The same services, but attempts are answered as soon as this stage is reached. Somebody has
    /// to run [`relay`](Self::relay), which does the rest.
    #[must_use]
    pub fn accepting(mut self, after: AcceptAfter) -> Self {
        self.flash_sale = self.flash_sale.accepting(after, self.relay.clone());
        self
    }

    /// The same services, but what the queue does not confirm in time is dealt with like this.
    ///
    /// [`Release`](OnPublishFailure::Release) goes with [`AcceptAfter::Logged`] only: after
    /// [`AcceptAfter::Reserved`] the buyer has been answered.
    #[must_use]
    pub fn on_publish_failure(mut self, what: OnPublishFailure) -> Self {
        if what == OnPublishFailure::Release {
            self.flash_sale = self.flash_sale.releasing(Arc::clone(&self.repair.orders));
            self.repair.limits.release_after_ms = Some(RepairLimits::RELEASE_AFTER_MS);
        }
        self
    }

    /// The same services, but refusals go to the audit trail too. Somebody has to run
    /// [`audit_trail`](Self::audit_trail).
    #[must_use]
    pub fn recording_refusals(mut self) -> Self {
        let recorder = Arc::clone(&self.repair.recorder);
        let trail = Arc::new(AuditTrail::new(Arc::clone(&self.attempts), recorder));
        self.flash_sale = self.flash_sale.with_audit_trail(Arc::clone(&trail));
        self.audit_trail = Some(trail);
        self
    }

    /// Brings the stock of every sale up to date and fills the catalogue.
    ///
    /// # Errors
    /// The first port that fails. A sale whose stock is lost is no error; it answers
    /// [`Recovering`](super::AttemptOutcome::Recovering).
    pub async fn prepare(&self) -> Result<(), PortError> {
        for sale in self.sales.repo.list().await? {
            self.sales.prepare(&sale).await?;
        }
        self.catalogue.refresh().await
    }
}
