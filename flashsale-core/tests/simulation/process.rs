//! What runs in a process besides the requests: the chores of a server, by the world's clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use flashsale_core::PortError;
use flashsale_core::domain::{Sale, SaleId};
use flashsale_core::ports::{AttemptQueue, AttemptReader, NoRecorder, Revision, SoleProcess};
use flashsale_core::services::{EnginePorts, EngineServices, StockReadiness, Verdict};

use super::bugs::Bug;
use super::executor::{Handle, Process};
use super::line::Line;
use super::ports::{SimAttemptQueue, SimOrderRepo, SimSaleRepo, SimStockStore, SkewedClock};
use super::weather::Service;
use super::world::World;

const GROUP: &str = "workers";
/// Sooner than a server, so that a world need not last as long.
const RELEASE_AFTER_MS: u32 = 12_000;

/// Wires the real services of a process over its own lines and starts its chores.
pub(crate) fn start(world: &Arc<World>, process: Process) -> EngineServices {
    let line = |service| Line {
        world: Arc::clone(world),
        process,
        service,
    };
    let skew_ms = world.weather.skew_ms;
    // Buyers are shown the sale that started last, so the clocks of APIs are right.
    let api = world.apis().contains(&process);
    let skew_ms = if skew_ms == 0 || api {
        0
    } else {
        world.handle.below(2 * skew_ms as u64 + 1) as i64 - skew_ms
    };
    let ports = EnginePorts {
        stock: Arc::new(SimStockStore::new(line(Service::Stock))),
        queue: Arc::new(SimAttemptQueue {
            line: line(Service::Queue),
            starts_at_latest: world.bug == Some(Bug::StartsAtTheLatest),
        }),
        orders: Arc::new(SimOrderRepo {
            line: line(Service::Orders),
        }),
        sales: Arc::new(SimSaleRepo {
            line: line(Service::Sales),
        }),
        attempts: Arc::new(world.attempts.clone()),
        dead_letters: world.dead_letters.clone(),
        decoder: None,
        leadership: Arc::new(SoleProcess),
        clock: Arc::new(SkewedClock::new(world.handle.clock(), skew_ms)),
        ids: world.ids.clone(),
        recorder: Arc::new(NoRecorder),
    };
    let ports = Bug::wire(world, process, ports);
    let mut services = ports
        .services()
        .accepting(world.weather.accept_after)
        .on_publish_failure(world.weather.on_publish_failure);
    if let Some(after_ms) = &mut services.repair.limits.release_after_ms {
        *after_ms = RELEASE_AFTER_MS;
    }
    let handle = &world.handle;
    let chores = Chores {
        handle: handle.clone(),
        services: services.clone(),
    };
    handle.spawn(process, Box::pin(chores.clone().keep_sales()));
    handle.spawn(process, Box::pin(chores.clone().mend()));
    handle.spawn(process, Box::pin(chores.clone().watch()));
    if api {
        handle.spawn(process, Box::pin(chores.clone().forward()));
        handle.spawn(process, Box::pin(chores.clone().forward()));
        handle.spawn(process, Box::pin(chores.acknowledge()));
    } else {
        handle.spawn(process, Box::pin(chores.decide()));
    }
    services
}

#[derive(Clone)]
struct Chores {
    handle: Handle,
    services: EngineServices,
}

/// The pauses after faults: 100 ms, doubled up to 1 s.
struct Backoff(u64);

impl Backoff {
    const MIN_MS: u64 = 100;
    const MAX_MS: u64 = 1_000;

    async fn after(&mut self, handle: &Handle, step: Result<(), PortError>) {
        if step.is_ok() {
            self.0 = Self::MIN_MS;
        } else {
            handle.sleep(self.0).await;
            self.0 = Self::MAX_MS.min(self.0 * 2);
        }
    }
}

impl Chores {
    /// Keeps the catalogue fresh and the stock of every sale up to date.
    async fn keep_sales(self) {
        let mut backoff = Backoff(Backoff::MIN_MS);
        let mut seen = Revision::default();
        let mut ahead = BTreeMap::new();
        loop {
            let changed = self.services.catalogue.changed(seen);
            if let Some(Ok(now)) = self.handle.within(1_000, changed).await {
                seen = now;
            }
            let step = self.prepare_all(&mut ahead).await;
            backoff.after(&self.handle, step).await;
        }
    }

