//! What happened, in order.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::executor::Process;

/// The last events; all that ever happened is in the executor's hash.
pub(crate) struct Trace {
    events: VecDeque<Event>,
    keep: usize,
    counts: Counts,
}

/// How often what happened how.
pub(crate) type Counts = BTreeMap<(&'static str, &'static str), u64>;

/// Something that happened.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) at_ms: i64,
    pub(crate) process: Process,
    pub(crate) what: &'static str,
    pub(crate) how: &'static str,
    pub(crate) about: About,
}

/// What an event is about: numbers that mean something to the reader of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) sale: u64,
    pub(crate) attempt: u64,
    pub(crate) items: u64,
}

impl Trace {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            events: VecDeque::new(),
            keep,
            counts: Counts::new(),
        }
    }

    pub(crate) fn add(&mut self, event: Event) {
        *self.counts.entry((event.what, event.how)).or_default() += 1;
        if self.events.len() == self.keep {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.events.iter().map(Event::to_string).collect()
    }
}

impl Event {
    /// A number that differs for events that differ.
    pub(crate) fn digest(&self) -> u64 {
        let texts = self.what.bytes().chain(self.how.bytes());
        let text = texts.fold(17_u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        let About {
            sale,
            attempt,
            items,
        } = self.about;
        [self.at_ms as u64, self.process as u64, sale, attempt, items]
            .into_iter()
            .fold(text, |sum, part| {
                (sum ^ part)
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    .rotate_left(23)
            })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at_ms,
            process,
            what,
            how,
            about,
        } = self;
        write!(f, "{at_ms:>7} ms  process {process}  {what}: {how}")?;
        if about.sale > 0 {
            write!(f, ", sale {}", about.sale)?;
        }
        if about.attempt > 0 {
            write!(f, ", attempt or user {}", about.attempt)?;
        }
        if about.items > 1 {
            write!(f, ", {} items", about.items)?;
        }
        Ok(())
    }
}
