use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment of the run: the time since it began.
pub(crate) type Moment = Duration;

static BEGIN: LazyLock<(Instant, SystemTime)> =
    LazyLock::new(|| (Instant::now(), SystemTime::now()));

/// Now, as a moment of the run.
pub(crate) fn now() -> Moment {
    BEGIN.0.elapsed()
}

/// The moment of a time that a store tells in milliseconds since 1970.
pub(crate) fn moment_of(ms: u64) -> Moment {
    let begin = BEGIN.1.duration_since(UNIX_EPOCH).unwrap();
    Duration::from_millis(ms).saturating_sub(begin)
}

/// A request of one user and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) ask: Ask,
    /// The process that was asked.
    pub(crate) api: usize,
    pub(crate) sent: Moment,
    /// When the answer was there, or when it was clear that there will be none.
    pub(crate) answered: Moment,
    pub(crate) told: Told,
}

/// What a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To buy.
    Attempt,
    /// How it came out.
    Status,
}

/// What a user is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The attempt is accepted, and decided if it is bought. It is logged if more than Redis has it.
    Accepted {
        attempt: String,
        bought: bool,
        logged: bool,
    },
    /// The purchase status: PENDING without an attempt.
    Nothing,
    /// The purchase status: PENDING with an attempt.
    Pending,
    /// The purchase status: SUCCESS.
    Success,
    /// The purchase status: FAILED.
    Failed,
    /// 409 SOLD_OUT.
    SoldOut,
    /// 409 SALE_PAUSED.
    Paused,
    /// 409 SALE_ENDED.
    Ended,
    /// 503.
    Unavailable,
    /// 404 SALE_NOT_FOUND: the process does not know the sale yet.
    Unknown,
    /// The connection broke: what came of the request is not known.
    Lost(String),
    /// No answer for as long as a client waits.
    Hung,
    /// An answer that nobody expects.
    Odd(String),
}

impl Told {
    /// Whether it says that the user has bought.
    pub(crate) fn bought(&self) -> bool {
        matches!(self, Self::Success | Self::Accepted { bought: true, .. })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ask,
            api,
            sent,
            answered,
            told,
        } = self;
        let took = answered.saturating_sub(*sent);
        write!(
            f,
            "{:>9.3} s  {ask:?} at process {api}: {told:?} after {took:.1?}",
            sent.as_secs_f64()
        )
    }
}
