//! How many messages a second a client may send: a bucket for each, filled by time.
//!
//! Without a limit it holds nothing.

use crate::id::{Tick, elapsed};

/// The buckets of all clients.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    /// Messages a second, and what a bucket holds.
    rate_max: Option<u32>,
    /// By slot; empty without a limit.
    buckets: Vec<Bucket>,
}

/// The messages that somebody may still send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// What is left, in thousandths of a message: so a millisecond adds as many as the rate is.
    left: u64,
    /// When that was so.
    at: Tick,
}

impl Bucket {
    /// One that holds a second's messages.
    pub(super) fn full(rate: u32, now: Tick) -> Self {
        let left = full(rate);
        Self { left, at: now }
    }

    /// Takes a message out; whether there was one.
    pub(super) fn take(&mut self, rate: u32, now: Tick) -> bool {
        self.left = self.left_at(rate, now);
        self.at = now;
        let is_left = self.left >= MESSAGE;
        if is_left {
            self.left -= MESSAGE;
        }
        is_left
    }

    /// Whether nothing is missing from it any more.
    pub(super) fn is_full(&self, rate: u32, now: Tick) -> bool {
        self.left_at(rate, now) == full(rate)
    }

    fn left_at(&self, rate: u32, now: Tick) -> u64 {
        let milliseconds = u64::try_from(elapsed(self.at, now).as_millis()).unwrap_or(u64::MAX);
        let added = milliseconds.saturating_mul(u64::from(rate));
        self.left.saturating_add(added).min(full(rate))
    }
}

impl RateLimit {
    pub(super) fn new(rate_max: Option<u32>) -> Self {
        Self {
            rate_max,
            buckets: Vec::new(),
        }
    }

    /// A new client has a full bucket.
    pub(super) fn fill(&mut self, slot: usize, now: Tick) {
        let Some(rate) = self.rate_max else {
            return;
        };
        if self.buckets.len() <= slot {
            self.buckets.resize(slot + 1, Bucket::default());
        }
        self.buckets[slot] = Bucket::full(rate, now);
    }

    /// Takes a message out of the client's bucket; whether there was one.
    pub(super) fn take(&mut self, slot: u32, now: Tick) -> bool {
        let Some(rate) = self.rate_max else {
            return true;
        };
        self.buckets[slot as usize].take(rate, now)
    }
}

/// What a bucket holds: a second's messages.
fn full(rate: u32) -> u64 {
    u64::from(rate) * MESSAGE
}

/// A message, in what buckets are measured in.
const MESSAGE: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rates: &mut RateLimit, slot: u32, now: Tick) -> usize {
        (0..1_000).filter(|_| rates.take(slot, now)).count()
    }

    #[test]
    fn a_second_brings_as_many_messages_as_the_rate_and_no_more_gather() {
        for rate in [1, 2, 3, 10, 999] {
            let mut rates = RateLimit::new(Some(rate));
            rates.fill(0, Tick::MAX - 500);
            let all = rate as usize;
            assert_eq!(taken(&mut rates, 0, Tick::MAX - 500), all);
            // Ticks wrap on the way.
            assert_eq!(taken(&mut rates, 0, 499), all, "a second later");
            assert_eq!(taken(&mut rates, 0, 1_000_000), all, "much later");
        }
    }

    #[test]
    fn a_message_comes_back_as_soon_as_its_time_is_over() {
        let mut rates = RateLimit::new(Some(4));
        rates.fill(0, 0);
        assert_eq!(taken(&mut rates, 0, 0), 4);
        for (now, messages) in [(249, 0), (250, 1), (251, 0), (499, 0), (500, 1), (1_000, 2)] {
            assert_eq!(taken(&mut rates, 0, now), messages, "{now}");
        }
    }

    #[test]
    fn each_client_has_a_bucket_of_its_own_and_a_new_one_a_full_one() {
        let mut rates = RateLimit::new(Some(1));
        rates.fill(0, 0);
        rates.fill(1, 0);
        assert!(rates.take(0, 0) && !rates.take(0, 0) && rates.take(1, 0));
        rates.fill(0, 0);
        assert!(rates.take(0, 0));
    }

    #[test]
    fn without_a_limit_nothing_is_held() {
        let mut rates = RateLimit::new(None);
        rates.fill(3, 0);
        assert_eq!(taken(&mut rates, 3, 0), 1_000);
        assert!(rates.buckets.is_empty());
    }
}
