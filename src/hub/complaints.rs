//! The failures of the function that says whose a token is, for the log.
//!
//! Each SQLSTATE is told once in a while: strangers may bring about some of them as often as they
//! like. Knows nobody who asked.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// When each SQLSTATE was told last.
#[derive(Debug, Default)]
pub(super) struct Complaints(HashMap<String, Instant>);

impl Complaints {
    /// Whether a failure by this is to be told now.
    pub(super) fn is_due(&mut self, sqlstate: &str, now: Instant) -> bool {
        self.0.retain(|_, told| *told + INTERVAL > now);
        let is_due = !self.0.contains_key(sqlstate) && self.0.len() < COUNT_MAX;
        if is_due {
            self.0.insert(sqlstate.to_owned(), now);
        }
        is_due
    }
}

/// Until the same is told again.
const INTERVAL: Duration = Duration::from_secs(10);
/// So many different ones are told meanwhile.
const COUNT_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    #[test]
    fn each_failure_is_told_once_in_a_while() {
        let now = Instant::now();
        let mut complaints = Complaints::default();
        assert!(complaints.is_due("22012", now) && complaints.is_due("42883", now));
        assert!(!complaints.is_due("22012", now + INTERVAL - Duration::from_millis(1)));
        assert!(complaints.is_due("22012", now + INTERVAL));
        let told = (0..100).filter(|it| complaints.is_due(&it.to_string(), now + INTERVAL));
        assert_eq!(told.count(), COUNT_MAX - 1);
    }
}
