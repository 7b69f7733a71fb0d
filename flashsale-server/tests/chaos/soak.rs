use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::history::now;
use crate::stack::Stack;

/// Watches memory and open files of all processes.
///
/// A process of ours is flat if, once a third of the time has passed, the median of its memory in the
/// last half is not above that in the first half by more than 5 % and 2 MiB, and the least number of
/// its open files not by more than 20: connections come and go with the buyers, and the process that
/// looks after a sale for all has 16 more to ask Kafka. Redis, Kafka and PostgreSQL are only shown:
/// they keep what was sold.
#[derive(Debug)]
pub(crate) struct Soak {
    samples: Arc<Mutex<Vec<Vec<Sample>>>>,
    sampler: JoinHandle<()>,
    judged: Vec<bool>,
}

/// One look at one process.
#[derive(Clone, Debug)]
struct Sample {
    name: &'static str,
    /// Resident memory.
    kib: u64,
    files: u64,
}

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(10);
/// Fewer samples after the first third say nothing.
const SAMPLES_MIN: usize = 6;

impl Soak {
    pub(crate) fn start(stack: &Arc<Stack>) -> Self {
        let samples: Arc<Mutex<Vec<_>>> = Arc::default();
        let (kept, stack) = (Arc::clone(&samples), Arc::clone(stack));
        let ours = stack.ids().len() - stack.server_ids().len();
        let judged = (0..stack.ids().len()).map(|place| place < ours).collect();
        let sampler = tokio::spawn(async move {
            let mut looks = interval(PERIOD);
            loop {
                looks.tick().await;
                let ids = stack.ids().into_iter();
                let round: Vec<_> = ids.map(|(name, id)| look(name, id)).collect();
                let shown = round.iter().map(|sample| {
                    let Sample { name, kib, files } = sample;
                    format!("{name} {kib} KiB {files} files")
                });
                let shown: Vec<_> = shown.collect();
                println!("{:>7.1} s  {}", now().as_secs_f64(), shown.join(", "));
                kept.lock().unwrap().push(round);
            }
        });
        Self {
            samples,
            sampler,
            judged,
        }
    }

    /// Says what has grown.
    pub(crate) fn end(self) -> Vec<String> {
        self.sampler.abort();
        let samples = self.samples.lock().unwrap();
        let steady = &samples[samples.len() / 3..];
        if steady.len() < SAMPLES_MIN {
            println!("too short to judge growth");
            return Vec::new();
        }
        let (early, late) = steady.split_at(steady.len() / 2);
        let places = (0..self.judged.len()).filter(|place| self.judged[*place]);
        places
            .filter_map(|place| growth(place, early, late))
            .collect()
    }
}

fn growth(place: usize, early: &[Vec<Sample>], late: &[Vec<Sample>]) -> Option<String> {
    let name = early[0][place].name;
    let memory = [early, late].map(|half| {
        let mut figures: Vec<_> = half.iter().map(|round| round[place].kib).collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    });
    let files = [early, late].map(|half| {
        let figures = half.iter().map(|round| round[place].files);
        figures.min().unwrap_or(0)
    });
    println!("{name}: median {memory:?} KiB, at least {files:?} open files");
    let grown = memory[1] > memory[0] * 105 / 100 + 2_048 || files[1] > files[0] + 20;
    grown.then(|| format!("{name} has grown: {memory:?} KiB, {files:?} open files"))
}

fn look(name: &'static str, id: u32) -> Sample {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let files = fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
    Sample {
        name,
        kib: kib.unwrap_or(0),
        files: files as u64,
    }
}
