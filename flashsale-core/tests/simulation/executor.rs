//! One thread, a clock that stands still while there is anything to do, and a seed that chooses
//! what is done next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use flashsale_core::domain::Timestamp;
use flashsale_core::testing::{ManualClock, Seeded};

/// What a task belongs to, and ends with. Number 0 is the world itself and never ends.
pub(crate) type Process = usize;
/// The process of users, operators and everything that goes wrong.
pub(crate) const WORLD: Process = 0;

pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Job = Box<dyn FnOnce() + Send>;

/// Owns the tasks and polls them one at a time.
pub(crate) struct Executor {
    handle: Handle,
    tasks: BTreeMap<u64, Task>,
}

struct Task {
    process: Process,
    work: Work,
    wake: Arc<TaskWake>,
}

/// What a step of the [`Executor`] was.
pub(crate) enum Step {
    /// A task was polled or a timer went off.
    Done,
    /// The process must crash: a task of it was about to be polled.
    Crash(Process),
    /// The process must stand still.
    Freeze(Process),
    /// Nothing will ever happen again.
    Idle,
}

/// How often a process crashes or freezes when one of its tasks is polled, in 100,000.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Danger {
    pub(crate) crash: u64,
    pub(crate) freeze: u64,
}

/// What tasks need of their executor: time, chance and other tasks. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

struct Shared {
    clock: Arc<ManualClock>,
    state: Mutex<State>,
}

struct State {
    random: Seeded,
    now_ms: i64,
    timers: BinaryHeap<Reverse<Timer>>,
    timers_ever: u64,
    ready: Vec<u64>,
    spawned: Vec<(u64, Process, Work)>,
    tasks_ever: u64,
    ended: Vec<End>,
    frozen: BTreeMap<Process, Vec<u64>>,
    danger: Danger,
    steps: u64,
    hash: u64,
}

/// Which tasks to drop before the next step.
enum End {
    Task(u64),
    Process(Process),
}

/// Goes off at a time; those of the same time in an order that the seed chooses.
struct Timer {
    at_ms: i64,
    tie: u64,
    number: u64,
    action: Action,
}

enum Action {
    Wake(Waker),
    Job(Job),
}

impl Timer {
    fn order(&self) -> (i64, u64, u64) {
        (self.at_ms, self.tie, self.number)
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

struct TaskWake {
    task: u64,
    queued: AtomicBool,
    handle: Handle,
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.handle.state().ready.push(self.task);
        }
    }
}

impl Executor {
    /// Nothing to do yet, at `now`.
    pub(crate) fn new(seed: u64, now: Timestamp) -> Self {
        let mut random = Seeded::new(seed);
        // The first numbers of neighbouring seeds are alike.
        for _ in 0..8 {
            random.next_number();
        }
        let state = State {
            random,
            now_ms: now.as_millis(),
            timers: BinaryHeap::new(),
            timers_ever: 0,
            ready: Vec::new(),
            spawned: Vec::new(),
            tasks_ever: 0,
            ended: Vec::new(),
            frozen: BTreeMap::new(),
            danger: Danger::default(),
            steps: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        };
        let clock = Arc::new(ManualClock::at(now));
        let state = Mutex::new(state);
        Self {
            handle: Handle(Arc::new(Shared { clock, state })),
            tasks: BTreeMap::new(),
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Does one thing that can be done now; if there is none, lets time pass until there is.
    pub(crate) fn step(&mut self) -> Step {
        self.take_in();
        let mut state = self.handle.state();
        state.steps += 1;
        let due = state
            .timers
            .peek()
            .is_some_and(|Reverse(timer)| timer.at_ms <= state.now_ms);
        let poll = !state.ready.is_empty() && (!due || state.random.percent(60));
        if !poll {
            return Self::go_off(&self.handle, state);
        }
        let ready = state.ready.len() as u64;
        let chosen = state.random.below(ready) as usize;
        let id = state.ready.swap_remove(chosen);
        let Some(task) = self.tasks.get_mut(&id) else {
            return Step::Done;
        };
        let process = task.process;
        if let Some(parked) = state.frozen.get_mut(&process) {
            parked.push(id);
            return Step::Done;
        }
        if process != WORLD {
            let Danger { crash, freeze } = state.danger;
            let drawn = state.random.below(100_000);
            if drawn < crash + freeze {
                state.ready.push(id);
                return if drawn < crash {
                    Step::Crash(process)
                } else {
                    Step::Freeze(process)
                };
            }
        }
        state.mix(id);
        drop(state);
        task.wake.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.wake));
        if let Poll::Ready(()) = task.work.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.tasks.remove(&id);
        }
        Step::Done
    }

    /// Takes in new tasks and drops those that have been ended.
    fn take_in(&mut self) {
        let (spawned, ended) = {
            let mut state = self.handle.state();
            if state.spawned.is_empty() && state.ended.is_empty() {
                return;
            }
            let spawned = std::mem::take(&mut state.spawned);
            (spawned, std::mem::take(&mut state.ended))
        };
        for (id, process, work) in spawned {
            let wake = Arc::new(TaskWake {
                task: id,
                queued: AtomicBool::new(true),
                handle: self.handle.clone(),
            });
            let task = Task {
                process,
                work,
                wake,
            };
            self.tasks.insert(id, task);
            self.handle.state().ready.push(id);
        }
        for end in ended {
            match end {
                End::Task(id) => drop(self.tasks.remove(&id)),
                End::Process(process) => self.tasks.retain(|_, task| task.process != process),
            }
        }
    }

    fn go_off(handle: &Handle, mut state: MutexGuard<'_, State>) -> Step {
        let Some(Reverse(timer)) = state.timers.pop() else {
            return Step::Idle;
        };
        if timer.at_ms > state.now_ms {
            state.now_ms = timer.at_ms;
            let now = Timestamp::from_millis(timer.at_ms);
            handle.0.clock.set(now);
        }
        state.mix(timer.at_ms as u64);
        match timer.action {
            Action::Wake(waker) => {
                drop(state);
                waker.wake();
            }
            Action::Job(job) => {
                drop(state);
                job();
            }
        }
        Step::Done
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.tasks.clear();
        let (timers, spawned) = {
            let mut state = self.handle.state();
            let timers = std::mem::take(&mut state.timers);
            (timers, std::mem::take(&mut state.spawned))
        };
        drop((timers, spawned));
    }
}

