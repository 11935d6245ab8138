//! The proof that what one session says is heard by the other.
//!
//! A transaction pooler answers LISTEN and delivers nothing; so does a listener on another server
//! than the publisher's. Nothing short of a notification that arrives proves that notifications
//! arrive, and a session that hears itself proves nothing: some poolers pass that. So the
//! publishing session notifies a channel of our own, which the listening session must hear within
//! [`HEARD_WITHIN`] of the commit.
//!
//! Knows the state of one probe and when it counts as failed; not what follows from it.

use std::time::{Duration, Instant};

use super::HEARTBEAT_TIMEOUT;
use crate::channel::{Channel, Payload};

/// One probe after the other.
#[derive(Debug)]
pub(super) struct Probe {
    channel: Channel,
    state: State,
    /// Counts the probes: an answer may be to one that was given up.
    number: u32,
    /// The listening session is listening to `channel`.
    is_listening: bool,
    proof: Proof,
}

#[derive(Debug)]
enum State {
    Idle,
    /// On its way to the server, which may hold it up for reasons that say nothing of the
    /// listening session: who notifies waits for a lock that all who notify share.
    Purpose {
        token: String,
        /// When to do without; none once that is so.
        deadline: Option<Instant>,
    },
    /// Committed, and owed by the listening session.
    Committed {
        token: String,
        deadline: Instant,
        deadline_max: Instant,
    },
}

/// What is known of the listening session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing yet.
    Pending,
    /// The last probe was heard.
    Heard,
    /// Nothing, and for want of a publishing session nothing can be.
    Impossible,
}

impl Probe {
    pub(super) fn new(seed: u64) -> Self {
        let name = format!("alle probe {seed:016x}");
        Self {
            channel: Channel::new(&name).expect("short and not empty"),
            state: State::Idle,
            number: 0,
            is_listening: false,
            proof: Proof::Pending,
        }
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn is_listening(&self) -> bool {
        self.is_listening
    }

    pub(super) fn proof(&self) -> Proof {
        self.proof
    }

    /// The listening session hears our channel from now on.
    pub(super) fn handle_listening(&mut self) {
        self.is_listening = true;
    }

    /// What to publish now and under which number, unless nobody would hear it or a probe is under
    /// way. `random` makes it unlike all before it.
    pub(super) fn begin(&mut self, random: u64, now: Instant) -> Option<(u32, Payload)> {
        if !self.is_listening || !matches!(self.state, State::Idle) {
            return None;
        }
        let token = format!("{random:016x}");
        let payload = Payload::new(&token).expect("short and without NUL");
        self.number = self.number.wrapping_add(1);
        self.state = State::Purpose {
            token,
            deadline: Some(now + COMMITTED_WITHIN),
        };
        Some((self.number, payload))
    }

    /// The token of this number is committed: from now on the listening session owes it.
    pub(super) fn handle_committed(&mut self, number: u32, now: Instant) {
        let within = self.heard_within();
        match &mut self.state {
            State::Purpose { token, .. } if number == self.number => {
                self.state = State::Committed {
                    token: std::mem::take(token),
                    deadline: now + within,
                    deadline_max: now + HEARD_WITHIN_AT_MOST,
                };
            }
            State::Idle | State::Purpose { .. } | State::Committed { .. } => {}
        }
    }

    /// The publishing session is gone: what it said may be heard yet, or not.
    pub(super) fn give_up(&mut self) {
        self.state = State::Idle;
    }

    /// The server refused to publish the token of this number: nothing can be proved.
    pub(super) fn handle_refused(&mut self, number: u32) {
        if number == self.number {
            self.handle_impossible();
        }
    }

    /// There is no session that could publish: nothing can be proved.
    pub(super) fn handle_impossible(&mut self) {
        self.state = State::Idle;
        if self.proof == Proof::Pending {
            self.proof = Proof::Impossible;
        }
    }

    /// The time has come: whether the listening session is deaf. If the server only takes its time
    /// to commit, nothing is proved until it has.
    pub(super) fn handle_timeout(&mut self) -> bool {
        match &mut self.state {
            State::Purpose { deadline, .. } => {
                *deadline = None;
                if self.proof == Proof::Pending {
                    self.proof = Proof::Impossible;
                }
                false
            }
            State::Committed { .. } => true,
            State::Idle => false,
        }
    }

    /// The listening session heard something on our channel.
    pub(super) fn handle_heard(&mut self, payload: &[u8]) {
        match &self.state {
            State::Purpose { token, .. } | State::Committed { token, .. }
                if token.as_bytes() == payload =>
            {
                self.state = State::Idle;
                self.proof = Proof::Heard;
            }
            // Of somebody else, or of a probe that was given up.
            State::Idle | State::Purpose { .. } | State::Committed { .. } => {}
        }
    }

    /// The listening session delivers other notifications, which may be many and are before ours.
    pub(super) fn note_life(&mut self, now: Instant) {
        let within = self.heard_within();
        if let State::Committed {
            deadline,
            deadline_max,
            ..
        } = &mut self.state
        {
            *deadline = (now + within).min(*deadline_max);
        }
    }

    /// The listening session is not being read for now: its silence is ours.
    pub(super) fn put_off(&mut self, now: Instant) {
        if let State::Committed { deadline_max, .. } = &mut self.state {
            *deadline_max = now + HEARD_WITHIN_AT_MOST;
        }
        self.note_life(now);
    }

    /// The listening session is gone.
    pub(super) fn handle_lost(&mut self) {
        self.state = State::Idle;
        self.is_listening = false;
        self.proof = Proof::Pending;
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Committed { deadline, .. } => Some(deadline),
            State::Purpose { deadline, .. } => deadline,
            State::Idle => None,
        }
    }

