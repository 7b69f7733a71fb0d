use std::fmt::Debug;

/// Takes measurements, at the grain of requests and batches. Must return at once and never fail.
pub trait Recorder: Debug + Send + Sync + 'static {
    /// Adds `count` to a counter.
    fn count(&self, metric: Metric, count: u64);
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Attempts accepted now.
    Accepted,
    /// Attempts of users who held units already.
    Repeated,
    /// Attempts refused as sold out.
    SoldOut,
    /// Attempts refused for window or phase.
    NotSelling,
    /// Attempts that a fault kept from an answer.
    Unavailable,
    /// Attempts decided as orders by a worker or by repair.
    Ordered,
    /// Attempts decided as failed.
    Failed,
    /// Holds that the stock store had lost and took again.
    Healed,
    /// Orders for which a stock store that lost data had no units.
    Drifted,
    /// Items of the queue that could not be read.
    Undecodable,
    /// Attempts published again by repair.
    Republished,
    /// Refusals that the audit trail did not get.
    AuditDropped,
    /// Stocks that were lost and have been rebuilt.
    Recovered,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Accepted,
        Self::Repeated,
        Self::SoldOut,
        Self::NotSelling,
        Self::Unavailable,
        Self::Ordered,
        Self::Failed,
        Self::Healed,
        Self::Drifted,
        Self::Undecodable,
        Self::Republished,
        Self::AuditDropped,
        Self::Recovered,
    ];

    /// A stable name in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::SoldOut => "sold_out",
            Self::NotSelling => "not_selling",
            Self::Unavailable => "unavailable",
            Self::Ordered => "ordered",
            Self::Failed => "failed",
            Self::Healed => "healed",
            Self::Drifted => "drifted",
            Self::Undecodable => "undecodable",
            Self::Republished => "republished",
            Self::AuditDropped => "audit_dropped",
            Self::Recovered => "recovered",
        }
    }
}

/// Drops all measurements.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    fn count(&self, _: Metric, _: u64) {}
}
