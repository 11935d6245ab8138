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

use crate::channel::{Channel, Payload};

/// One probe after the other.
#[derive(Debug)]
pub(super) struct Probe {
    channel: Channel,
    state: State,
    /// The listening session is listening to `channel`.
    is_listening: bool,
    proof: Proof,
}

#[derive(Debug)]
enum State {
    Idle,
    /// On its way to the server.
    Asked {
        token: String,
    },
    /// Committed, or heard of nothing to the contrary.
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

    /// What to publish now, unless nobody would hear it or a probe is under way. `random` makes it
    /// unlike all before it.
    pub(super) fn begin(&mut self, random: u64) -> Option<Payload> {
        if !self.is_listening || !matches!(self.state, State::Idle) {
            return None;
        }
        let token = format!("{random:016x}");
        let payload = Payload::new(&token).expect("short and without NUL");
        self.state = State::Asked { token };
        Some(payload)
    }

    /// The token is committed: from now on the listening session owes it.
    pub(super) fn handle_committed(&mut self, now: Instant) {
        if let State::Asked { token } = &mut self.state {
            self.state = State::Committed {
                token: std::mem::take(token),
                deadline: now + HEARD_WITHIN,
                deadline_max: now + HEARD_WITHIN_AT_MOST,
            };
        }
    }

    /// The publishing session is gone: what it said may be heard yet, or not.
    pub(super) fn give_up(&mut self) {
        self.state = State::Idle;
    }

    /// The server refused to publish it, or there is no session to do so: nothing can be proved.
    pub(super) fn handle_impossible(&mut self) {
        self.state = State::Idle;
        if self.proof == Proof::Pending {
            self.proof = Proof::Impossible;
        }
    }

    /// The listening session heard something on our channel.
    pub(super) fn handle_heard(&mut self, payload: &[u8]) {
        match &self.state {
            State::Asked { token } | State::Committed { token, .. }
                if token.as_bytes() == payload =>
            {
                self.state = State::Idle;
                self.proof = Proof::Heard;
            }
            // Of somebody else, or of a probe that was given up.
            State::Idle | State::Asked { .. } | State::Committed { .. } => {}
        }
    }

    /// The listening session delivers other notifications, which may be many and are before ours.
    pub(super) fn note_life(&mut self, now: Instant) {
        if let State::Committed {
            deadline,
            deadline_max,
            ..
        } = &mut self.state
        {
            *deadline = (now + HEARD_WITHIN).min(*deadline_max);
        }
    }

    /// The listening session is not being read for now: its silence is ours.
    pub(super) fn put_off(&mut self, now: Instant) {
        if let State::Committed {
            deadline,
            deadline_max,
            ..
        } = &mut self.state
        {
            *deadline = now + HEARD_WITHIN;
            *deadline_max = now + HEARD_WITHIN_AT_MOST;
        }
    }

    /// The listening session is gone.
    pub(super) fn handle_lost(&mut self) {
        self.state = State::Idle;
        self.is_listening = false;
        self.proof = Proof::Pending;
    }

    /// When the listening session counts as deaf.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Committed { deadline, .. } => Some(deadline),
            State::Idle | State::Asked { .. } => None,
        }
    }
}

/// From the commit of a token, or from any later notification, to its being heard.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// However much else is heard.
const HEARD_WITHIN_AT_MOST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn asked(random: u64) -> (Probe, Payload) {
        let mut probe = Probe::new(7);
        assert!(probe.begin(random).is_none(), "nobody would hear it");
        probe.handle_listening();
        let payload = probe.begin(random).unwrap();
        assert!(probe.begin(random).is_none(), "one at a time");
        (probe, payload)
    }

    #[test]
    fn a_token_is_heard_before_or_after_its_commit_is_known() {
        for committed_first in [true, false] {
            let (mut probe, payload) = asked(1);
            assert_eq!(
                probe.deadline(),
                None,
                "the server may take its time to commit"
            );
            if committed_first {
                probe.handle_committed(start());
                assert!(probe.deadline().is_some());
            }
            probe.handle_heard(payload.as_str().as_bytes());
            assert_eq!(probe.proof(), Proof::Heard);
            probe.handle_committed(start());
            assert_eq!(probe.deadline(), None);
        }
    }

    #[test]
    fn another_s_token_proves_nothing() {
        let (mut probe, _) = asked(1);
        probe.handle_committed(start());
        probe.handle_heard(b"0000000000000002");
        assert_eq!(probe.proof(), Proof::Pending);
        assert!(probe.deadline().is_some());
    }

    #[test]
    fn what_comes_before_the_token_puts_the_deadline_off_but_not_for_ever() {
        let start = start();
        let (mut probe, _) = asked(1);
        probe.handle_committed(start);
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
    fn what_could_not_be_published_proves_nothing_and_takes_nothing_back() {
        let (mut probe, payload) = asked(1);
        probe.handle_impossible();
        assert_eq!(probe.proof(), Proof::Impossible);
        probe.handle_heard(payload.as_str().as_bytes());
        assert_eq!(probe.proof(), Proof::Impossible);

        let payload = probe.begin(2).unwrap();
        probe.handle_heard(payload.as_str().as_bytes());
        assert_eq!(probe.proof(), Proof::Heard);
        probe.begin(3).unwrap();
        probe.handle_impossible();
        assert_eq!(probe.proof(), Proof::Heard);
        probe.handle_lost();
        assert_eq!(probe.proof(), Proof::Pending);
    }
}
