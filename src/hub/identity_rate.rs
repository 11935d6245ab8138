//! How many messages a second all clients of one identity may send: a bucket for each, filled by time.
//!
//! Holds nothing without a limit, and no bucket for long that is full again. A client whose token names
//! nobody is in none.

use std::collections::HashMap;

use super::rate_limit::Bucket;
use crate::id::Tick;

/// The buckets of all identities.
#[derive(Debug)]
pub(super) struct IdentityRate {
    /// Messages a second, and what a bucket holds.
    rate_max: Option<u32>,
    /// Nothing walks it in order.
    buckets: HashMap<Box<str>, Bucket>,
    /// With so many, full ones are looked for: twice as many as were needed the last time.
    prune_at: usize,
}

impl IdentityRate {
    pub(super) fn new(rate_max: Option<u32>) -> Self {
        Self {
            rate_max,
            buckets: HashMap::new(),
            prune_at: BUCKETS_MIN,
        }
    }

    /// Takes a message out of the identity's bucket; whether there was one.
    pub(super) fn take(&mut self, identity: Option<&str>, now: Tick) -> bool {
        let (Some(rate), Some(identity)) = (self.rate_max, identity) else {
            return true;
        };
        if let Some(bucket) = self.buckets.get_mut(identity) {
            return bucket.take(rate, now);
        }
        if self.buckets.len() >= self.prune_at {
            self.buckets.retain(|_, bucket| !bucket.is_full(rate, now));
            self.prune_at = BUCKETS_MIN.max(2 * self.buckets.len());
        }
        let mut bucket = Bucket::full(rate, now);
        let is_left = bucket.take(rate, now);
        self.buckets.insert(identity.into(), bucket);
        is_left
    }
}

/// So many are kept without a look at them.
const BUCKETS_MIN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rate: &mut IdentityRate, identity: &str, now: Tick) -> usize {
        (0..1_000)
            .filter(|_| rate.take(Some(identity), now))
            .count()
    }

    #[test]
    fn an_identity_has_one_bucket_and_nobody_none() {
        let mut rate = IdentityRate::new(Some(4));
        assert_eq!(taken(&mut rate, "ann", 0), 4);
        assert_eq!(taken(&mut rate, "bob", 0), 4);
        assert_eq!(taken(&mut rate, "ann", 249), 0);
        assert_eq!(taken(&mut rate, "ann", 250), 1);
        assert_eq!(taken(&mut rate, "ann", 10_000), 4);
        assert!((0..100).all(|_| rate.take(None, 0)));
    }

    #[test]
    fn identities_that_said_nothing_for_a_second_cost_nothing() {
        let mut rate = IdentityRate::new(Some(2));
        for number in 0..10 * BUCKETS_MIN {
            // Each asks once, a millisecond after the one before.
            let now = u32::try_from(number).unwrap();
            assert!(rate.take(Some(&number.to_string()), now));
            assert!(rate.buckets.len() <= 2 * BUCKETS_MIN);
        }
        let mut rate = IdentityRate::new(None);
        assert_eq!(taken(&mut rate, "ann", 0), 1_000);
        assert!(rate.buckets.is_empty());
    }
}
