use std::collections::BTreeMap;
use std::time::Duration;

use crate::books::Row;
use crate::faults::{Class, Fault, Kind, Target};
use crate::history::{Moment, Told};
use crate::judge::{Violation, own_time};
use crate::options::Engine;
use crate::process::Role;
use crate::sale::Played;
use crate::sighting::{Change, Circumstances};
use crate::stack::Stack;

/// What happened in all sales of an engine.
#[derive(Debug)]
pub(crate) struct Report {
    engine: Engine,
    seed: u64,
    pub(crate) sales: usize,
    pub(crate) kills: usize,
    violations: BTreeMap<&'static str, usize>,
    faults: usize,
    orders: u64,
    users: usize,
    answers: BTreeMap<&'static str, usize>,
    /// How long answers took.
    times: Vec<Duration>,
    settled: Vec<Duration>,
    /// How long the shop's commands took, and how many were not confirmed.
    commands: Vec<Duration>,
    unconfirmed: usize,
    /// From the confirmation of a change until each process showed it; nothing if one was given up.
    sightings: BTreeMap<(Change, Circumstances), Vec<Option<Duration>>>,
    /// From a decision to the last answer that did not know it yet.
    unaware: Vec<Duration>,
    /// By target and kind, and whether another fault came in between.
    recoveries: BTreeMap<(Class, Kind, bool), Vec<Duration>>,
    /// Faults after which nobody could have succeeded, so that nothing can be said.
    unmeasured: usize,
}

impl Report {
    /// A recovery that takes longer is told with what happened meanwhile.
    const SLOW: Duration = Duration::from_secs(2);
    /// How many violations of one rule are shown with their history.
    const SHOWN_MAX: usize = 3;
    /// How many are named at all; all are counted.
    const NAMED_MAX: usize = 10;

    pub(crate) fn new(engine: Engine, seed: u64) -> Self {
        Self {
            engine,
            seed,
            sales: 0,
            kills: 0,
            violations: BTreeMap::new(),
            faults: 0,
            orders: 0,
            users: 0,
            answers: BTreeMap::new(),
            times: Vec::new(),
            settled: Vec::new(),
            commands: Vec::new(),
            unconfirmed: 0,
            sightings: BTreeMap::new(),
            unaware: Vec::new(),
            recoveries: BTreeMap::new(),
            unmeasured: 0,
        }
    }

    /// How much was wrong.
    pub(crate) fn violations(&self) -> usize {
        self.violations.values().sum()
    }

    /// Takes in a sale.
    pub(crate) fn add(&mut self, stack: &Stack, played: &Played) {
        self.sales += 1;
        self.faults += played.faults.len();
        let killed = played
            .faults
            .iter()
            .filter(|fault| fault.kind == Kind::Kill);
        self.kills += killed.count();
        self.orders += played.books.sold();
        self.settled.push(played.settled_in);
        for (took, confirmed) in &played.deeds.commands {
            self.commands.push(*took);
            self.unconfirmed += usize::from(!confirmed);
        }
        for user in played.users.iter().filter(|user| !user.events.is_empty()) {
            self.users += 1;
            for event in &user.events {
                *self.answers.entry(name(&event.told)).or_default() += 1;
                self.times
                    .push(own_time(self.engine, event, &played.faults));
            }
        }
        for sighting in &played.deeds.sightings {
            let place = (sighting.change, sighting.circumstances(&played.faults));
            let seen = self.sightings.entry(place).or_default();
            seen.push(sighting.took());
        }
        self.unaware.extend(unaware(played));
        for fault in &played.faults {
            let Some(took) = recovery(stack, played, fault) else {
                self.unmeasured += 1;
                continue;
            };
            let others = played.faults.iter().filter(|other| {
                other.target != fault.target
                    && other.began < fault.over + took
                    && other.over > fault.began
            });
            let others: Vec<_> = others.collect();
            if took > Self::SLOW {
                println!("slow: {took:.1?} after {fault}");
                others.iter().for_each(|other| println!("    with {other}"));
                println!("    meanwhile {}", meanwhile(played, fault.over, took));
            }
            let place = (fault.target.class(stack), fault.kind, !others.is_empty());
            self.recoveries.entry(place).or_default().push(took);
        }
        println!(
            "{} sale {}: {} users, {} of {} units sold, {} faults{}, at rest after {:.1?}",
            self.engine,
            played.sale,
            played.users.len(),
            played.books.sold(),
            played.books.stock,
            played.faults.len(),
            if played.lost() { " with a loss" } else { "" },
            played.settled_in,
        );
    }

