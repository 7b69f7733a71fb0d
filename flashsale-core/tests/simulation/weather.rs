//! What kind of world a seed makes: how large it is, and what goes wrong in it how often.

use flashsale_core::services::{AcceptAfter, OnPublishFailure};
use flashsale_core::testing::Seeded;

use super::executor::Danger;

/// A service that processes call over a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Stock,
    Queue,
    Orders,
    Sales,
}

impl Service {
    pub(crate) const ALL: [Self; 4] = [Self::Stock, Self::Queue, Self::Orders, Self::Sales];

    /// How long a caller waits.
    pub(crate) const fn patience_ms(self) -> u64 {
        match self {
            Self::Stock => 400,
            Self::Queue => 250,
            Self::Orders | Self::Sales => 2_000,
        }
    }
}

/// How often calls of a service go wrong, in 1,000.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    /// Refused at once.
    pub(crate) refused: u64,
    /// The request is lost; the caller waits in vain.
    pub(crate) request_lost: u64,
    /// It happens, but the caller never hears of it.
    pub(crate) reply_lost: u64,
    /// It takes long, perhaps longer than the caller waits.
    pub(crate) slow: u64,
    /// The connection breaks: the caller gives up at once, and it may happen before or after.
    pub(crate) cut: u64,
    /// It happens twice.
    pub(crate) twice: u64,
    /// All calls are refused for some seconds.
    pub(crate) outages: bool,
}

/// How often the queue does odd things to an attempt, in 1,000.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueRates {
    /// Says that it has it, and does not.
    pub(crate) acked_lost: u64,
    /// Has it twice.
    pub(crate) doubled: u64,
    /// Has something unreadable instead.
    pub(crate) corrupt: u64,
    /// Has it, but says that it does not know.
    pub(crate) unconfirmed: u64,
    /// Fails a read.
    pub(crate) read_fails: u64,
    /// Gives only a part of what is there.
    pub(crate) part: u64,
}

/// What happens to the stock store's data now and then.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    /// It goes back to an older state of its own.
    pub(crate) rolls_back: bool,
    /// It forgets everything.
    pub(crate) wipes: bool,
    /// Another copy of it answers some processes for a while.
    pub(crate) splits: bool,
    /// The longest time between two of them.
    pub(crate) pause_ms: u64,
}

impl Losses {
    pub(crate) fn any(self) -> bool {
        self.rolls_back || self.wipes || self.splits
    }
}

/// The sales of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sales {
    /// One that lasts, or that ends while it is busy.
    One { ends: bool },
    /// Two products at the same time.
    Two,
    /// One product twice, one sale after the other.
    Again,
}

/// The world of a seed.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) apis: usize,
    pub(crate) workers: usize,
    pub(crate) users: u64,
    pub(crate) tries: u64,
    pub(crate) stock: u64,
    pub(crate) sales: Sales,
    pub(crate) accept_after: AcceptAfter,
    pub(crate) on_publish_failure: OnPublishFailure,
    pub(crate) trouble_ms: u64,
    /// The processes start within this time.
    pub(crate) starts_within_ms: u64,
    pub(crate) calls: [Calls; 4],
    pub(crate) queue: QueueRates,
    pub(crate) partitions: usize,
    pub(crate) danger: Danger,
    pub(crate) skew_ms: i64,
    pub(crate) pauses: bool,
    pub(crate) restocks: bool,
    pub(crate) closes: bool,
    /// Units are taken out, which a fault turns into a rebuild.
    pub(crate) withdraws: bool,
    /// The shop calls attempts off.
    pub(crate) calls_off: bool,
    pub(crate) losses: Losses,
    /// One process looks after each sale, and not all of them.
    pub(crate) elects: bool,
    /// Processes are ended in order and started again.
    pub(crate) restarts: bool,
    /// Who is refused is in the audit trail.
    pub(crate) records_refusals: bool,
}

/// Draws numbers, about half of the time 0: what goes wrong alone shows what many faults hide.
struct Draw(Seeded);

