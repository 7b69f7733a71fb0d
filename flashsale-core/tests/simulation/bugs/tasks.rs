//! Background tasks that decide wrongly.

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::SaleId;
use flashsale_core::ports::Leadership;
use flashsale_core::services::{
    BackgroundLimits, BackgroundTask, EngineServices, TaskReport, Verdict, Wait,
};

use super::Bug;

/// Longer than any world lasts.
const NEVER_MS: u64 = 1_000_000_000;

impl Bug {
    /// When the tasks of a process act.
    pub(crate) fn limits(bug: Option<Self>, limits: BackgroundLimits) -> BackgroundLimits {
        let mut limits = limits;
        match bug {
            Some(Self::RebuildsWhatIsBeingChanged) => limits.ahead_max_ms = 0,
            Some(Self::NeverRebuildsWhatIsAhead) => limits.ahead_max_ms = NEVER_MS,
            Some(Self::ForgetsSalesThatWait) => limits.sales_poll_waiting_ms = NEVER_MS,
            Some(Self::LooksOnlyWhenSalesChange) => limits.sales_poll_ms = NEVER_MS,
            Some(Self::DropsResultsAtTheEnd) => limits.results_kept_ms = 0,
            Some(Self::ForgetsSalesThatEnded) => limits.repair_all_every = u32::MAX,
            _ => {}
        }
        limits
    }

    /// A background task of a process, which may do less than it should.
    pub(crate) fn task(
        bug: Option<Self>,
        services: &EngineServices,
        task: Box<dyn BackgroundTask>,
    ) -> Box<dyn BackgroundTask> {
        let (name, steps, finishes) = match bug {
            Some(Self::NeverComparesStocks) => ("watch stocks", 0, true),
            Some(Self::RebuildsAtFirstSight) if task.name() == "watch stocks" => {
                return Box::new(HastyMonitor(services.clone()));
            }
            Some(Self::RepairsOnce) => ("repair attempts", 1, true),
            Some(Self::NeverForwards) => ("forward attempts", 0, true),
            Some(Self::ForgetsToForwardTheRest) => ("forward attempts", u32::MAX, false),
            Some(Self::ForgetsTheLastRefusals) => ("record refusals", u32::MAX, false),
            _ => return task,
        };
        if task.name() != name {
            return task;
        }
        Box::new(LazyTask {
            task,
            steps,
            finishes,
        })
    }
}

/// A task that gives up after some steps, or does not finish.
#[derive(Debug)]
struct LazyTask {
    task: Box<dyn BackgroundTask>,
    steps: u32,
    finishes: bool,
}

#[async_trait]
impl BackgroundTask for LazyTask {
    fn name(&self) -> &'static str {
        self.task.name()
    }

    fn next(&self) -> Wait {
        if self.steps == 0 {
            return Wait::Pause(NEVER_MS);
        }
        self.task.next()
    }

    async fn ready(&mut self) {
        self.task.ready().await;
    }

    async fn step(&mut self, now_ms: u64) -> TaskReport {
        if self.steps == 0 {
            return TaskReport::default();
        }
        self.steps -= 1;
        self.task.step(now_ms).await
    }

    async fn finish(&mut self) {
        if self.finishes {
            self.task.finish().await;
        }
    }
}

/// Rebuilds whatever differs, without a second look.
#[derive(Debug)]
struct HastyMonitor(EngineServices);

#[async_trait]
impl BackgroundTask for HastyMonitor {
    fn name(&self) -> &'static str {
        "watch stocks"
    }

    fn next(&self) -> Wait {
        Wait::Pause(BackgroundLimits::DEFAULT.drift_pause_ms)
    }

    async fn ready(&mut self) {}

    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        for sale in self.0.catalogue.all() {
            if let Ok(Some(account)) = self.0.auditor.reconcile(sale.id).await
                && account.verdict() == Verdict::Drift
            {
                let _ = self.0.recovery.step(&account.sale).await;
            }
        }
        TaskReport::default()
    }

    async fn finish(&mut self) {}
}

/// An election that nobody wins.
#[derive(Debug)]
pub(super) struct NobodyLeads;

#[async_trait]
impl Leadership for NobodyLeads {
    async fn leads(&self, _sale: SaleId) -> Result<bool, PortError> {
        Ok(false)
    }
}
