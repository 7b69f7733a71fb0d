use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};

use crate::faults::{Class, Kind};

/// Kills, freezes and cuts off the parts of a running shop at random while it changes its sales,
/// and judges what its users were told, and how soon they see each change.
///
/// Without options: a short run over both engines.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaos")]
pub(crate) struct Options {
    /// Which engine
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) engine: Which,

    /// Goes on until this many processes and servers were killed, per engine
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) kills: usize,

    /// Goes on until this many sales were sold, per engine
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) sales: usize,

    /// Chooses everything that is chosen at random; the moments at which it meets the shop still
    /// differ from run to run
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// Begins no further sale after this time, per engine
    #[arg(long, value_name = "M", default_value_t = 30)]
    pub(crate) minutes: u64,

    /// Requests a second at most
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub(crate) rate: u32,

    /// How long users come to a sale
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) sale_seconds: u64,

    /// Harms nothing else
    #[arg(long, value_enum, value_name = "TARGET")]
    pub(crate) target: Option<Class>,

    /// Does no other kind of harm
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) kind: Option<Kind>,

    /// Lets Redis lose data: all of it, or the last moment before it was killed
    #[arg(long)]
    pub(crate) losses: bool,

    /// Redis loses everything in the middle of a rush of 20,000 users for 1,000 units
    #[arg(long)]
    pub(crate) flush: bool,

    /// Steady load and changes by the shop without faults; memory and open files have to stay as
    /// they are
    #[arg(long, value_name = "MINUTES")]
    pub(crate) soak: Option<u64>,

    /// What the test harness of Rust would take
    #[arg(hide = true)]
    filters: Vec<String>,
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(long, hide = true)]
    test_threads: Option<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    color: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    Distributed,
    Embedded,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Distributed,
    Embedded,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Distributed => "distributed",
            Self::Embedded => "embedded",
        })
    }
}

impl Options {
    /// Whether somebody runs other tests, or only lists them.
    pub(crate) fn not_meant(&self) -> bool {
        let meant = |filter: &String| "chaos".contains(filter.as_str());
        let filtered = !self.filters.is_empty() && !self.filters.iter().any(meant);
        self.list || self.ignored || filtered || self.skip.iter().any(meant)
    }

    pub(crate) fn engines(&self) -> &'static [Engine] {
        match self.engine {
            Which::Distributed => &[Engine::Distributed],
            Which::Embedded => &[Engine::Embedded],
            Which::Both => &[Engine::Embedded, Engine::Distributed],
        }
    }

    /// The seed that was given, else one of the time.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(since.subsec_nanos())
        })
    }
}
