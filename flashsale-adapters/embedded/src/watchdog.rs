use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::journal::Journal;

/// Leads when whoever should does not.
///
/// A caller can keep the future of its attempt and poll it no more, as `select!` over a borrowed
/// future does. If that caller was to lead, everybody else would wait for it. This thread brings a
/// batch to the disk that has gathered for longer than [`Watchdog::PATIENCE`]; while nobody has
/// asked for anything for a while it sleeps.
#[derive(Debug)]
pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Many times what a commit takes, and still no time for a person.
    const PATIENCE: Duration = Duration::from_millis(20);
    /// How many looks at nothing come before sleep.
    const LOOKS: u32 = 50;

    pub(crate) fn start(journal: Arc<Journal>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("flashsale-watchdog".to_owned())
            .spawn(move || watch(&journal, &stopped))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    /// Waits for the thread, so that it does not keep the database open.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It can only fail by a panic, which has been printed.
            let _ = thread.join();
        }
    }
}

fn watch(journal: &Journal, stop: &AtomicBool) {
    let mut seen = None;
    let mut idle = 0;
    while !stop.load(Ordering::Acquire) {
        let now = journal.waiting();
        if now.is_some() && now == seen {
            journal.flush();
        }
        idle = if now.is_some() { 0 } else { idle + 1 };
        seen = now;
        if idle < Watchdog::LOOKS {
            thread::park_timeout(Watchdog::PATIENCE);
        } else if journal.sleep_until_joined() {
            thread::park();
            idle = 0;
        }
    }
}
