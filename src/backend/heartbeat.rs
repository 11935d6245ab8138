//! Whether the server still answers: a request after each interval, and a deadline for its answer.
//!
//! Knows neither the content of the request nor the consequences of silence.

use std::time::{Duration, Instant};

/// The heartbeat of a session that is ready.
#[derive(Debug)]
pub(super) struct Heartbeat(State);

#[derive(Debug)]
enum State {
    Due {
        at: Instant,
    },
    Unanswered {
        deadline: Instant,
        /// Whatever else comes in until then.
        deadline_max: Instant,
    },
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
            State::Unanswered { deadline, .. } => deadline,
        }
    }

    /// The deadline has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Pulse {
        match self.0 {
            State::Due { .. } => {
                self.0 = State::Unanswered {
                    deadline: now + HEARTBEAT_TIMEOUT,
                    deadline_max: now + HEARTBEAT_TIMEOUT_MAX,
                };
                Pulse::Send
            }
            State::Unanswered { .. } => Pulse::Silent,
        }
    }

    /// The server sent something, or waits for another session: an answer may be on its way.
    pub(super) fn postpone(&mut self, now: Instant) {
        if let State::Unanswered {
            deadline,
            deadline_max,
        } = &mut self.0
        {
            *deadline = (now + HEARTBEAT_TIMEOUT).min(*deadline_max);
        }
    }

    /// The deadline has passed, and the session is waited for all the same.
    pub(super) fn wait_on(&mut self, now: Instant) {
        if let State::Unanswered { deadline, .. } = &mut self.0 {
            *deadline = now + HEARTBEAT_TIMEOUT;
        }
    }

    /// The server is not being read for now: its time begins again.
    pub(super) fn restart(&mut self, now: Instant) {
        if let State::Unanswered { deadline_max, .. } = &mut self.0 {
            *deadline_max = now + HEARTBEAT_TIMEOUT_MAX;
        }
        self.postpone(now);
    }

    /// Whether nothing postpones the deadline any more.
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        matches!(self.0, State::Unanswered { deadline_max, .. } if deadline_max <= now)
    }

    /// A heartbeat was answered: the next one is due after the interval.
    pub(super) fn handle_answer(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

/// Bytes from the server do not replace a heartbeat: `idle_session_timeout` does not count them,
/// and a middlebox forgets a connection on which we are silent.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// From the heartbeat, or the last input since, until the server counts as silent.
pub(super) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// From the heartbeat, whatever else comes in: 60 s after the last answer.
const HEARTBEAT_TIMEOUT_MAX: Duration = Duration::from_secs(45);

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

    #[test]
    fn input_without_an_answer_is_life_until_a_latest_time() {
        let start = start();
        let mut heartbeat = Heartbeat::new(start);
        let sent = heartbeat.deadline();
        assert_eq!(heartbeat.handle_timeout(sent), Pulse::Send);
        let latest = start + Duration::from_secs(60);
        let before = latest - Duration::from_nanos(1);
        heartbeat.postpone(before);
        assert_eq!(heartbeat.deadline(), latest);
        assert!(!heartbeat.is_exhausted(before) && heartbeat.is_exhausted(latest));
        heartbeat.restart(before);
        assert_eq!(heartbeat.deadline(), before + HEARTBEAT_TIMEOUT);
        assert!(!heartbeat.is_exhausted(latest), "it was not read");
    }
}
