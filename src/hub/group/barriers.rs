//! Positions that lie in the future, or in an epoch of which an answer is awaited: subscribes wait
//! for a while, and are decided then.
//!
//! A dead bridge may have heard more than we have so far, and all of that is on its way to us. A
//! barrier is a message of our own: once it is back, we have heard whatever anybody heard before it
//! was sent. Barriers are counted; at most one is under way, and a pause lies between two, so that
//! no client makes a flood of them. Refuses to know what is decided.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::channel::ChannelKey;

/// The channels on which subscribes wait.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    holds: BTreeMap<ChannelKey, Hold>,
    /// The number of the last barrier that is back.
    passed: u64,
    /// The number of the last one that was sent.
    sent: u64,
    /// The highest number that somebody waits for.
    wanted: u64,
    sent_at: Option<Instant>,
}

#[derive(Debug)]
struct Hold {
    until: Instant,
    /// The barrier that decides.
    barrier: Option<u64>,
    /// Peers are to say where they stand.
    awaits_answers: bool,
}

/// What a subscribe on a channel may still wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::hub) enum Patience {
    /// Nothing.
    None,
    /// A barrier.
    Barrier,
    /// The answers of peers, and then a barrier.
    Answers,
}

impl Barriers {
    /// Subscribes on the channel wait for a barrier that is not sent yet.
    pub(super) fn await_barrier(&mut self, key: ChannelKey, now: Instant) {
        self.wanted = self.sent + 1;
        let hold = self.hold(key, now + BARRIER_TIMEOUT);
        hold.1.barrier = Some(hold.0);
    }

    /// Subscribes on the channel wait for the answers of peers.
    pub(super) fn await_answers(&mut self, key: ChannelKey, now: Instant) {
        self.hold(key, now + ANSWERS_TIMEOUT).1.awaits_answers = true;
    }

    fn hold(&mut self, key: ChannelKey, until: Instant) -> (u64, &mut Hold) {
        let hold = self.holds.entry(key).or_insert(Hold {
            until,
            barrier: None,
            awaits_answers: false,
        });
        (self.wanted, hold)
    }

    /// Whether a barrier is to be sent now.
    pub(super) fn poll_barrier(&mut self, now: Instant) -> bool {
        let is_due = self.sent < self.wanted
            && self.sent == self.passed
            && self.sent_at.is_none_or(|at| now >= at + PAUSE);
        if is_due {
            self.sent += 1;
            self.sent_at = Some(now);
        }
        is_due
    }

    /// The barrier is back.
    pub(super) fn handle_passed(&mut self) {
        self.passed = self.sent;
    }

    /// The barrier under way will not come back, or is not known to.
    pub(super) fn handle_lost(&mut self) {
        if self.passed < self.sent {
            self.sent = self.passed;
        }
    }

    /// The next channel whose subscribes are to be decided, and what they may still wait for.
    /// `is_answered` tells whether the peers have said where a channel stands.
    pub(super) fn poll_release(
        &mut self,
        is_answered: impl Fn(ChannelKey) -> bool,
        now: Instant,
    ) -> Option<(ChannelKey, Patience)> {
        let passed = self.passed;
        let (&key, hold) = self.holds.iter().find(|&(&key, hold)| {
            let is_behind = hold.barrier.is_none_or(|barrier| barrier <= passed);
            let is_told = !hold.awaits_answers || is_answered(key);
            is_behind && is_told || hold.until <= now
        })?;
        let patience = if hold.barrier.is_some() {
            Patience::None
        } else {
            Patience::Barrier
        };
        self.holds.remove(&key);
        Some((key, patience))
    }

    /// The channel is known no longer.
    pub(super) fn forget(&mut self, key: ChannelKey) {
        self.holds.remove(&key);
    }

    /// Nothing is decided any more: what waits is answered otherwise.
    pub(super) fn clear(&mut self) {
        self.holds.clear();
        self.wanted = self.sent;
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let hold = self.holds.values().map(|hold| hold.until).min();
        let is_wanted = self.sent < self.wanted && self.sent == self.passed;
        let send = self.sent_at.filter(|_| is_wanted).map(|at| at + PAUSE);
        hold.into_iter().chain(send).min()
    }

    /// Numbers are in order.
    pub(super) fn check_invariants(&self) {
        assert!(self.passed <= self.sent && self.sent <= self.passed + 1);
    }
}

/// A barrier is back within a millisecond or two, unless PostgreSQL commits nothing.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(2);
/// Peers say where they stand as fast as PostgreSQL commits.
const ANSWERS_TIMEOUT: Duration = Duration::from_millis(250);
/// Between two barriers.
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(0);
    const B: ChannelKey = ChannelKey(1);

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_position_in_the_future_waits_for_a_barrier_sent_after_it() {
        let now = start();
        let mut barriers = Barriers::default();
        barriers.await_barrier(A, now);
        assert!(barriers.poll_barrier(now));
        assert!(!barriers.poll_barrier(now), "one at a time");
        barriers.await_barrier(B, now);
        assert_eq!(barriers.poll_release(|_| false, now), None);
        barriers.handle_passed();
        let released = barriers.poll_release(|_| false, now);
        assert_eq!(released, Some((A, Patience::None)));
        assert_eq!(barriers.poll_release(|_| false, now), None, "B came later");
        assert!(!barriers.poll_barrier(now), "a pause lies between");
        assert_eq!(barriers.poll_timeout(), Some(now + PAUSE));
        assert!(barriers.poll_barrier(now + PAUSE));
        barriers.handle_passed();
        let released = barriers.poll_release(|_| false, now);
        assert_eq!(released, Some((B, Patience::None)));
        barriers.check_invariants();
    }

    #[test]
    fn a_barrier_that_does_not_come_back_is_waited_for_no_longer_than_that() {
        let now = start();
        let mut barriers = Barriers::default();
        barriers.await_barrier(A, now);
        assert!(barriers.poll_barrier(now));
        barriers.handle_lost();
        assert!(barriers.poll_barrier(now + PAUSE), "it is sent again");
        let until = now + BARRIER_TIMEOUT;
        let before = until - Duration::from_nanos(1);
        assert_eq!(barriers.poll_release(|_| false, before), None);
        let released = barriers.poll_release(|_| false, until);
        assert_eq!(released, Some((A, Patience::None)));
    }

    #[test]
    fn after_the_answers_of_peers_a_barrier_may_be_wanted_still() {
        let now = start();
        let mut barriers = Barriers::default();
        barriers.await_answers(A, now);
        barriers.await_answers(B, now);
        assert!(!barriers.poll_barrier(now));
        assert_eq!(barriers.poll_release(|_| false, now), None);
        let released = barriers.poll_release(|key| key == B, now);
        assert_eq!(released, Some((B, Patience::Barrier)));
        let released = barriers.poll_release(|_| false, now + ANSWERS_TIMEOUT);
        assert_eq!(released, Some((A, Patience::Barrier)));
    }

    #[test]
    fn who_waits_for_both_is_decided_behind_both() {
        let now = start();
        let mut barriers = Barriers::default();
        barriers.await_answers(A, now);
        barriers.await_barrier(A, now);
        assert!(barriers.poll_barrier(now));
        barriers.handle_passed();
        assert_eq!(barriers.poll_release(|_| false, now), None);
        let released = barriers.poll_release(|_| true, now);
        assert_eq!(released, Some((A, Patience::None)));
        barriers.await_barrier(A, now);
        barriers.clear();
        assert!(!barriers.poll_barrier(now + PAUSE));
    }
}
