use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use flashsale_core::services::{
    BackgroundLoop, BackgroundTask, EngineServices, Role, TaskEvent, TaskReport,
};
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Services;
use crate::error_chain::error_chain;

/// Runs what has to run beside the requests: what [`EngineServices::background`] says, each in a
/// task of its own.
///
/// A fault is logged when it begins and when it ends, and is tried again after 0.1 to 1 s; nothing
/// here ends the process. Dropping it stops everything at once, which loses nothing either.
#[derive(Debug)]
pub struct Background {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// What runs beside the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackgroundConfig {
    /// The parts that run here.
    pub role: Role,
    /// The group of workers that share the attempts; `flash-sale-worker-group` by default.
    pub group: String,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self {
            role: Role::All,
            group: EngineServices::WORKERS.to_owned(),
        }
    }
}

impl Background {
    /// Reads the sales, brings their stock up to date, and starts. What cannot be done now is tried
    /// again and again; a sale that is not ready keeps none of the others from selling.
    pub async fn start(services: &Services, config: &BackgroundConfig) -> Self {
        let begin = Instant::now();
        let mut tasks = services.engine.background(config.role, &config.group);
        if let Some(sales) = tasks.first_mut() {
            let report = sales.step(0).await;
            report.events.iter().for_each(log_event);
            if let Some(fault) = &report.fault {
                let error = error_chain(fault);
                tracing::warn!(error, "not every sale is ready");
            }
        }
        let mut background = Self {
            stop: watch::Sender::new(false),
            tasks: JoinSet::new(),
        };
        for task in tasks {
            let stop = background.stop.subscribe();
            background.tasks.spawn(run(task, begin, stop));
        }
        background
    }

    /// Lets every task finish what it is at, for `within` at most.
    pub async fn stop(mut self, within: Duration) {
        self.stop.send_replace(true);
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(within, finished).await.is_err() {
            tracing::warn!("background work did not finish in time and is left to the next start");
        }
    }
}

/// Why a task is not getting on, as far as the log has to tell it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Fault(String),
    Panic,
}

async fn run(task: Box<dyn BackgroundTask>, begin: Instant, mut stop: watch::Receiver<bool>) {
    let mut task = BackgroundLoop::new(task);
    {
        let stopped = stop.wait_for(|stop| *stop);
        tokio::pin!(stopped);
        repeat(&mut task, begin, stopped).await;
    }
    task.finish().await;
}

/// Does a task again and again until `stopped`.
async fn repeat<S: Future + Unpin>(task: &mut BackgroundLoop, begin: Instant, mut stopped: S) {
    let mut last: Option<Trouble> = None;
    loop {
        let waiting = task.wait(|ms| sleep(Duration::from_millis(ms)));
        let waited = tokio::select! {
            // A task that is never at rest ends as soon as it may.
            biased;
            _ = &mut stopped => return,
            waited = AssertUnwindSafe(waiting).catch_unwind() => waited,
        };
        let done = match waited {
            Ok(()) => {
                let step = task.step(begin.elapsed().as_millis() as u64);
                AssertUnwindSafe(step).catch_unwind().await
            }
            Err(panic) => Err(panic),
        };
        let trouble = match done {
            Ok(TaskReport { events, fault }) => {
                events.iter().for_each(log_event);
                fault.map(|fault| Trouble::Fault(error_chain(&fault)))
            }
            Err(_) => Some(Trouble::Panic),
        };
        log_change(task.name(), last.as_ref(), trouble.as_ref());
        last = trouble;
    }
}

/// Logs a change of state, and nothing while it stays the same.
fn log_change(task: &str, last: Option<&Trouble>, now: Option<&Trouble>) {
    if last == now {
        return;
    }
    match now {
        None => tracing::info!(task, "works again"),
        Some(Trouble::Fault(error)) => {
            tracing::warn!(task, error, "does not get on; trying again")
        }
        // The panic itself has been printed where it happened.
        Some(Trouble::Panic) => tracing::error!(task, "met a bug; trying again"),
    }
}

fn log_event(event: &TaskEvent) {
    match event {
        TaskEvent::StockLost(sale) => {
            tracing::warn!(sale.id = sale.get(), "the stock is lost; rebuilding it")
        }
        TaskEvent::StockDiffers(sale) => tracing::warn!(
            sale.id = sale.get(),
            "the stock differs from the orders; rebuilding it"
        ),
        TaskEvent::StockRebuilt(sale) => {
            tracing::info!(sale.id = sale.get(), "the stock is rebuilt")
        }
        TaskEvent::Repaired(sale, repaired) => tracing::info!(
            sale.id = sale.get(),
            republished = repaired.republished,
            completed = repaired.completed,
            "repaired attempts that were left undone"
        ),
        TaskEvent::DeadLetter(item) => tracing::error!(
            position = item.position,
            problem = item.problem,
            length_bytes = item.content.stored().len(),
            "an item of the queue is kept as a dead letter"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use async_trait::async_trait;
    use flashsale_core::services::{BackgroundTask, TaskReport, Wait};
    use flashsale_core::{ErrorKind, PortError};
    use tokio::sync::watch;

    use super::run;

    /// Fails, panics, then works, and notes each step.
    #[derive(Debug)]
    struct Clumsy {
        steps: Arc<Mutex<u32>>,
        stop: watch::Sender<bool>,
    }

    #[async_trait]
    impl BackgroundTask for Clumsy {
        fn name(&self) -> &'static str {
            "clumsy"
        }

        fn next(&self) -> Wait {
            Wait::Nothing
        }

        async fn ready(&mut self) {}

        async fn step(&mut self, _now_ms: u64) -> TaskReport {
            let step = {
                let mut steps = self.steps.lock().unwrap();
                *steps += 1;
                *steps
            };
            match step {
                1 => TaskReport {
                    fault: Some(PortError::new(ErrorKind::Unavailable, "test", "step")),
                    ..TaskReport::default()
                },
                2 => panic!("a bug, on purpose"),
                3 => TaskReport::default(),
                _ => {
                    self.stop.send_replace(true);
                    TaskReport::default()
                }
            }
        }

        async fn finish(&mut self) {
            *self.steps.lock().unwrap() += 100;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_fault_nor_a_panic_ends_a_task_and_a_stop_lets_it_finish() {
        let stop = watch::Sender::new(false);
        let steps = Arc::new(Mutex::new(0));
        let task = Box::new(Clumsy {
            steps: Arc::clone(&steps),
            stop: stop.clone(),
        });
        let running = run(task, Instant::now(), stop.subscribe());
        let ended = tokio::time::timeout(Duration::from_secs(60), running);
        ended.await.expect("the task goes on until it is stopped");
        assert_eq!(*steps.lock().unwrap(), 104);
    }
}
