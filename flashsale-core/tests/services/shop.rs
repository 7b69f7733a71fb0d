//! A shop in memory with one sale of a lamp, one second after its start.

use std::sync::Arc;

use flashsale_core::domain::{
    NewSale, Quantity, ReserveRequest, Sale, SaleChange, SaleId, Timestamp, UserId, Window,
};
use flashsale_core::ports::{
    AttemptQueue, DeadLetterRepo, IdSource, OrderRepo, SaleRepo, SoleProcess, StockStore,
};
use flashsale_core::services::{
    Acceptance, AttemptOutcome, Auditor, Catalogue, ChangeSaleOutcome, EnginePorts, EngineServices,
    FlashSalePorts, FlashSaleService, Recovery, Repair, RepairLimits, SaleService, SaleView,
    Worker, WorkerPorts,
};
use flashsale_core::testing::{
    FaultRates, Faults, Faulty, ManualClock, MemoryAttemptQueue, MemoryAttemptRepo, MemoryDatabase,
    MemoryDeadLetterRepo, MemoryOrderRepo, MemoryRecorder, MemorySaleRepo, MemoryStockStore,
    SequentialIds,
};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_000_000);
pub(crate) const WINDOW: Window = Window {
    start: START,
    end: START.plus_ms(60_000),
};

pub(crate) const FAIL_BEFORE: FaultRates = FaultRates {
    fail_before: 100,
    ..FaultRates::NOTHING
};
pub(crate) const FAIL_AFTER: FaultRates = FaultRates {
    fail_after: 100,
    ..FaultRates::NOTHING
};

/// Every port, and the parts of the engine over them. Ports can be exchanged before use.
pub(crate) struct Shop {
    pub(crate) database: MemoryDatabase,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) recorder: Arc<MemoryRecorder>,
    pub(crate) memory_stock: Arc<MemoryStockStore>,
    pub(crate) memory_queue: MemoryAttemptQueue,
    pub(crate) sales: Arc<dyn SaleRepo>,
    pub(crate) stock: Arc<dyn StockStore>,
    pub(crate) orders: Arc<dyn OrderRepo>,
    pub(crate) queue: Arc<dyn AttemptQueue>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) dead_letters: Arc<dyn DeadLetterRepo>,
    ids: Arc<SequentialIds>,
}

impl Shop {
    /// Without a sale.
    pub(crate) fn empty() -> Self {
        let database = MemoryDatabase::new();
        let clock = Arc::new(ManualClock::at(START.plus_ms(1_000)));
        let memory_stock = Arc::new(MemoryStockStore::new(clock.clone()));
        let memory_queue = MemoryAttemptQueue::new();
        let sales = Arc::new(MemorySaleRepo::new(database.clone()));
        Self {
            recorder: Arc::default(),
            stock: memory_stock.clone(),
            memory_stock,
            queue: Arc::new(memory_queue.clone()),
            memory_queue,
            orders: Arc::new(MemoryOrderRepo::new(database.clone(), clock.clone())),
            database,
            catalogue: Arc::new(Catalogue::new(sales.clone())),
            sales,
            dead_letters: Arc::new(MemoryDeadLetterRepo::new(clock.clone())),
            ids: Arc::default(),
            clock,
        }
    }

    /// With a sale of so many lamps.
    pub(crate) async fn selling(stock: u64) -> (Self, Sale) {
        let shop = Self::empty();
        let view = shop.sale_service().create(&lamps(stock)).await;
        (shop, view.unwrap().unwrap().sale)
    }

    pub(crate) fn sale_service(&self) -> SaleService {
        SaleService {
            repo: self.sales.clone(),
            orders: self.orders.clone(),
            stock: self.stock.clone(),
            catalogue: self.catalogue.clone(),
            clock: self.clock.clone(),
        }
    }

    pub(crate) fn service(&self) -> FlashSaleService {
        FlashSaleService::new(FlashSalePorts {
            catalogue: self.catalogue.clone(),
            stock: self.stock.clone(),
            queue: self.queue.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            recorder: self.recorder.clone(),
        })
    }