    async fn prepare_all(&self, ahead: &mut BTreeMap<SaleId, u32>) -> Result<(), PortError> {
        self.services.catalogue.refresh().await?;
        let mut first_fault = None;
        for sale in self.services.catalogue.all() {
            let prepared = self.prepare(ahead, &sale).await;
            first_fault = first_fault.or(prepared.err());
        }
        self.services.catalogue.refresh().await?;
        first_fault.map_or(Ok(()), Err)
    }

    async fn prepare(
        &self,
        ahead: &mut BTreeMap<SaleId, u32>,
        sale: &Sale,
    ) -> Result<(), PortError> {
        /// A change that is being made is made by then.
        const AHEAD_MAX: u32 = 5;
        let rounds = ahead.remove(&sale.id).unwrap_or_default();
        let lost = match self.services.sales.prepare(sale).await? {
            StockReadiness::Ready | StockReadiness::Waiting | StockReadiness::TooEarly => false,
            StockReadiness::Lost => true,
            StockReadiness::Ahead if rounds < AHEAD_MAX => {
                ahead.insert(sale.id, rounds + 1);
                false
            }
            StockReadiness::Ahead => true,
        };
        if lost {
            self.services.recovery.step(sale).await?;
        }
        Ok(())
    }

    /// Has a stock rebuilt that is at rest and does not add up: it has lost something, and nobody
    /// who had seen it before was there to notice.
    async fn watch(self) {
        let mut before = BTreeMap::new();
        loop {
            self.handle.sleep(self.handle.between(1_000, 3_000)).await;
            for sale in self.services.catalogue.all() {
                if let Ok(Some(account)) = self.services.auditor.reconcile(sale.id).await {
                    // A change that the store has not been told of yet is not a loss.
                    let rests = account.levels.is_none_or(|levels| {
                        levels.undecided == 0 && levels.version == account.sale.version
                    });
                    let drifts = rests && account.verdict() != Verdict::Exact;
                    let again = before.insert(sale.id, account.clone()) == Some(account);
                    if drifts && again {
                        // If it fails, the next round does it.
                        let _ = self.services.recovery.step(&sale).await;
                    }
                }
            }
        }
    }

    /// Finishes what was left undone.
    async fn mend(self) {
        let mut backoff = Backoff(Backoff::MIN_MS);
        loop {
            self.handle.sleep(self.handle.between(700, 2_000)).await;
            let mut step = Ok(());
            for sale in self.services.catalogue.all() {
                let repaired = self.services.repair.step(&sale.key()).await;
                step = step.and(repaired.map(|_| ()));
            }
            backoff.after(&self.handle, step).await;
        }
    }

    /// Takes attempts to the queue whose buyers were answered before it had them.
    async fn forward(self) {
        let mut backoff = Backoff(Backoff::MIN_MS);
        loop {
            self.services.relay.ready().await;
            self.handle.sleep(10).await;
            let step = self.services.relay.step().await.map(|_| ());
            backoff.after(&self.handle, step).await;
        }
    }

    /// Tells the stock store what the queue has.
    async fn acknowledge(self) {
        let mut backoff = Backoff(Backoff::MIN_MS);
        loop {
            self.handle.sleep(500).await;
            let step = self.services.relay.acknowledge().await;
            backoff.after(&self.handle, step).await;
        }
    }

    /// Turns attempts into orders.
    async fn decide(self) {
        let mut backoff = Backoff(Backoff::MIN_MS);
        let mut reader = None;
        loop {
            let step = self.decide_once(&mut reader).await;
            backoff.after(&self.handle, step).await;
        }
    }

    async fn decide_once(
        &self,
        place: &mut Option<Box<dyn AttemptReader>>,
    ) -> Result<(), PortError> {
        let queue: &dyn AttemptQueue = &*self.services.repair.queue;
        let mut reader = match place.take() {
            Some(reader) => reader,
            None => queue.subscribe(GROUP).await?,
        };
        let step = match self.services.worker.step(&mut *reader, 200).await {
            Ok(step) => step,
            Err(fault) => {
                if reader.rewind().await.is_ok() {
                    *place = Some(reader);
                }
                return Err(fault);
            }
        };
        *place = Some(reader);
        step.unsettled.map_or(Ok(()), Err)
    }
}
