//! How often a worker may end soon after its start, and when it is started again.
//!
//! Knows no process and no clock: the caller says how long one was up.

use std::time::Duration;

use crate::backoff::Backoff;

/// The starts of one worker that came to nothing, one after the other.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Ends within [`STEADY`] of a start, with no longer life in between.
    short: u32,
}

/// What follows from the end of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is started again after this time.
    Again(Duration),
    /// It is not started again.
    GiveUp,
}

impl Tries {
    /// A worker ended that was up for so long.
    pub(super) fn note_end(&mut self, up: Duration) -> Next {
        if up >= STEADY {
            self.short = 0;
            return Next::Again(Duration::ZERO);
        }
        self.short += 1;
        match self.short {
            1 => Next::Again(Duration::ZERO),
            TRIES_MAX.. => Next::GiveUp,
            again => Next::Again(DELAYS.delay(again - 2, u64::MAX)),
        }
    }

    /// The worker is still there after so long.
    pub(super) fn note_up(&mut self, up: Duration) {
        if up >= STEADY {
            self.short = 0;
        }
    }

    /// How many short lives there were, one after the other.
    pub(super) fn count(&self) -> u32 {
        self.short
    }
}

/// A worker that was up for so long had a good start.
pub(super) const STEADY: Duration = Duration::from_secs(10);
/// The short lives after which a worker is given up.
pub(super) const TRIES_MAX: u32 = 5;
/// From the second start again on; the first one is at once.
const DELAYS: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(9_999);

    #[test]
    fn five_short_lives_are_the_end_and_the_delays_double() {
        let mut tries = Tries::default();
        for delay_ms in [0, 500, 1_000, 2_000] {
            let again = Next::Again(Duration::from_millis(delay_ms));
            assert_eq!(tries.note_end(SHORT), again);
        }
        assert_eq!(tries.note_end(SHORT), Next::GiveUp);
    }

    #[test]
    fn a_worker_that_was_up_for_ten_seconds_begins_anew() {
        let mut tries = Tries::default();
        for _ in 0..100 {
            for _ in 1..TRIES_MAX {
                assert_ne!(tries.note_end(SHORT), Next::GiveUp);
            }
            assert_eq!(tries.note_end(STEADY), Next::Again(Duration::ZERO));
            assert_eq!(tries.count(), 0);
        }
        tries.note_end(SHORT);
        tries.note_up(SHORT);
        assert_eq!(tries.count(), 1);
        tries.note_up(STEADY);
        assert_eq!(tries.count(), 0);
    }
}