    /// One that was heard before is believed for as long as a heartbeat may take: to tear it down
    /// costs every client a gap.
    fn heard_within(&self) -> Duration {
        match self.proof {
            Proof::Heard => HEARD_AGAIN_WITHIN,
            Proof::Pending | Proof::Impossible => HEARD_WITHIN,
        }
    }
}

/// From the commit of a token, or from any later notification, to its being heard.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
const HEARD_AGAIN_WITHIN: Duration = HEARTBEAT_TIMEOUT;
/// From asking to the commit, before the listening session is used unproved.
const COMMITTED_WITHIN: Duration = Duration::from_secs(2);
/// However much else is heard.
const HEARD_WITHIN_AT_MOST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn asked(start: Instant) -> (Probe, u32, Payload) {
        let mut probe = Probe::new(7);
        assert!(probe.begin(1, start).is_none(), "nobody would hear it");
        probe.handle_listening();
        let (number, payload) = probe.begin(1, start).unwrap();
        assert!(probe.begin(1, start).is_none(), "one at a time");
        (probe, number, payload)
    }

    #[test]
    fn a_token_is_heard_before_or_after_its_commit_is_known() {
        for committed_first in [true, false] {
            let (mut probe, number, payload) = asked(start());
            if committed_first {
                probe.handle_committed(number, start());
            }
            probe.handle_heard(payload.as_str().as_bytes());
            assert_eq!(probe.proof(), Proof::Heard);
            probe.handle_committed(number, start());
            assert_eq!(probe.deadline(), None);
        }
    }

    #[test]
    fn another_s_token_proves_nothing() {
        let (mut probe, number, _) = asked(start());
        probe.handle_committed(number, start());
        probe.handle_heard(b"0000000000000002");
        assert_eq!(probe.proof(), Proof::Pending);
        assert!(probe.deadline().is_some());
    }

    #[test]
    fn a_commit_that_takes_its_time_makes_nobody_deaf_and_proves_it_in_the_end() {
        let start = start();
        let (mut probe, number, payload) = asked(start);
        assert_eq!(probe.deadline(), Some(start + COMMITTED_WITHIN));
        assert!(!probe.handle_timeout());
        assert_eq!((probe.proof(), probe.deadline()), (Proof::Impossible, None));
        probe.handle_committed(number, start);
        assert_eq!(probe.deadline(), Some(start + HEARD_WITHIN));
        probe.handle_heard(payload.as_str().as_bytes());
        assert_eq!(probe.proof(), Proof::Heard);
    }

    #[test]
    fn an_answer_to_a_probe_that_was_given_up_says_nothing_of_the_next() {
        let start = start();
        let (mut probe, old, _) = asked(start);
        probe.handle_lost();
        probe.handle_listening();
        let (new, _) = probe.begin(2, start).unwrap();
        probe.handle_committed(old, start);
        probe.handle_refused(old);
        assert_eq!(probe.deadline(), Some(start + COMMITTED_WITHIN));
        probe.handle_committed(new, start);
        assert!(probe.handle_timeout(), "now it is owed");
    }

    #[test]
    fn what_comes_before_the_token_puts_the_deadline_off_but_not_for_ever() {
        let start = start();
        let (mut probe, number, _) = asked(start);
        probe.handle_committed(number, start);
        assert_eq!(probe.deadline(), Some(start + HEARD_WITHIN));
        let mut now = start;
        while now < start + 2 * HEARD_WITHIN_AT_MOST {
            now += Duration::from_secs(1);
            probe.note_life(now);
        }
        assert_eq!(probe.deadline(), Some(start + HEARD_WITHIN_AT_MOST));
        probe.put_off(now);
        assert_eq!(probe.deadline(), Some(now + HEARD_WITHIN));
    }

    #[test]
    fn who_was_heard_is_believed_as_long_as_a_heartbeat() {
        let start = start();
        let (mut probe, _, payload) = asked(start);
        probe.handle_heard(payload.as_str().as_bytes());
        let (number, _) = probe.begin(2, start).unwrap();
        probe.handle_committed(number, start);
        assert_eq!(probe.deadline(), Some(start + HEARD_AGAIN_WITHIN));
    }

    #[test]
    fn what_could_not_be_published_proves_nothing_and_takes_nothing_back() {
        let (mut probe, number, payload) = asked(start());
        probe.handle_refused(number);
        assert_eq!(probe.proof(), Proof::Impossible);
        probe.handle_heard(payload.as_str().as_bytes());
        assert_eq!(probe.proof(), Proof::Impossible);

        let (_, payload) = probe.begin(2, start()).unwrap();
        probe.handle_heard(payload.as_str().as_bytes());
        assert_eq!(probe.proof(), Proof::Heard);
        let (number, _) = probe.begin(3, start()).unwrap();
        probe.handle_refused(number);
        assert_eq!(probe.proof(), Proof::Heard);
        probe.handle_lost();
        assert_eq!(probe.proof(), Proof::Pending);
    }
}
