use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::SaleId;
use crate::error::PortError;
use crate::ports::DeadItem;

use super::{EngineServices, Repaired};

mod acknowledge_task;
mod background_loop;
mod drift_monitor;
mod limits;
mod refusal_task;
mod relay_task;
mod repair_task;
mod sale_supervisor;
mod worker_task;

pub use acknowledge_task::AcknowledgeTask;
pub use background_loop::BackgroundLoop;
pub use drift_monitor::DriftMonitor;
pub use limits::BackgroundLimits;
pub use refusal_task::RefusalTask;
pub use relay_task::RelayTask;
pub use repair_task::RepairTask;
pub use sale_supervisor::SaleSupervisor;
pub use worker_task::WorkerTask;

/// Something that has to be done again and again beside the requests.
///
/// It decides what is to be done and when; a [`BackgroundLoop`] is what runs it. Nothing depends on
/// how long it really takes until the next step, nor on how many processes do the same.
#[async_trait]
pub trait BackgroundTask: Debug + Send {
    /// What it does, for logs.
    fn name(&self) -> &'static str;

    /// What to wait for before the next step.
    fn next(&self) -> Wait;

    /// Waits until there is something to do. May be dropped at any time; asked only if
    /// [`next`](Self::next) says so.
    async fn ready(&mut self);

    /// Does it. `now_ms` is the time of a clock that never goes back, from any beginning: one that
    /// measures, where [`Clock`](crate::ports::Clock) tells the hour.
    async fn step(&mut self, now_ms: u64) -> TaskReport;

    /// Does what must not be left undone when the process ends in order. A process that ends
    /// otherwise leaves it to others.
    async fn finish(&mut self);
}

/// What a [`BackgroundTask`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: the step itself waits.
    Nothing,
    /// So many milliseconds.
    Pause(u64),
    /// Until it is [`ready`](BackgroundTask::ready), or so many milliseconds.
    ReadyOr(u64),
    /// Until it is [`ready`](BackgroundTask::ready), and then so many milliseconds, so that more
    /// comes together.
    ReadyThen(u64),
}

/// What a step of a [`BackgroundTask`] did that somebody may want to read in a log.
#[derive(Debug, Default)]
pub struct TaskReport {
    /// What is worth a line, in order.
    pub events: Vec<TaskEvent>,
    /// Why not everything was done, if it was not. Everything that could be done was.
    pub fault: Option<PortError>,
}

/// Something that a [`BackgroundTask`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEvent {
    /// The stock of the sale is lost; rebuilding it has begun.
    StockLost(SaleId),
    /// The stock of the sale differs from the orders while nothing is in flight; rebuilding it has
    /// begun.
    StockDiffers(SaleId),
    /// The stock of the sale is rebuilt.
    StockRebuilt(SaleId),
    /// Attempts of the sale that were left undone are done.
    Repaired(SaleId, Repaired),
    /// The queue holds what is no attempt, or none that can be decided; it is kept as a dead letter.
    DeadLetter(DeadItem),
}

impl TaskReport {
    /// Takes the outcome of a part into account; of several faults the first is told.
    fn note(&mut self, part: Result<(), PortError>) {
        if let Err(fault) = part {
            self.fault.get_or_insert(fault);
        }
    }
}

impl From<Result<(), PortError>> for TaskReport {
    fn from(whole: Result<(), PortError>) -> Self {
        Self {
            events: Vec::new(),
            fault: whole.err(),
        }
    }
}

/// Which parts of an engine run in a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// All of them.
    #[default]
    All,
    /// What buyers need; workers run in other processes.
    Api,
    /// What turns attempts into orders and repairs what was left undone.
    Worker,
}

impl EngineServices {
    /// What has to run beside the requests in a process of this role, whose workers read the queue
    /// as `group` (by default [`WORKERS`](Self::WORKERS)).
    ///
    /// The first keeps the sales: whoever wants the stock to be there before the first buyer has it
    /// do a step beforehand. With tokio, all that is left to do is
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use flashsale_core::services::{BackgroundLoop, EngineServices, Role};
    ///
    /// fn run(shop: &EngineServices) {
    ///     let begin = Instant::now();
    ///     for task in shop.background(Role::All, EngineServices::WORKERS) {
    ///         let mut task = BackgroundLoop::new(task);
    ///         tokio::spawn(async move {
    ///             loop {
    ///                 task.wait(|ms| tokio::time::sleep(Duration::from_millis(ms))).await;
    ///                 let report = task.step(begin.elapsed().as_millis() as u64).await;
    ///                 if let Some(fault) = report.fault {
    ///                     eprintln!("{}: {fault}", task.name());
    ///                 }
    ///             }
    ///         });
    ///     }
    /// }
    /// ```
    ///
    /// A process that ends in order lets each finish the step that it is at and then calls
    /// [`BackgroundLoop::finish`]; one that just ends loses nothing either.
    pub fn background(&self, role: Role, group: &str) -> Vec<Box<dyn BackgroundTask>> {
        let mut tasks: Vec<Box<dyn BackgroundTask>> =
            vec![Box::new(SaleSupervisor::new(self, group))];
        if role != Role::Api {
            tasks.push(Box::new(WorkerTask::new(self, group)));
        }
        tasks.push(Box::new(RepairTask::new(self)));
        tasks.push(Box::new(DriftMonitor::new(self, group)));
        if role != Role::Worker {
            for _ in 0..self.limits.relays {
                tasks.push(Box::new(RelayTask::new(self)));
            }
            tasks.push(Box::new(AcknowledgeTask::new(self)));
            if let Some(trail) = &self.audit_trail {
                tasks.push(Box::new(RefusalTask::new(self, trail)));
            }
        }
        tasks
    }
}
