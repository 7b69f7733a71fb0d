use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

use crate::dice::Dice;
use crate::history::{Moment, now};
use crate::options::Engine;
use crate::process::{Process, Role};
use crate::proxy::Mode;
use crate::stack::Stack;

/// Something bad that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) target: Target,
    pub(crate) kind: Kind,
    pub(crate) began: Moment,
    /// When the target was there again.
    pub(crate) over: Moment,
}

/// What it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A process of ours, by its place in the stack.
    Process(usize),
    Redis,
    Kafka,
    Postgres,
}

/// Targets of which it does not matter which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Class {
    /// The process of the embedded engine.
    Server,
    Api,
    Worker,
    Redis,
    Kafka,
    Postgres,
}

impl Target {
    pub(crate) fn class(self, stack: &Stack) -> Class {
        match self {
            Self::Process(index) => match stack.processes[index].role {
                Role::All => Class::Server,
                Role::Api => Class::Api,
                Role::Worker => Class::Worker,
            },
            Self::Redis => Class::Redis,
            Self::Kafka => Class::Kafka,
            Self::Postgres => Class::Postgres,
        }
    }
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// SIGKILL, and a start on the same data.
    Kill,
    /// SIGSTOP and SIGCONT.
    Freeze,
    /// All connections break, and so does each new one.
    Cut,
    /// Connections stay, and nothing passes.
    Hold,
    /// Redis loses everything (FLUSHALL).
    Flush,
    /// Redis is killed, and comes back with what it had a moment before.
    Rollback,
}

impl Kind {
    /// Whether data are lost.
    pub(crate) fn loses(self) -> bool {
        matches!(self, Self::Flush | Self::Rollback)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (began, over) = (self.began.as_secs_f64(), self.over.as_secs_f64());
        let Self { target, kind, .. } = self;
        write!(
            f,
            "{began:>9.3} s  {kind:?} of {target:?} until {over:.3} s"
        )
    }
}

/// Does one fault, and returns when the target is there again.
pub(crate) fn inflict(stack: &Stack, target: Target, kind: Kind, length: Duration) -> Fault {
    let began = now();
    stack.harm(true);
    match kind {
        Kind::Kill => kill(stack, target, length),
        Kind::Freeze => {
            freeze(stack, target, true);
            sleep(length);
            freeze(stack, target, false);
        }
        Kind::Cut | Kind::Hold => {
            let mode = if kind == Kind::Cut {
                Mode::Cut
            } else {
                Mode::Hold
            };
            link(stack, target, mode);
            sleep(length);
            link(stack, target, Mode::Pass);
        }
        Kind::Flush => flush(stack),
        Kind::Rollback => roll_back(stack, length),
    }
    stack.harm(false);
    Fault {
        target,
        kind,
        began,
        over: now(),
    }
}

fn kill(stack: &Stack, target: Target, length: Duration) {
    macro_rules! server {
        ($name:ident) => {{
            let mut server = stack.servers.as_ref().unwrap().$name.lock().unwrap();
            server.kill();
            sleep(length);
            server.start_now();
        }};
    }
    match target {
        Target::Process(index) => {
            stack.processes[index].kill();
            sleep(length);
            stack.start_process(index);
        }
        Target::Redis => server!(redis),
        Target::Kafka => server!(kafka),
        Target::Postgres => server!(postgres),
    }
}

fn flush(stack: &Stack) {
    let redis = stack.servers.as_ref().unwrap().redis.lock().unwrap();
    redis.cli(&["flushall"]);
}

