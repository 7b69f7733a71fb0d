use std::time::Duration;

/// xorshift64* (Vigna 2016): enough to choose moments.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A stream of its own for each purpose of a run.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut dice = Self((seed ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1);
        dice.below(2);
        dice
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % limit
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time from `least` up to `most` milliseconds.
    pub(crate) fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }

    /// One of some things, as often as its weight says.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[(T, u64)]) -> Option<T> {
        let total = from.iter().map(|(_, weight)| weight).sum();
        let mut left = if total == 0 { 0 } else { self.below(total) };
        for &(thing, weight) in from {
            if left < weight {
                return Some(thing);
            }
            left -= weight;
        }
        None
    }
}
