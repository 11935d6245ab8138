//! One of the two sessions over time: waiting, connecting, starting, ready.
//!
//! Its state and what is remembered from one attempt to the next; decides nothing.

use std::{fmt, time::Instant};

use super::{Failure, HEARTBEAT_TIMEOUT, Route};
use crate::pg::session::{KeyDerivation, Session};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) state: State,
    /// Where this attempt leads, or the next one.
    pub(super) route: Route,
    /// What the session wants, and nobody works on yet.
    pub(super) derivation: Option<KeyDerivation>,
    /// Failures since the session was last ready.
    pub(super) failures: u32,
    /// What is wrong with the servers tried in this round.
    pub(super) complaints: Vec<String>,
    /// Whether only a person can help with one of them.
    pub(super) is_misconfigured: bool,
    /// What was last logged against it, so that it is logged once.
    pub(super) complaint: Option<String>,
    /// Why the last round failed; `None` while there was none, and from `Ready` on.
    pub(super) failure: Option<Failure>,
}

pub(super) enum State {
    Waiting {
        until: Instant,
    },
    /// The settings of a round are read anew.
    Resolving {
        deadline: Instant,
    },
    /// The server is looked up: its name, and the files that TLS with it takes.
    Locating {
        deadline: Instant,
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
            derivation: None,
            failures: 0,
            complaints: Vec::new(),
            is_misconfigured: false,
            complaint: None,
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

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Starting { session, .. } | State::Ready { session, .. } => Some(session),
            State::Waiting { .. }
            | State::Resolving { .. }
            | State::Locating { .. }
            | State::Connecting { .. } => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Starting { session, .. } | State::Ready { session, .. } => Some(session),
            State::Waiting { .. }
            | State::Resolving { .. }
            | State::Locating { .. }
            | State::Connecting { .. } => None,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match &self.state {
            State::Waiting { until } => *until,
            State::Resolving { deadline }
            | State::Locating { deadline }
            | State::Connecting { deadline }
            | State::Starting { deadline, .. } => *deadline,
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
            Self::Resolving { .. } => "Resolving",
            Self::Locating { .. } => "Locating",
            Self::Connecting { .. } => "Connecting",
            Self::Starting { .. } => "Starting",
            Self::Ready { .. } => "Ready",
        })
    }
}