    /// Prints what must not have happened.
    pub(crate) fn complain(&mut self, played: &Played, violations: &[Violation]) {
        for violation in violations {
            let seen = self.violations.entry(violation.rule).or_default();
            *seen += 1;
            if *seen > Self::NAMED_MAX {
                continue;
            }
            println!(
                "VIOLATION of {:?} ({} engine, --seed {}, sale {}): {}",
                violation.rule, self.engine, self.seed, played.sale, violation.what
            );
            if *seen > Self::SHOWN_MAX {
                continue;
            }
            if let Some(user) = violation.user {
                let user = &played.users[user];
                user.events.iter().for_each(|event| println!("    {event}"));
                let rows = played.books.orders.get(&user.name);
                for row in rows.into_iter().flatten() {
                    println!("    {}", shown(row));
                }
            }
            println!(
                "  what was done to the sale, from {:.3} s on:",
                played.began.as_secs_f64()
            );
            played
                .faults
                .iter()
                .for_each(|fault| println!("    {fault}"));
            for restock in &played.deeds.restocks {
                println!("    put in {restock:?}");
            }
            for withdrawal in &played.deeds.withdrawals {
                println!("    taken out {withdrawal:?}");
            }
        }
    }

    /// Prints something that is wrong by itself.
    pub(crate) fn trouble(&mut self, trouble: &str) {
        *self.violations.entry("run").or_default() += 1;
        println!(
            "VIOLATION ({} engine, --seed {}): {trouble}",
            self.engine, self.seed
        );
    }

    /// Prints the figures.
    pub(crate) fn print(&mut self) {
        let requests = self.times.len();
        println!(
            "\n{} engine, --seed {}: {} sales, {} kills and {} other faults, {} users, \
             {requests} requests, {} orders, {} violations",
            self.engine,
            self.seed,
            self.sales,
            self.kills,
            self.faults - self.kills,
            self.users,
            self.orders,
            self.violations()
        );
        for (rule, count) in &self.violations {
            println!("  violations of {rule:?}: {count}");
        }
        println!("  answers: {}", counts(&self.answers));
        println!("  time to an answer: {}", percentiles(&mut self.times));
        println!(
            "  rest after the last fault: {}",
            percentiles(&mut self.settled)
        );
        println!(
            "  commands of the shop, {} of them not confirmed: {}",
            self.unconfirmed,
            percentiles(&mut self.commands)
        );
        println!("  a change is shown by every process, from the moment that it is confirmed:");
        for ((change, circumstances), times) in &self.sightings {
            let (change, circumstances) = (change.name(), circumstances.name());
            let mut seen: Vec<_> = times.iter().flatten().copied().collect();
            let lost = times.len() - seen.len();
            print!(
                "    {change:<11}{circumstances:<14}{}",
                percentiles(&mut seen)
            );
            println!(", {lost} given up");
        }
        println!(
            "  still pending after the decision: {}",
            percentiles(&mut self.unaware)
        );
        println!(
            "  recovery, from the moment that it is there again ({} not measured):",
            self.unmeasured
        );
        for ((target, kind, mixed), times) in &mut self.recoveries {
            let (target, kind) = (format!("{target:?}"), format!("{kind:?}"));
            let mixed = if *mixed { "with others" } else { "alone" };
            println!("    {target:<11}{kind:<9}{mixed:<12}{}", percentiles(times));
        }
    }
}

