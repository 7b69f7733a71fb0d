use std::fmt;
use std::time::Duration;

/// Times of two things, measured in turn, so that a machine that slows down slows both.
#[derive(Debug)]
pub struct Pairs {
    ours: Vec<Duration>,
    yardstick: Vec<Duration>,
}

/// Runs both in turn, once to warm up and then `rounds` times; each returns how long it took.
pub fn compare(
    rounds: usize,
    mut ours: impl FnMut() -> Duration,
    mut yardstick: impl FnMut() -> Duration,
) -> Pairs {
    let mut pairs = Pairs {
        ours: Vec::new(),
        yardstick: Vec::new(),
    };
    for round in 0..=rounds {
        let (a, b) = (ours(), yardstick());
        if round > 0 {
            pairs.ours.push(a);
            pairs.yardstick.push(b);
        }
    }
    pairs
}

impl Pairs {
    /// Our speed as a share of the yardstick's: the median over the rounds.
    pub fn speed(&self) -> f64 {
        let pairs = self.ours.iter().zip(&self.yardstick);
        median(pairs.map(|(ours, yardstick)| yardstick.as_secs_f64() / ours.as_secs_f64()))
    }

    /// The medians of both, in seconds.
    pub fn medians(&self) -> (f64, f64) {
        let of = |times: &[Duration]| median(times.iter().map(Duration::as_secs_f64));
        (of(&self.ours), of(&self.yardstick))
    }

    /// The extremes of the ratio over the rounds.
    pub fn range(&self) -> (f64, f64) {
        let pairs = self.ours.iter().zip(&self.yardstick);
        let ratios = pairs.map(|(ours, yardstick)| yardstick.as_secs_f64() / ours.as_secs_f64());
        ratios.fold((f64::MAX, 0.0), |(low, high), ratio| {
            (low.min(ratio), high.max(ratio))
        })
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.range();
        let (speed, rounds) = (self.speed() * 100.0, self.ours.len());
        let (low, high) = (low * 100.0, high * 100.0);
        write!(
            f,
            "{speed:.0} % of the yardstick's speed (median of {rounds}; {low:.0} to {high:.0} %)"
        )
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
