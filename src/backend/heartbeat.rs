//! Whether the server still answers: a request after each interval, and a deadline for its answer.
//!
//! Knows neither the content of the request nor the consequences of silence.

use std::time::{Duration, Instant};

/// The heartbeat of a session that is ready.
#[derive(Debug)]
pub(super) struct Heartbeat(State);

#[derive(Debug)]
enum State {
    Due { at: Instant },
    Unanswered { deadline: Instant },
}

/// The action that the deadline asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    /// The next request is to be sent.
    Send,
    /// The last one was not answered in time.
    Silent,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Self {
        Self(State::Due {
            at: now + HEARTBEAT_INTERVAL,
        })
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn deadline(&self) -> Instant {
        match self.0 {
            State::Due { at } => at,
            State::Unanswered { deadline } => deadline,
        }
    }

    /// The deadline has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Pulse {
        match self.0 {
            State::Due { .. } => {
                self.0 = State::Unanswered {
                    deadline: now + HEARTBEAT_TIMEOUT,
                };
                Pulse::Send
            }
            State::Unanswered { .. } => Pulse::Silent,
        }
    }

    /// The server sent something, or it is not being read: an answer may be on its way.
    pub(super) fn postpone(&mut self, now: Instant) {
        if let State::Unanswered { deadline } = &mut self.0 {
            *deadline = now + HEARTBEAT_TIMEOUT;
        }
    }

    /// A heartbeat was answered: the next one is due after the interval.
    pub(super) fn handle_answer(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

/// Bytes from the server do not replace a heartbeat: `idle_session_timeout` does not count them,
/// and a middlebox forgets a connection on which we are silent.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// From the heartbeat, or the last input since, until the server counts as silent.
pub(super) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_heartbeat_is_sent_after_each_interval() {
        let start = start();
        let mut heartbeat = Heartbeat::new(start);
        assert_eq!(heartbeat.deadline(), start + HEARTBEAT_INTERVAL);
        let sent = heartbeat.deadline();
        assert_eq!(heartbeat.handle_timeout(sent), Pulse::Send);
        assert_eq!(heartbeat.deadline(), sent + HEARTBEAT_TIMEOUT);
        heartbeat.handle_answer(sent);
        assert_eq!(heartbeat.deadline(), sent + HEARTBEAT_INTERVAL);
        assert_eq!(heartbeat.handle_timeout(heartbeat.deadline()), Pulse::Send);
    }

    #[test]
    fn a_heartbeat_without_an_answer_is_silence() {
        let mut heartbeat = Heartbeat::new(start());
        let sent = heartbeat.deadline();
        assert_eq!(heartbeat.handle_timeout(sent), Pulse::Send);
        let deadline = heartbeat.deadline();
        assert_eq!(heartbeat.handle_timeout(deadline), Pulse::Silent);
    }

    #[test]
    fn input_postpones_the_verdict_and_not_the_next_heartbeat() {
        let start = start();
        let second = Duration::from_secs(1);
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.postpone(start + second);
        assert_eq!(heartbeat.deadline(), start + HEARTBEAT_INTERVAL);
        let sent = heartbeat.deadline();
        assert_eq!(heartbeat.handle_timeout(sent), Pulse::Send);
        heartbeat.postpone(sent + second);
        assert_eq!(heartbeat.deadline(), sent + second + HEARTBEAT_TIMEOUT);
    }
}