    pub(crate) fn worker(&self) -> Worker {
        Worker::new(WorkerPorts {
            catalogue: self.catalogue.clone(),
            orders: self.orders.clone(),
            stock: self.stock.clone(),
            dead_letters: self.dead_letters.clone(),
            recorder: self.recorder.clone(),
        })
    }

    pub(crate) fn repair(&self) -> Repair {
        Repair {
            stock: self.stock.clone(),
            queue: self.queue.clone(),
            orders: self.orders.clone(),
            recorder: self.recorder.clone(),
            limits: RepairLimits::default(),
        }
    }

    pub(crate) fn recovery(&self) -> Recovery {
        Recovery::new(
            self.sale_service(),
            self.queue.clone(),
            self.recorder.clone(),
            "workers",
        )
    }

    /// The engine over the same ports; its catalogue is its own.
    pub(crate) fn engine(&self) -> EngineServices {
        let ports = EnginePorts {
            stock: self.stock.clone(),
            queue: self.queue.clone(),
            orders: self.orders.clone(),
            sales: self.sales.clone(),
            attempts: Arc::new(MemoryAttemptRepo::new(self.database.clone())),
            dead_letters: self.dead_letters.clone(),
            decoder: None,
            leadership: Arc::new(SoleProcess),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            recorder: self.recorder.clone(),
        };
        ports.services()
    }

    pub(crate) fn auditor(&self) -> Auditor {
        Auditor {
            sales: self.sales.clone(),
            orders: self.orders.clone(),
            stock: self.stock.clone(),
            queue: self.queue.clone(),
            attempts: Arc::new(MemoryAttemptRepo::new(self.database.clone())),
            group: "workers".to_owned(),
        }
    }

    pub(crate) async fn attempt(&self, name: &str, sale: SaleId) -> AttemptOutcome {
        self.service().attempt(&user(name), sale).await.unwrap()
    }

    /// An attempt that has to be accepted.
    pub(crate) async fn accepted(&self, name: &str, sale: SaleId) -> Acceptance {
        match self.attempt(name, sale).await {
            AttemptOutcome::Accepted(acceptance) => acceptance,
            other => panic!("{name} must be accepted, is {other:?}"),
        }
    }

    /// A request for one unit.
    pub(crate) fn request(&self, name: &str) -> ReserveRequest {
        ReserveRequest {
            attempt: self.ids.attempt_id(),
            user: user(name),
            quantity: Quantity::ONE,
        }
    }

    /// A worker's step over all that is in the queue.
    pub(crate) async fn work(&self) {
        let mut reader = self.queue.subscribe("workers").await.unwrap();
        self.worker().step(&mut *reader, 0).await.unwrap();
    }

    pub(crate) async fn change(&self, sale: SaleId, change: SaleChange) -> SaleView {
        match self.sale_service().change(sale, change).await.unwrap() {
            ChangeSaleOutcome::Changed(view) => view,
            other => panic!("{change:?} must be made, is {other:?}"),
        }
    }

    pub(crate) fn faulty_queue(&self, rates: FaultRates) -> Arc<dyn AttemptQueue> {
        let faults = Arc::new(Faults::new(1, rates));
        Arc::new(Faulty::new(self.queue.clone(), faults))
    }

    pub(crate) fn faulty_orders(&self, rates: FaultRates) -> Arc<dyn OrderRepo> {
        let faults = Arc::new(Faults::new(1, rates));
        Arc::new(Faulty::new(self.orders.clone(), faults))
    }

    pub(crate) fn faulty_stock(&self, rates: FaultRates) -> Arc<dyn StockStore> {
        let faults = Arc::new(Faults::new(1, rates));
        Arc::new(Faulty::new(self.stock.clone(), faults))
    }
}

pub(crate) fn lamps(stock: u64) -> NewSale {
    NewSale {
        product_name: "lamp".to_owned(),
        product_description: "it shines".to_owned(),
        window: WINDOW,
        stock,
    }
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}
