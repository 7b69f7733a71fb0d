/// When the [background](super::EngineServices::background) of an engine acts. Times are in
/// milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackgroundLimits {
    /// The sales are looked at this often, even if nobody says that they have changed. Default
    /// 1,000.
    pub sales_poll_ms: u64,
    /// And this often while a sale waits for the one before it, or for its stock. Default 50.
    pub sales_poll_waiting_ms: u64,
    /// A sale that does not sell now is looked at again after this time, whatever any clock shows.
    /// Default 30,000.
    pub sales_rest_ms: u64,
    /// A stock that is ahead of its sale for this long has to be rebuilt: a change that is just
    /// being made is made by then. Default 3,000.
    pub ahead_max_ms: u64,
    /// For how long buyers read what became of their attempts after the end of a sale. Default
    /// seven days.
    pub results_kept_ms: u64,
    /// The pause between two looks for stock that differs from the orders. Default 2,000.
    pub drift_pause_ms: u64,
    /// How long a worker waits for attempts; a stop waits as long. Default 200.
    pub worker_wait_ms: u64,
    /// How many batches may be on their way to the queue at the same time. Default 2.
    pub relays: usize,
    /// How long attempts gather that are taken to the queue: nobody waits for it, and large batches
    /// cost the queue much less. Default 25.
    pub relay_gather_ms: u64,
    /// The pause between two rounds of telling the stock store what the queue has. Default 500.
    pub acknowledge_pause_ms: u64,
    /// The pause between two rounds of repair. Default 1,000.
    pub repair_pause_ms: u64,
    /// A sale that ended longer ago has nothing left to repair, as a rule. Default 600,000.
    pub repair_recent_ms: u64,
    /// Every so many rounds those are looked after too. Default 60.
    pub repair_all_every: u32,
    /// The pause between two rounds of taking refusals to the audit trail. Default 1,000.
    pub refusals_pause_ms: u64,
}

impl BackgroundLimits {
    /// The usual ones.
    pub const DEFAULT: Self = Self {
        sales_poll_ms: 1_000,
        sales_poll_waiting_ms: 50,
        sales_rest_ms: 30_000,
        ahead_max_ms: 3_000,
        results_kept_ms: 7 * 86_400_000,
        drift_pause_ms: 2_000,
        worker_wait_ms: 200,
        relays: 2,
        relay_gather_ms: 25,
        acknowledge_pause_ms: 500,
        repair_pause_ms: 1_000,
        repair_recent_ms: 600_000,
        repair_all_every: 60,
        refusals_pause_ms: 1_000,
    };
}

impl Default for BackgroundLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
