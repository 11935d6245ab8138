//! The proof that the listening session receives the notifications of the publishing one.
//!
//! A transaction pooler answers LISTEN and delivers nothing; so does a server that is not the one
//! the publishing session is connected to. Only a notification that arrives proves that
//! notifications arrive, and a session that receives its own proves nothing: some poolers deliver
//! those. So the publishing session notifies a channel of ours, and the listening session has to
//! receive that within [`RECEIPT_TIMEOUT`] of the commit.
//!
//! Knows the state of one probe and when it counts as failed; not what follows from it.

use std::time::{Duration, Instant};

use super::heartbeat::HEARTBEAT_TIMEOUT;
use crate::channel::{Channel, Payload};

/// One probe after the other.
#[derive(Debug)]
pub(super) struct Probe {
    channel: Channel,
    state: State,
    /// Counts the probes: an answer may be to an abandoned one.
    number: u32,
    /// The listening session is listening to `channel`.
    is_listening: bool,
    proof: Proof,
    /// The listening session received a probe once.
    has_received: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    /// On its way to the server, which may hold it up for reasons that say nothing of the
    /// listening session: NOTIFY waits for a lock that all sessions of the server share.
    Sent {
        nonce: String,
        /// When the listening session is used unproved; none once it is.
        deadline: Option<Instant>,
    },
    /// Committed, and not received yet.
    Committed {
        nonce: String,
        deadline: Instant,
        deadline_max: Instant,
    },
}