impl State {
    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
        self.hash ^= self.hash >> 29;
    }

    fn add_timer(&mut self, delay_ms: u64, action: Action) {
        self.timers_ever += 1;
        let timer = Timer {
            at_ms: self.now_ms + delay_ms as i64,
            tie: self.random.next_number(),
            number: self.timers_ever,
            action,
        };
        self.timers.push(Reverse(timer));
    }
}

impl Handle {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world's clock.
    pub(crate) fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.0.clock)
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.state().now_ms
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.state().random.below(bound)
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// Yes in so many of 1,000 cases.
    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// Adds to the hash of all that happened.
    pub(crate) fn mix(&self, number: u64) {
        self.state().mix(number);
    }

    /// The hash of all that happened, and how many steps that was.
    pub(crate) fn hash_and_steps(&self) -> (u64, u64) {
        let state = self.state();
        (state.hash, state.steps)
    }

    pub(crate) fn set_danger(&self, danger: Danger) {
        self.state().danger = danger;
    }

    /// Starts a task of a process.
    pub(crate) fn spawn(&self, process: Process, work: Work) -> u64 {
        let mut state = self.state();
        state.tasks_ever += 1;
        let id = state.tasks_ever;
        state.spawned.push((id, process, work));
        id
    }

    /// Drops a task before the next step.
    pub(crate) fn end_task(&self, task: u64) {
        self.state().ended.push(End::Task(task));
    }

    /// Drops all tasks of a process before the next step.
    pub(crate) fn end_process(&self, process: Process) {
        let mut state = self.state();
        state.frozen.remove(&process);
        state.spawned.retain(|(_, owner, _)| *owner != process);
        state.ended.push(End::Process(process));
    }

    /// From now on no task of the process is polled.
    pub(crate) fn freeze(&self, process: Process) {
        self.state().frozen.entry(process).or_default();
    }

    pub(crate) fn is_frozen(&self, process: Process) -> bool {
        self.state().frozen.contains_key(&process)
    }

    /// The tasks of the process go on where they stood.
    pub(crate) fn thaw(&self, process: Process) {
        let mut state = self.state();
        if let Some(parked) = state.frozen.remove(&process) {
            state.ready.extend(parked);
        }
    }

    /// Does a job later.
    pub(crate) fn after(&self, delay_ms: u64, job: impl FnOnce() + Send + 'static) {
        self.state().add_timer(delay_ms, Action::Job(Box::new(job)));
    }

    pub(crate) async fn sleep(&self, delay_ms: u64) {
        let until_ms = self.now_ms() + delay_ms as i64;
        let mut set = false;
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if state.now_ms >= until_ms && (set || delay_ms == 0) {
                return Poll::Ready(());
            }
            if !set {
                set = true;
                let waker = context.waker().clone();
                state.add_timer(delay_ms, Action::Wake(waker));
            }
            Poll::Pending
        })
        .await
    }

    /// What `work` gives, unless that takes longer.
    pub(crate) async fn within<T>(
        &self,
        limit_ms: u64,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut sleep = std::pin::pin!(self.sleep(limit_ms));
        std::future::poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            sleep.as_mut().poll(context).map(|()| None)
        })
        .await
    }
}

/// What a future gives that never has to wait.
pub(crate) fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("what is in memory answers at once"),
    }
}
