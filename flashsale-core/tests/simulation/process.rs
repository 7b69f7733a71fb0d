//! What runs in a process besides the requests: the background tasks of the engine, by the world's
//! clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use flashsale_core::ports::{Leadership, NoRecorder, SoleProcess};
use flashsale_core::services::{
    BackgroundLimits, BackgroundLoop, BackgroundTask, EnginePorts, EngineServices, Role,
};

use super::bugs::Bug;
use super::executor::Handle;
use super::line::Line;
use super::ports::{
    SimAttemptQueue, SimLeadership, SimOrderRepo, SimSaleRepo, SimStockStore, SkewedClock,
};
use super::weather::Service;
use super::world::{Life, World};

const GROUP: &str = "workers";
/// Sooner than a server, so that a world need not last as long.
const RELEASE_AFTER_MS: u32 = 12_000;
const LIMITS: BackgroundLimits = BackgroundLimits {
    sales_rest_ms: 5_000,
    repair_recent_ms: 2_000,
    repair_all_every: 5,
    ..BackgroundLimits::DEFAULT
};

/// Wires the real services of a process over its own lines and starts its background tasks.
pub(crate) fn start(world: &Arc<World>, life: Life) -> (EngineServices, Arc<Stop>) {
    let process = life.process;
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
    let leadership: Arc<dyn Leadership> = if world.weather.elects {
        Arc::new(SimLeadership {
            line: line(Service::Sales),
            life,
        })
    } else {
        Arc::new(SoleProcess)
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
        leadership,
        clock: Arc::new(SkewedClock::new(world.handle.clock(), skew_ms)),
        ids: world.ids.clone(),
        recorder: Arc::new(NoRecorder),
    };
    let ports = Bug::wire(world, process, ports);
    let mut services = ports
        .services()
        .accepting(world.weather.accept_after)
        .on_publish_failure(world.weather.on_publish_failure);
    if world.weather.records_refusals {
        services = services.recording_refusals();
    }
    if let Some(after_ms) = &mut services.repair.limits.release_after_ms {
        *after_ms = RELEASE_AFTER_MS;
    }
    services.limits = Bug::limits(world.bug, LIMITS);
    let role = if api { Role::Api } else { Role::Worker };
    let stop = Arc::new(Stop::default());
    for task in services.background(role, GROUP) {
        let task = Bug::task(world.bug, &services, task);
        stop.tasks.fetch_add(1, Ordering::Relaxed);
        let (handle, stop) = (world.handle.clone(), Arc::clone(&stop));
        world
            .handle
            .spawn(process, Box::pin(run(handle, task, stop)));
    }
    (services, stop)
}

/// Runs a task until the process ends.
async fn run(handle: Handle, task: Box<dyn BackgroundTask>, stop: Arc<Stop>) {
    let begin_ms = handle.now_ms();
    let handle = &handle;
    let mut task = BackgroundLoop::new(task);
    // Nobody wakes up to the millisecond.
    let sleep = |ms| handle.sleep(ms + handle.below(2 + ms / 8));
    while stop.or(task.wait(sleep)).await {
        task.step((handle.now_ms() - begin_ms) as u64).await;
    }
    task.finish().await;
    stop.tasks.fetch_sub(1, Ordering::Relaxed);
}

/// Has the tasks of a process finish.
#[derive(Default)]
pub(crate) struct Stop {
    asked: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    /// How many have not finished.
    tasks: AtomicUsize,
}

impl Stop {
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.tasks.load(Ordering::Relaxed) == 0
    }

    /// Whether the work was done before anybody asked to stop.
    async fn or(&self, work: impl Future<Output = ()>) -> bool {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            if self.asked.load(Ordering::Relaxed) {
                return Poll::Ready(false);
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.iter().any(|one| one.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            drop(waiting);
            work.as_mut().poll(context).map(|()| true)
        })
        .await
    }
}
