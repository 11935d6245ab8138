//! How long to wait before an attempt is repeated: a delay that doubles between two bounds, and
//! jitter that spreads the attempts of many.
//!
//! Knows no clock, and draws no random number: the caller brings one for each delay.

use std::time::Duration;

/// A schedule of delays. Attempts count from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    /// The smallest and the largest part of a delay that is waited, each in 0..=1.
    parts: [f64; 2],
}

impl Backoff {
    /// `min` before the first attempt, twice as long before each further one, at most `max`;
    /// without jitter.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            parts: [1.0, 1.0],
        }
    }

    /// Any part of each delay is waited: a server that comes back meets its clients spread over
    /// the whole of it.
    pub const fn with_full_jitter(self) -> Self {
        self.with_jitter(0.0, 1.0)
    }

    /// A part of each delay between `from` and `to` is waited.
    pub const fn with_jitter(self, from: f64, to: f64) -> Self {
        Self {
            parts: [from, to],
            ..self
        }
    }

    /// The wait before the attempt; `random` picks the jitter.
    pub fn delay(self, attempt: u32, random: u64) -> Duration {
        let [from, to] = self.parts;
        let high_bits = u32::try_from(random >> 32).unwrap_or(u32::MAX);
        let fraction = f64::from(high_bits) / f64::from(u32::MAX);
        self.ceiling(attempt).mul_f64(from + (to - from) * fraction)
    }

    /// The longest wait that jitter can make of it.
    fn ceiling(self, attempt: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempt);
        self.min.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS_100: Duration = Duration::from_millis(100);
    const SECONDS_5: Duration = Duration::from_secs(5);

    #[test]
    fn a_delay_doubles_up_to_the_maximum() {
        let backoff = Backoff::new(MILLIS_100, SECONDS_5);
        for (attempt, millis) in [
            (0, 100),
            (1, 200),
            (5, 3200),
            (6, 5000),
            (40, 5000),
            (u32::MAX, 5000),
        ] {
            for random in [0, u64::MAX] {
                let delay = Duration::from_millis(millis);
                assert_eq!(backoff.delay(attempt, random), delay, "{attempt}");
            }
        }
    }

    #[test]
    fn full_jitter_reaches_from_nothing_to_the_whole_delay() {
        let backoff = Backoff::new(MILLIS_100, SECONDS_5).with_full_jitter();
        for (attempt, millis) in [(0, 100), (1, 200), (u32::MAX, 5000)] {
            assert_eq!(backoff.delay(attempt, 0), Duration::ZERO);
            let whole = Duration::from_millis(millis);
            assert_eq!(backoff.delay(attempt, u64::MAX), whole);
            let middle = backoff.delay(attempt, u64::MAX / 2);
            assert!(middle > whole * 49 / 100 && middle < whole * 51 / 100);
        }
    }

    #[test]
    fn jitter_keeps_to_its_bounds() {
        let backoff = Backoff::new(MILLIS_100, SECONDS_5).with_jitter(0.5, 0.9);
        assert_eq!(backoff.delay(1, 0), Duration::from_millis(100));
        assert_eq!(backoff.delay(1, u64::MAX), Duration::from_millis(180));
    }
}