/// What users were told in a time.
fn meanwhile(played: &Played, since: Moment, time: Duration) -> String {
    let events = played.users.iter().flat_map(|user| &user.events);
    let mut told: BTreeMap<_, usize> = BTreeMap::new();
    for event in events.filter(|event| (since..since + time).contains(&event.answered)) {
        *told.entry(name(&event.told)).or_default() += 1;
    }
    counts(&told)
}

fn counts(told: &BTreeMap<&'static str, usize>) -> String {
    let each = told.iter().map(|(name, count)| format!("{name} {count}"));
    each.collect::<Vec<_>>().join(", ")
}

/// For each order that somebody was told is pending after it was decided: for how long.
fn unaware(played: &Played) -> impl Iterator<Item = Duration> {
    played.users.iter().filter_map(|user| {
        let rows = played.books.orders.get(&user.name)?;
        let decided = rows.iter().find(|row| row.failed.is_none())?.decided;
        let pending = user.events.iter().filter(|event| {
            let pending = matches!(
                event.told,
                Told::Pending | Told::Accepted { bought: false, .. }
            );
            pending && event.sent > decided
        });
        pending.map(|event| event.sent - decided).max()
    })
}

fn shown(row: &Row) -> String {
    let what = row.failed.as_deref().unwrap_or("SUCCESS");
    let decided = row.decided.as_secs_f64();
    format!("{decided:>9.3} s  decided: {what}, attempt {}", row.attempt)
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        let place = (times.len() * percent).div_ceil(100).max(1) - 1;
        times.get(place).copied().unwrap_or_default()
    };
    format!(
        "{:>6} times, p50 {:>8.1?}, p99 {:>8.1?}, max {:>8.1?}",
        times.len(),
        at(50),
        at(99),
        at(100)
    )
}

/// From the end of a fault to the first attempt that was accepted, or to the first decision.
fn recovery(stack: &Stack, played: &Played, fault: &Fault) -> Option<Duration> {
    let worker = |index: usize| stack.processes[index].role == Role::Worker;
    match fault.target {
        Target::Kafka | Target::Postgres => first_decision(played, fault.over),
        Target::Process(index) if worker(index) => first_decision(played, fault.over),
        Target::Process(index) => first_accepted(played, fault.over, Some(index)),
        Target::Redis => first_accepted(played, fault.over, None),
    }
}

/// How long nobody was accepted by this process, or by any. Buyers ask all the time, and are told
/// of their purchase.
fn first_accepted(played: &Played, since: Moment, api: Option<usize>) -> Option<Duration> {
    let events = played.users.iter().flat_map(|user| &user.events);
    let accepted = events.filter(|event| {
        matches!(event.told, Told::Accepted { .. })
            && event.sent >= since
            && api.is_none_or(|api| event.api == api)
    });
    let first = accepted.map(|event| event.answered).min()?;
    Some(first - since)
}

/// How long nothing was decided from then on, or from when there was something to decide.
fn first_decision(played: &Played, since: Moment) -> Option<Duration> {
    /// What comes later says nothing about a fault.
    const SOON: Duration = Duration::from_secs(1);
    let rows = || played.books.orders.values().flatten();
    let after = || rows().filter(|row| row.decided >= since);
    let first = after().map(|row| row.decided).min()?;
    let there = after().map(|row| row.reserved).min()?.max(since);
    (there <= since + SOON).then(|| first.saturating_sub(there))
}

fn name(told: &Told) -> &'static str {
    match told {
        Told::Accepted { bought: false, .. } => "accepted",
        Told::Accepted { bought: true, .. } => "bought",
        Told::Nothing => "nothing tried",
        Told::Pending => "pending",
        Told::Success => "success",
        Told::Failed => "failed",
        Told::SoldOut => "sold out",
        Told::Paused => "paused",
        Told::Ended => "ended",
        Told::Unavailable => "unavailable",
        Told::Unknown => "unknown sale",
        Told::Lost(_) => "connection lost",
        Told::Hung => "no answer",
        Told::Odd(_) => "unexpected",
    }
}