/// A copy of an append-only file is what it was when it was copied.
fn roll_back(stack: &Stack, length: Duration) {
    let mut redis = stack.servers.as_ref().unwrap().redis.lock().unwrap();
    let (kept, older) = (
        redis.folder().join("appendonlydir"),
        redis.folder().join("older"),
    );
    copy(&kept, &older);
    sleep(length);
    redis.kill();
    std::fs::remove_dir_all(&kept).unwrap();
    std::fs::rename(&older, &kept).unwrap();
    redis.start_now();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn freeze(stack: &Stack, target: Target, freeze: bool) {
    macro_rules! server {
        ($name:ident) => {{
            let server = stack.servers.as_ref().unwrap().$name.lock().unwrap();
            if freeze {
                server.freeze()
            } else {
                server.thaw()
            }
        }};
    }
    match target {
        Target::Process(index) => stack.processes[index].freeze(freeze),
        Target::Redis => server!(redis),
        Target::Kafka => server!(kafka),
        Target::Postgres => server!(postgres),
    }
}

fn link(stack: &Stack, target: Target, mode: Mode) {
    let links = stack.processes.iter().filter_map(Process::links);
    match target {
        Target::Process(index) => stack.processes[index].set(mode),
        Target::Redis => links.for_each(|links| links.redis.set(mode)),
        Target::Kafka => links.for_each(|links| links.kafka.set(mode)),
        Target::Postgres => links.for_each(|links| links.postgres.set(mode)),
    }
}

/// Does faults at random, one or two at a time, until it is told to stop.
#[derive(Debug)]
pub(crate) struct Storm {
    pub(crate) stack: Arc<Stack>,
    pub(crate) dice: Dice,
    pub(crate) limits: Limits,
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Whether Redis may lose data.
    pub(crate) losses: bool,
    /// If nothing else may be harmed.
    pub(crate) only: Option<Class>,
    /// If nothing else may be done.
    pub(crate) kind: Option<Kind>,
}

impl Storm {
    /// Returns what it did when everything is there again.
    pub(crate) async fn rage(mut self, mut calm: watch::Receiver<bool>) -> Vec<Fault> {
        let done: Arc<Mutex<Vec<Fault>>> = Arc::default();
        let mut busy: Vec<Target> = Vec::new();
        let mut going = JoinSet::new();
        loop {
            let pause = self.dice.ms(1_000, 4_000);
            let stopped = tokio::select! {
                _ = calm.wait_for(|calm| *calm) => true,
                () = tokio::time::sleep(pause) => false,
            };
            if stopped {
                break;
            }
            while let Some(ended) = going.try_join_next() {
                let target: Target = ended.unwrap();
                busy.retain(|other| *other != target);
            }
            // Two at a time are enough to meet everything; more would leave nothing to be met.
            let more = if self.dice.percent(25) { 2 } else { 1 };
            for _ in 0..more.min(2_usize.saturating_sub(busy.len())) {
                let Some((target, kind, length)) = self.choose(&busy) else {
                    break;
                };
                busy.push(target);
                let (stack, done) = (Arc::clone(&self.stack), Arc::clone(&done));
                going.spawn(async move {
                    let fault = move || inflict(&stack, target, kind, length);
                    let fault = spawn_blocking(fault).await.unwrap();
                    done.lock().unwrap().push(fault);
                    target
                });
            }
        }
        while let Some(ended) = going.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *done.lock().unwrap())
    }

    fn choose(&mut self, busy: &[Target]) -> Option<(Target, Kind, Duration)> {
        let mut targets: Vec<_> = (0..self.stack.processes.len())
            .map(|index| (Target::Process(index), 2))
            .collect();
        if self.stack.engine == Engine::Distributed {
            targets.extend([
                (Target::Redis, 4),
                (Target::Kafka, 2),
                (Target::Postgres, 3),
            ]);
        }
        let Limits { losses, only, kind } = self.limits;
        let meant = |target: Target| only.is_none_or(|only| target.class(&self.stack) == only);
        targets.retain(|(target, _)| !busy.contains(target) && meant(*target));
        let target = self.dice.pick(&targets)?;
        let losses = if losses && target == Target::Redis {
            25
        } else {
            0
        };
        let mut kinds = vec![
            (Kind::Kill, 50),
            (Kind::Freeze, 20),
            (Kind::Cut, 15),
            (Kind::Hold, 15),
            (Kind::Flush, losses),
            (Kind::Rollback, losses),
        ];
        kinds.retain(|(some, _)| kind.is_none_or(|kind| kind == *some));
        let kind = self.dice.pick(&kinds)?;
        let length = match kind {
            Kind::Kill => self.dice.ms(0, 2_000),
            Kind::Flush | Kind::Rollback => self.dice.ms(100, 1_000),
            Kind::Freeze | Kind::Cut | Kind::Hold => self.dice.ms(500, 3_000),
        };
        Some((target, kind, length))
    }
}
