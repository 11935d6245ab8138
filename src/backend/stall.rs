//! Whether publishes commit, and which process is in their way where the server tells it.
//!
//! Transactions that notify commit one after the other, under one lock of the whole cluster: a
//! transaction that holds it and waits, for a disk or a standby, holds up every publish, and no
//! session of ours is to blame. The probe is a publish, so the stall is noticed also while no
//! client publishes. Knows no session.

use std::{fmt, time::Instant};

use super::heartbeat::HEARTBEAT_INTERVAL;

/// No publish commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The process of the server that holds the lock for NOTIFY, where the server tells it.
    pub holder: Option<i32>,
}

/// The time by which a publish has to be answered.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// While one is under way.
    due_at: Option<Instant>,
    /// Stays when the session is replaced: until a publish commits, nothing is better.
    stall: Option<Stall>,
}

impl Commits {
    /// A publish is under way.
    pub(super) fn expect(&mut self, now: Instant) {
        if self.stall.is_none() && self.due_at.is_none() {
            self.due_at = Some(now + HEARTBEAT_INTERVAL);
        }
    }

    /// A publish was answered, and the one that is waited for was not. Returns whether that ends a
    /// stall.
    pub(super) fn handle_progress(&mut self, now: Instant) -> bool {
        self.restart(now);
        self.stall.take().is_some()
    }

    /// The publish that is waited for was answered. Returns whether that ends a stall.
    pub(super) fn handle_answer(&mut self) -> bool {
        self.due_at = None;
        self.stall.take().is_some()
    }

    /// The server is not being read for now: its silence says nothing of it.
    pub(super) fn restart(&mut self, now: Instant) {
        if self.due_at.is_some() {
            self.due_at = Some(now + HEARTBEAT_INTERVAL);
        }
    }

    /// The publishing session is gone, and not because it was silent.
    pub(super) fn abandon(&mut self) {
        self.due_at = None;
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due_at
    }

    /// Returns whether a stall begins.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.due_at.is_some_and(|due_at| due_at <= now);
        if is_due {
            self.due_at = None;
            self.stall = Some(Stall { holder: None });
        }
        is_due
    }

    pub(super) fn stall(&self) -> Option<Stall> {
        self.stall
    }

    /// The server was asked for the holder of the lock. Returns whether the answer is news.
    pub(super) fn handle_holder(&mut self, holder: Option<i32>) -> bool {
        match &mut self.stall {
            Some(stall) => std::mem::replace(&mut stall.holder, holder) != holder,
            None => false,
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holder {
            Some(holder) => write!(
                f,
                "no publish commits: process {holder} of PostgreSQL holds the lock for NOTIFY"
            ),
            None => f.write_str(
                "no publish commits: another session may hold PostgreSQL's lock for NOTIFY",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn publishes_stall_when_one_is_unanswered_for_a_heartbeat_and_until_one_commits() {
        let start = start();
        let mut commits = Commits::default();
        commits.expect(start);
        let due = start + HEARTBEAT_INTERVAL;
        assert_eq!(commits.deadline(), Some(due));
        assert!(!commits.handle_timeout(due - Duration::from_nanos(1)));
        assert!(commits.handle_timeout(due) && commits.deadline().is_none());
        assert!(commits.handle_holder(Some(7)) && !commits.handle_holder(Some(7)));
        commits.abandon();
        commits.expect(due);
        assert_eq!(commits.stall(), Some(Stall { holder: Some(7) }));
        assert!(commits.handle_answer() && commits.stall().is_none());
        assert!(!commits.handle_holder(Some(7)), "it came too late");
    }

    #[test]
    fn publishes_before_the_expected_one_are_progress() {
        let start = start();
        let mut commits = Commits::default();
        commits.expect(start);
        let later = start + Duration::from_secs(14);
        assert!(!commits.handle_progress(later));
        assert_eq!(commits.deadline(), Some(later + HEARTBEAT_INTERVAL));
        assert!(!commits.handle_answer());
        commits.handle_progress(later);
        assert_eq!(commits.deadline(), None);
    }
}
