//! When readers of events come back: each at its own time, so that they do not all come at once.

use std::time::Duration;

use crate::random::Random;

/// The numbers that spread them.
#[derive(Debug)]
pub(super) struct Retries(Random);

impl Retries {
    pub(super) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// For how long a reader waits whose stream is cut.
    pub(super) fn after_cut(&mut self) -> Duration {
        AFTER_CUT_MAX.mul_f64(self.0.fraction())
    }

    /// For how long a reader waits whose stream was ended.
    pub(super) fn after_end(&mut self) -> Duration {
        let span = AFTER_END_MAX - AFTER_END_MIN;
        AFTER_END_MIN + span.mul_f64(self.0.fraction())
    }
}

const AFTER_CUT_MAX: Duration = Duration::from_secs(3);
const AFTER_END_MIN: Duration = Duration::from_secs(1);
const AFTER_END_MAX: Duration = Duration::from_secs(15);