/// What is known of the listening session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing yet.
    Pending,
    /// It received the last probe.
    Received,
    /// Nothing, and nothing can be known without a publishing session.
    Impossible,
    /// Nothing more: the server refused to notify the last probe.
    Refused,
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
            has_received: false,
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

    /// The listening session listens to our channel from now on.
    pub(super) fn handle_listening(&mut self) {
        self.is_listening = true;
    }

    /// The payload to notify now, and the number of the probe; `None` while the listening session
    /// does not listen, and while a probe is under way. `random` makes the payload unlike all
    /// before it.
    pub(super) fn begin(&mut self, random: u64, now: Instant) -> Option<(u32, Payload)> {
        if !self.is_listening || !matches!(self.state, State::Idle) {
            return None;
        }
        let nonce = format!("{random:016x}");
        let payload = Payload::new(&nonce).expect("short and without NUL");
        self.number = self.number.wrapping_add(1);
        self.state = State::Sent {
            nonce,
            deadline: Some(now + COMMIT_TIMEOUT),
        };
        Some((self.number, payload))
    }

    /// The probe of this number is committed: from now on the listening session has to receive it.
    pub(super) fn handle_committed(&mut self, number: u32, now: Instant) {
        let timeout = self.receipt_timeout();
        match &mut self.state {
            State::Sent { nonce, .. } if number == self.number => {
                self.state = State::Committed {
                    nonce: std::mem::take(nonce),
                    deadline: now + timeout,
                    deadline_max: now + RECEIPT_TIMEOUT_MAX,
                };
            }
            State::Idle | State::Sent { .. } | State::Committed { .. } => {}
        }
    }

    /// The publishing session is gone: its last probe may arrive yet, or not.
    pub(super) fn abandon(&mut self) {
        self.state = State::Idle;
    }

    /// The server refused to notify the probe of this number. Returns whether it was under way:
    /// nothing is proved any more.
    pub(super) fn handle_refused(&mut self, number: u32) -> bool {
        let is_under_way = number == self.number && matches!(self.state, State::Sent { .. });
        if is_under_way {
            self.state = State::Idle;
            self.proof = Proof::Refused;
        }
        is_under_way
    }

    /// The probe of this number is to be sent again in another form. Returns whether it was under
    /// way.
    pub(super) fn handle_retried(&mut self, number: u32) -> bool {
        let is_under_way = number == self.number && matches!(self.state, State::Sent { .. });
        if is_under_way {
            self.state = State::Idle;
        }
        is_under_way
    }

    /// There is no session that could publish: nothing can be proved.
    pub(super) fn handle_impossible(&mut self) {
        self.state = State::Idle;
        if self.proof == Proof::Pending {
            self.proof = Proof::Impossible;
        }
    }

    /// The deadline has passed. Returns whether the listening session failed to receive the probe;
    /// where the server only takes its time to commit, nothing is proved until it has.
    pub(super) fn handle_timeout(&mut self) -> bool {
        match &mut self.state {
            State::Sent { deadline, .. } => {
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

    /// The listening session received a notification on our channel. Returns whether it is the probe.
    pub(super) fn handle_received(&mut self, payload: &[u8]) -> bool {
        match &self.state {
            State::Sent { nonce, .. } | State::Committed { nonce, .. }
                if nonce.as_bytes() == payload =>
            {
                self.state = State::Idle;
                self.proof = Proof::Received;
                self.has_received = true;
                true
            }
            // From a stranger, or of an abandoned probe.
            State::Idle | State::Sent { .. } | State::Committed { .. } => false,
        }
    }

    /// The listening session received another notification: there may be many before ours.
    pub(super) fn postpone(&mut self, now: Instant) {
        let timeout = self.receipt_timeout();
        if let State::Committed {
            deadline,
            deadline_max,
            ..
        } = &mut self.state
        {
            *deadline = (now + timeout).min(*deadline_max);
        }
    }

    /// The listening session is not being read for now: its silence says nothing of the server.
    pub(super) fn handle_unread(&mut self, now: Instant) {
        if let State::Committed { deadline_max, .. } = &mut self.state {
            *deadline_max = now + RECEIPT_TIMEOUT_MAX;
        }
        self.postpone(now);
    }

    /// The listening session is gone.
    pub(super) fn handle_lost(&mut self) {
        self.state = State::Idle;
        self.is_listening = false;
        self.proof = Proof::Pending;
        self.has_received = false;
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Committed { deadline, .. } => Some(deadline),
            State::Sent { deadline, .. } => deadline,
            State::Idle => None,
        }
    }

    /// A session that received a probe before is trusted for as long as a heartbeat may take: to
    /// end it costs every client a gap.
    fn receipt_timeout(&self) -> Duration {
        if self.has_received {
            RECEIPT_TIMEOUT_AGAIN
        } else {
            RECEIPT_TIMEOUT
        }
    }
}

/// From the commit of a probe, or from any later notification, to its receipt.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The same for a session that received a probe before.
const RECEIPT_TIMEOUT_AGAIN: Duration = HEARTBEAT_TIMEOUT;
/// From the commit to the receipt, however many other notifications come in between.
const RECEIPT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// From the request to the commit, before the listening session is used unproved.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn sent(start: Instant) -> (Probe, u32, Payload) {
        let mut probe = Probe::new(7);
        assert!(probe.begin(1, start).is_none(), "no session listens");
        probe.handle_listening();
        let (number, payload) = probe.begin(1, start).unwrap();
        assert!(probe.begin(1, start).is_none(), "one at a time");
        (probe, number, payload)
    }

    #[test]
    fn a_probe_may_be_received_before_its_commit_is_known() {
        for committed_first in [true, false] {
            let (mut probe, number, payload) = sent(start());
            if committed_first {
                probe.handle_committed(number, start());
            }
            probe.handle_received(payload.as_str().as_bytes());
            assert_eq!(probe.proof(), Proof::Received);
            probe.handle_committed(number, start());
            assert_eq!(probe.deadline(), None);
        }
    }

    #[test]
    fn the_nonce_of_a_stranger_proves_nothing() {
        let (mut probe, number, _) = sent(start());
        probe.handle_committed(number, start());
        probe.handle_received(b"0000000000000002");
        assert_eq!(probe.proof(), Proof::Pending);
        assert!(probe.deadline().is_some());
    }

    #[test]
    fn a_slow_commit_fails_no_session_and_proves_it_in_the_end() {
        let start = start();
        let (mut probe, number, payload) = sent(start);
        assert_eq!(probe.deadline(), Some(start + COMMIT_TIMEOUT));
        assert!(!probe.handle_timeout());
        assert_eq!((probe.proof(), probe.deadline()), (Proof::Impossible, None));
        probe.handle_committed(number, start);
        assert_eq!(probe.deadline(), Some(start + RECEIPT_TIMEOUT));
        probe.handle_received(payload.as_str().as_bytes());
        assert_eq!(probe.proof(), Proof::Received);
    }

    #[test]
    fn the_answer_to_an_abandoned_probe_says_nothing_of_the_next() {
        let start = start();
        let (mut probe, old, _) = sent(start);
        probe.handle_lost();
        probe.handle_listening();
        let (new, _) = probe.begin(2, start).unwrap();
        probe.handle_committed(old, start);
        probe.handle_refused(old);
        assert_eq!(probe.deadline(), Some(start + COMMIT_TIMEOUT));
        probe.handle_committed(new, start);
        assert!(probe.handle_timeout(), "not received in time");
    }

    #[test]
    fn other_notifications_postpone_the_deadline_but_not_for_ever() {
        let start = start();
        let (mut probe, number, _) = sent(start);
        probe.handle_committed(number, start);
        assert_eq!(probe.deadline(), Some(start + RECEIPT_TIMEOUT));
        let mut now = start;
        while now < start + 2 * RECEIPT_TIMEOUT_MAX {
            now += Duration::from_secs(1);
            probe.postpone(now);
        }
        assert_eq!(probe.deadline(), Some(start + RECEIPT_TIMEOUT_MAX));
        probe.handle_unread(now);
        assert_eq!(probe.deadline(), Some(now + RECEIPT_TIMEOUT));
    }

    #[test]
    fn a_session_once_proved_is_trusted_as_long_as_a_heartbeat() {
        let start = start();
        let (mut probe, _, payload) = sent(start);
        probe.handle_received(payload.as_str().as_bytes());
        let (number, _) = probe.begin(2, start).unwrap();
        probe.handle_committed(number, start);
        assert_eq!(probe.deadline(), Some(start + RECEIPT_TIMEOUT_AGAIN));
    }

    #[test]
    fn a_refused_probe_takes_the_proof_back_until_one_is_received() {
        let (mut probe, number, payload) = sent(start());
        assert!(probe.handle_refused(number) && !probe.handle_refused(number));
        assert_eq!(probe.proof(), Proof::Refused);
        probe.handle_received(payload.as_str().as_bytes());
        assert_eq!(probe.proof(), Proof::Refused);

        let (_, payload) = probe.begin(2, start()).unwrap();
        probe.handle_received(payload.as_str().as_bytes());
        assert_eq!(probe.proof(), Proof::Received);
        let (number, _) = probe.begin(3, start()).unwrap();
        assert!(!probe.handle_refused(number - 1), "of another session");
        assert!(probe.handle_refused(number));
        assert_eq!(probe.proof(), Proof::Refused);
        probe.handle_lost();
        assert_eq!(probe.proof(), Proof::Pending);
    }
}
