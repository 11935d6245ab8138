//! How long to wait between two rounds of attempts.
//!
//! Counts the rounds that failed. The order of servers within a round is `route`'s; knows no clock.

use std::time::Duration;

use super::failure::FailureClass;
use crate::{backoff::Backoff, random::Random};

/// The schedule of one session.
#[derive(Debug, Default)]
pub(super) struct Reconnect {
    /// Failed rounds since a session lasted.
    failures: u32,
}

impl Reconnect {
    /// A round is over: how long to wait for the next one. `ready_for` is the age of the session
    /// that ended, `None` where none became ready.
    pub(super) fn delay(
        &mut self,
        class: FailureClass,
        ready_for: Option<Duration>,
        random: &mut Random,
    ) -> Duration {
        if ready_for.is_some_and(|age| age >= LASTED_AFTER) {
            self.failures = 0;
        }
        let attempt = self.failures;
        self.failures = attempt.saturating_add(1);
        match class {
            FailureClass::Hopeless => HOPELESS.delay(attempt, random.bits()),
            FailureClass::Crowded => CROWDED.delay(attempt, random.bits()),
            FailureClass::Passing if attempt == 0 && ready_for.is_some() => Duration::ZERO,
            FailureClass::Passing => PASSING.delay(attempt, random.bits()),
        }
    }
}

/// A session that lasted for this long was a good one: the next is tried at once. With a much
/// shorter time, a server that ends each session at its start would be asked without a pause.
const LASTED_AFTER: Duration = Duration::from_secs(1);
/// Between half and nine tenths are waited: many bridges spread out, and the longest wait leaves
/// time to listen again within two seconds of the server's return.
const PASSING: Backoff =
    Backoff::new(Duration::from_millis(100), Duration::from_secs(2)).with_jitter(0.5, 0.9);
/// Each attempt costs a crowded server a process more.
const CROWDED: Backoff =
    Backoff::new(Duration::from_secs(1), Duration::from_secs(5)).with_jitter(0.5, 0.9);
/// A wrong password stays wrong until a person acts.
const HOPELESS: Backoff =
    Backoff::new(Duration::from_secs(30), Duration::from_secs(30)).with_jitter(0.5, 0.9);

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(reconnect: &mut Reconnect, class: FailureClass, ready_for: Option<u64>) -> Duration {
        let ready_for = ready_for.map(Duration::from_millis);
        reconnect.delay(class, ready_for, &mut Random::new(7))
    }

    #[test]
    fn rounds_without_a_session_are_further_and_further_apart() {
        for (class, ceilings_millis) in [
            (
                FailureClass::Passing,
                [100, 200, 400, 800, 1600, 2000, 2000],
            ),
            (
                FailureClass::Crowded,
                [1000, 2000, 4000, 5000, 5000, 5000, 5000],
            ),
        ] {
            let mut reconnect = Reconnect::default();
            for ceiling_millis in ceilings_millis {
                let delay = delay(&mut reconnect, class, None);
                let ceiling = Duration::from_millis(ceiling_millis);
                assert!(
                    delay >= ceiling / 2 && delay <= ceiling * 9 / 10,
                    "{class:?} {delay:?}"
                );
            }
        }
    }

    #[test]
    fn a_crowded_server_is_left_alone_also_after_a_session_that_lasted() {
        let mut reconnect = Reconnect::default();
        let delay = delay(&mut reconnect, FailureClass::Crowded, Some(1_000));
        assert!(delay >= Duration::from_millis(500), "{delay:?}");
    }

    #[test]
    fn after_a_session_that_lasted_the_next_attempt_is_made_at_once() {
        let mut reconnect = Reconnect::default();
        for _ in 0..3 {
            let lasted = delay(&mut reconnect, FailureClass::Passing, Some(1_000));
            assert_eq!(lasted, Duration::ZERO);
            assert!(delay(&mut reconnect, FailureClass::Passing, Some(999)) > Duration::ZERO);
        }
    }

    #[test]
    fn a_round_that_only_a_person_can_help_is_repeated_each_30_s_at_most() {
        let mut reconnect = Reconnect::default();
        for ready_for in [None, Some(1_000)] {
            let delay = delay(&mut reconnect, FailureClass::Hopeless, ready_for);
            assert!(delay >= Duration::from_secs(15) && delay <= Duration::from_secs(27));
        }
    }
}
