//! Looks at processes and signals them.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds; says whether it did in time.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    while !holds() {
        if since.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Sends a signal; a process that is gone needs none.
pub(crate) fn signal(process: Pid, signal: Signal) {
    let _ = kill_process(process, signal);
}

pub(crate) fn is_alive(process: Pid) -> bool {
    stat(process).is_some_and(|(state, _)| state != 'Z')
}

/// Whether a process does nothing until it gets SIGCONT, or is gone.
pub(crate) fn is_frozen(process: Pid) -> bool {
    stat(process).is_none_or(|(state, _)| matches!(state, 'T' | 'Z'))
}

/// Those that a process has started and that have not ended.
pub(crate) fn children(process: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(|child| stat(*child).is_some_and(|(_, parent)| parent == Some(process)))
        .collect()
}

/// The state of a process and its parent.
fn stat(process: Pid) -> Option<(char, Option<Pid>)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    // The name before the parenthesis may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, Pid::from_raw(fields.next()?.parse().ok()?)))
}