impl Draw {
    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.0.below(to - from + 1)
    }

    fn rate(&mut self, most: u64) -> u64 {
        match self.0.below(4) {
            0 | 1 => 0,
            2 => 1 + self.0.below(most.div_ceil(6)),
            _ => 1 + self.0.below(most),
        }
    }

    fn often(&mut self) -> bool {
        self.0.below(2) == 0
    }

    fn seldom(&mut self) -> bool {
        self.0.below(6) == 0
    }

    fn calls(&mut self) -> Calls {
        if self.0.below(3) == 0 {
            return Calls::default();
        }
        Calls {
            refused: self.rate(60),
            request_lost: self.rate(60),
            reply_lost: self.rate(60),
            slow: self.rate(150),
            cut: self.rate(60),
            twice: self.rate(100),
            outages: self.seldom(),
        }
    }
}

impl Weather {
    /// The world of this seed. Its stock store loses data only if it `may_lose`, and is two for a
    /// while only if it `may_split`.
    pub(crate) fn of(seed: u64, may_lose: bool, may_split: bool) -> Self {
        let mut draw = Draw(Seeded::new(seed ^ 0x005e_ed0f_5a1e));
        for _ in 0..4 {
            draw.0.next_number();
        }
        let crowd = draw.0.below(4) == 0;
        let users = draw.between(3, if crowd { 40 } else { 12 });
        let stock = draw.between(1, users.min(20));
        let sales = match draw.0.below(8) {
            0 => Sales::Two,
            1 => Sales::Again,
            2 => Sales::One { ends: true },
            _ => Sales::One { ends: false },
        };
        let kind = draw.0.below(6);
        let losses = Losses {
            rolls_back: may_lose && kind != 0 && kind != 2,
            wipes: may_lose && kind >= 2 && kind != 3,
            splits: may_split && kind != 0,
            pause_ms: if draw.often() { 1_000 } else { 6_000 },
        };
        let mut weather = Self {
            apis: draw.between(1, 3) as usize,
            workers: draw.between(1, 3) as usize,
            users,
            tries: draw.between(2, 16),
            stock,
            sales,
            accept_after: if draw.often() {
                AcceptAfter::Logged
            } else {
                AcceptAfter::Reserved
            },
            on_publish_failure: if draw.0.below(4) == 0 {
                OnPublishFailure::Release
            } else {
                OnPublishFailure::Complete
            },
            trouble_ms: draw.between(3_000, 30_000),
            starts_within_ms: if draw.often() { 100 } else { 4_000 },
            calls: [draw.calls(), draw.calls(), draw.calls(), draw.calls()],
            queue: QueueRates {
                acked_lost: if draw.seldom() { draw.rate(200) } else { 0 },
                doubled: draw.rate(200),
                corrupt: if draw.seldom() { draw.rate(100) } else { 0 },
                unconfirmed: draw.rate(150),
                read_fails: draw.rate(50),
                part: draw.rate(500),
            },
            partitions: draw.between(1, 3) as usize,
            danger: Danger {
                crash: draw.rate(1_500),
                freeze: draw.rate(1_500),
            },
            skew_ms: draw.rate(3_000) as i64,
            pauses: draw.seldom(),
            restocks: draw.seldom(),
            closes: draw.0.below(12) == 0,
            withdraws: losses.any() && draw.seldom(),
            calls_off: draw.0.below(4) == 0,
            losses,
            elects: draw.often(),
            restarts: draw.seldom(),
            records_refusals: draw.seldom(),
        };
        if weather.accept_after == AcceptAfter::Reserved {
            // Who answers before the queue is asked cannot take anything back.
            weather.on_publish_failure = OnPublishFailure::Complete;
        }
        if losses.any() {
            weather.lose(losses);
        }
        weather
    }

    /// The stock store loses data.
    pub(crate) fn lose(&mut self, losses: Losses) {
        self.losses = losses;
        // What queue and stock store have both lost is lost.
        self.queue.acked_lost = 0;
        self.queue.corrupt = 0;
    }

    /// Nothing goes wrong by itself.
    pub(crate) fn calm(&mut self) {
        self.sales = Sales::One { ends: false };
        self.on_publish_failure = OnPublishFailure::Complete;
        self.calls = [Calls::default(); 4];
        self.queue = QueueRates::default();
        self.danger = Danger::default();
        self.skew_ms = 0;
        (self.pauses, self.restocks, self.closes) = (false, false, false);
        (self.withdraws, self.calls_off, self.restarts) = (false, false, false);
        self.losses = Losses::default();
    }

    pub(crate) fn calls_of(&self, service: Service) -> Calls {
        self.calls[service as usize]
    }
}
