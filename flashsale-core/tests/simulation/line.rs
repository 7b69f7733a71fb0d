//! A process's connection to a service: calls are delayed, lost, cut and repeated.

use std::sync::Arc;

use flashsale_core::{ErrorKind, PortError};

use super::executor::Process;
use super::slot::Slot;
use super::trace::About;
use super::weather::{Calls, Service};
use super::world::World;

/// From one process to one service.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) world: Arc<World>,
    pub(crate) process: Process,
    pub(crate) service: Service,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} to {:?}", self.process, self.service)
    }
}

/// When what of a call happens, in milliseconds from its start.
struct Plan {
    refused: bool,
    arrives: Option<u64>,
    arrives_again: Option<u64>,
    /// How long the answer takes, if it comes.
    answers: Option<u64>,
    /// Whether the answer is that of the second time.
    second_counts: bool,
    gives_up: u64,
}

impl Line {
    /// Makes a call: `run` is what the service does when the request arrives there, also if the
    /// caller is gone by then.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        about: About,
        run: impl Fn() -> Result<T, PortError> + Send + Sync + 'static,
    ) -> Result<T, PortError> {
        let Self { world, process, .. } = self;
        let handle = &world.handle;
        let plan = self.plan();
        if plan.refused {
            world.note(*process, operation, "refused", about);
            handle.sleep(plan.gives_up).await;
            return Err(self.fault(operation));
        }
        let (fill, reply) = Slot::new();
        let run = Arc::new(run);
        let mut fill = Some(fill);
        let deliveries = [
            (plan.arrives, !plan.second_counts),
            (plan.arrives_again, plan.second_counts),
        ];
        for (arrives, counts) in deliveries {
            let Some(arrives) = arrives else { continue };
            let (world, run, process) = (Arc::clone(world), Arc::clone(&run), *process);
            let fill = if counts { fill.take() } else { None };
            let answers = plan.answers;
            handle.after(arrives, move || {
                world.note(process, operation, "happens", about);
                let answer = run();
                if let (Some(fill), Some(answers)) = (fill, answers) {
                    world.handle.after(answers, move || fill.put(answer));
                }
            });
        }
        // A request that nobody will answer is waited for all the same.
        let _unanswered = fill;
        match handle.within(plan.gives_up, answered(reply)).await {
            Some(answer) => answer,
            None => {
                world.note(*process, operation, "given up", about);
                Err(self.fault(operation).effect_unknown())
            }
        }
    }

    fn fault(&self, operation: &'static str) -> PortError {
        PortError::new(ErrorKind::Unavailable, "simulation", operation)
    }

    fn plan(&self) -> Plan {
        let handle = &self.world.handle;
        let patience = self.service.patience_ms();
        let mut plan = Plan {
            refused: false,
            arrives: Some(handle.below(3)),
            arrives_again: None,
            answers: Some(handle.below(3)),
            second_counts: false,
            gives_up: patience,
        };
        if self.world.is_healed() {
            return plan;
        }
        let Calls {
            refused,
            request_lost,
            reply_lost,
            slow,
            cut,
            twice,
            outages: _,
        } = self.world.weather.calls_of(self.service);
        if self.world.is_out(self.service) || handle.chance(refused) {
            plan.refused = true;
            plan.gives_up = handle.below(20);
            return plan;
        }
        if handle.chance(slow) {
            plan.arrives = Some(handle.below(patience * 3));
            plan.answers = Some(handle.below(patience));
        }
        if handle.chance(twice) {
            plan.arrives_again = plan.arrives.map(|first| first + handle.below(patience * 2));
            plan.second_counts = handle.chance(300);
        }
        if handle.chance(cut) {
            plan.gives_up = handle.below(patience);
            plan.arrives = Some(handle.below(patience * 2));
        }
        if handle.chance(reply_lost) {
            plan.answers = None;
        }
        if handle.chance(request_lost) {
            plan.arrives = None;
            plan.arrives_again = None;
        }
        plan
    }
}

/// The answer; waits for ever if there is none.
async fn answered<T>(reply: Slot<T>) -> T {
    match reply.wait().await {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}
