//! Many seeds on all cores.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::run::{Outcome, Setting, run};

/// Seeds to run.
pub(crate) struct Campaign {
    seeds: RangeInclusive<u64>,
    /// Only one, with all that happens printed.
    single: bool,
}

/// What came of a [`Campaign`].
pub(crate) struct Findings {
    pub(crate) seeds: u64,
    pub(crate) steps: u64,
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    pub(crate) failed: Vec<(u64, Outcome)>,
}

impl Campaign {
    /// The seeds of `SIMULATION_SEED=7` or `SIMULATION_SEEDS=1..5000`, or else these.
    pub(crate) fn from_environment(usual: RangeInclusive<u64>) -> Self {
        let variable = |name| std::env::var(name).ok();
        if let Some(seed) = variable("SIMULATION_SEED") {
            let seed = seed.trim().parse().expect("SIMULATION_SEED is a number");
            return Self {
                seeds: seed..=seed,
                single: true,
            };
        }
        let seeds = variable("SIMULATION_SEEDS").map(|seeds| {
            let parts = seeds.split_once("..");
            let (from, to) = parts.expect("SIMULATION_SEEDS is like 1..5000");
            let number = |text: &str| text.trim().parse().expect("SIMULATION_SEEDS has numbers");
            number(from)..=number(to.trim_start_matches('='))
        });
        Self {
            seeds: seeds.unwrap_or(usual),
            single: false,
        }
    }

    pub(crate) fn of(seeds: RangeInclusive<u64>) -> Self {
        Self {
            seeds,
            single: false,
        }
    }

    /// Runs the seeds and prints how many there were; stops at the third that fails.
    pub(crate) fn run(&self, setting: Setting) -> Findings {
        const FAILED_MAX: usize = 3;
        let begin = Instant::now();
        let next = AtomicU64::new(*self.seeds.start());
        let (steps, events, ran) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let failed = Mutex::new(Vec::new());
        let enough = AtomicBool::new(false);
        let keep_events = if self.single { usize::MAX } else { 40 };
        let setting = Setting {
            keep_events,
            ..setting
        };
        let work = || {
            while !enough.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > *self.seeds.end() {
                    return;
                }
                let outcome = run(seed, setting);
                steps.fetch_add(outcome.steps, Ordering::Relaxed);
                let seen = outcome.events.values().sum();
                events.fetch_add(seen, Ordering::Relaxed);
                ran.fetch_add(1, Ordering::Relaxed);
                if outcome.broken.is_some() || self.single {
                    let mut failed = failed.lock().unwrap();
                    failed.push((seed, outcome));
                    enough.store(failed.len() >= FAILED_MAX, Ordering::Relaxed);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        let mut failed = failed.into_inner().unwrap();
        failed.sort_by_key(|(seed, _)| *seed);
        if self.single {
            for (seed, outcome) in &failed {
                outcome
                    .last_events
                    .iter()
                    .for_each(|line| println!("{line}"));
                println!("seed {seed}: {:#?}", outcome.weather);
            }
            failed.retain(|(_, outcome)| outcome.broken.is_some());
        }
        let findings = Findings {
            seeds: ran.into_inner(),
            steps: steps.into_inner(),
            events: events.into_inner(),
            seconds: begin.elapsed().as_secs_f64(),
            failed,
        };
        println!("{findings}");
        findings
    }
}

impl std::fmt::Display for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            seeds,
            steps,
            events,
            seconds,
            failed,
        } = self;
        write!(
            f,
            "{seeds} seeds, {steps} steps, {events} events in {seconds:.1} s, {} violations",
            failed.len()
        )
    }
}

impl Findings {
    /// Passes if no rule was broken.
    ///
    /// # Panics
    /// Otherwise, with the first broken rule, what led to it, and how to see it again.
    pub(crate) fn assert_clean(&self) {
        let Some((seed, outcome)) = self.failed.first() else {
            return;
        };
        let broken = outcome.broken.as_ref().expect("it failed");
        let seeds: Vec<_> = self.failed.iter().map(|(seed, _)| seed).collect();
        panic!(
            "seed {seed} broke a rule: {}: {}\n{}\nseeds that failed: {seeds:?}\nsee it again: \
             SIMULATION_SEED={seed} cargo test -p flashsale-core --test simulation {} -- --nocapture",
            broken.rule,
            broken.how,
            outcome.last_events.join("\n"),
            std::thread::current().name().unwrap_or_default(),
        );
    }
}
