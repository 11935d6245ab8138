//! One of the two sessions over time: waiting, connecting, starting, ready.
//!
//! Its state and what is remembered from one attempt to the next; decides nothing.

use std::{fmt, time::Instant};

use super::{Failure, HEARTBEAT_TIMEOUT, Role, Route};
use crate::pg::{
    config::{Config, SslMode},
    session::Session,
};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) state: State,
    /// Where this attempt leads, or the next one.
    pub(super) route: Route,
    /// Failures since the session was last ready.
    pub(super) failures: u32,
    /// What is wrong with the servers tried in this round.
    pub(super) complaints: Vec<String>,
    /// Whether only a person can help with one of them.
    pub(super) is_misconfigured: bool,
    /// What was last logged against it, so that it is logged once.
    pub(super) complaint: Option<String>,
    /// Why this round goes on without TLS at the server of `route`, though it was asked for.
    pub(super) tls_given_up: Option<String>,
    /// The same of the session that is ready, said once: it may come back as often as it likes.
    pub(super) in_the_clear: Option<String>,
    /// Whether the last session that was ready had TLS.
    pub(super) was_secure: bool,
    /// Why the last round failed; `None` while there was none, and from `Ready` on.
    pub(super) failure: Option<Failure>,
}

pub(super) enum State {
    Waiting {
        until: Instant,
    },
    Connecting {
        deadline: Instant,
    },
    Starting {
        session: Box<Session>,
        is_secure: bool,
        deadline: Instant,
    },
    Ready {
        session: Box<Session>,
        heartbeat: Heartbeat,
        since: Instant,
        is_secure: bool,
        /// Said to be up: it is known to work, as far as it can be.
        is_up: bool,
    },
}

pub(super) enum Heartbeat {
    Due(Instant),
    Purpose { deadline: Instant },
}

impl Connection {
    pub(super) fn new(route: Route, now: Instant) -> Self {
        Self {
            state: State::Waiting { until: now },
            route,
            failures: 0,
            complaints: Vec::new(),
            is_misconfigured: false,
            complaint: None,
            tls_given_up: None,
            in_the_clear: None,
            was_secure: false,
            failure: None,
        }
    }

    /// Bytes came: whatever we wait for is on its way.
    pub(super) fn note_life(&mut self, now: Instant) {
        if let State::Ready {
            heartbeat: Heartbeat::Purpose { deadline },
            ..
        } = &mut self.state
        {
            *deadline = now + HEARTBEAT_TIMEOUT;
        }
    }

    /// The session is ready: TLS that was given up on the way is told of, each time that it, or the
    /// reason, is another one than before.
    pub(super) fn note_encryption(&mut self, role: Role, is_secure: bool, config: &Config) {
        let had_it = std::mem::replace(&mut self.was_secure, is_secure);
        let given_up = self.tls_given_up.take();
        let before = self.in_the_clear.take();
        let is_unix = config.servers[self.route.server]
            .unix_socket_path()
            .is_some();
        if is_secure || is_unix || config.tls.mode != SslMode::Prefer {
            return;
        }
        let lost = "the server offers none, which the session before had";
        self.in_the_clear = given_up
            .or_else(|| had_it.then(|| lost.to_owned()))
            .or_else(|| before.clone().filter(|before| before == lost));
        match &self.in_the_clear {
            Some(why) if before.as_ref() != Some(why) => tracing::warn!(
                "{role} session: TLS failed ({why}); going on in clear text, as sslmode=prefer allows"
            ),
            Some(_) | None => {}
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Starting { session, .. } | State::Ready { session, .. } => Some(session),
            State::Waiting { .. } | State::Connecting { .. } => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Starting { session, .. } | State::Ready { session, .. } => Some(session),
            State::Waiting { .. } | State::Connecting { .. } => None,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match &self.state {
            State::Waiting { until } => *until,
            State::Connecting { deadline } | State::Starting { deadline, .. } => *deadline,
            State::Ready {
                heartbeat: Heartbeat::Due(at),
                ..
            } => *at,
            State::Ready {
                heartbeat: Heartbeat::Purpose { deadline },
                ..
            } => *deadline,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting { .. } => "Waiting",
            Self::Connecting { .. } => "Connecting",
            Self::Starting { .. } => "Starting",
            Self::Ready { .. } => "Ready",
        })
    }
}
