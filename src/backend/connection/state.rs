//! How far a connection has come.
//!
//! Owns what each step has: a deadline, a session, its heartbeat. Knows neither servers nor the
//! order of the steps.

use std::{fmt, time::Instant};

use crate::{
    backend::{
        failure::{Step, Unreached},
        heartbeat::{HEARTBEAT_TIMEOUT, Heartbeat},
    },
    pg::session::{KeyDerivation, Session},
    race::Race,
};

/// The steps, in their order.
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
    /// Addresses of the server are being connected to, until one takes the connection.
    Connecting {
        race: Race,
        failed: Vec<Unreached>,
        since: Instant,
    },
    /// The connection is made, and TLS is asked for.
    Securing {
        deadline: Instant,
        /// The server has agreed to TLS.
        has_begun: bool,
    },
    Starting {
        session: Box<Session>,
        is_secure: bool,
        deadline: Instant,
        /// What the session wants, and nobody works on yet.
        derivation: Option<KeyDerivation>,
    },
    Ready {
        session: Box<Session>,
        heartbeat: Heartbeat,
        ready_at: Instant,
        is_secure: bool,
        /// Known to work, as far as that can be known.
        is_up: bool,
    },
}

impl State {
    /// The session, from its first byte to its last.
    pub(super) fn session(&self) -> Option<&Session> {
        match self {
            Self::Starting { session, .. } | Self::Ready { session, .. } => Some(session),
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Securing { .. } => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match self {
            Self::Starting { session, .. } | Self::Ready { session, .. } => Some(session),
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Securing { .. } => None,
        }
    }

    /// Whether TLS carries the session.
    pub(super) fn is_secure(&self) -> bool {
        match self {
            Self::Starting { is_secure, .. } | Self::Ready { is_secure, .. } => *is_secure,
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Securing { .. } => false,
        }
    }

    /// What the server owes us on the way to a session, once a connection is made.
    pub(super) fn step(&self) -> Option<Step> {
        match self {
            Self::Securing { has_begun, .. } => Some(if *has_begun {
                Step::Tls
            } else {
                Step::Greeting
            }),
            Self::Starting { session, .. } => session.start_up().map(Step::from),
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Ready { .. } => None,
        }
    }

    /// Since when the session takes requests, if it does.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        match self {
            Self::Ready { ready_at, .. } => Some(*ready_at),
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Securing { .. }
            | Self::Starting { .. } => None,
        }
    }

    /// The session, if it is up.
    pub(super) fn into_session_up(self) -> Option<Box<Session>> {
        match self {
            Self::Ready { session, is_up, .. } => is_up.then_some(session),
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Securing { .. }
            | Self::Starting { .. } => None,
        }
    }

    /// The heartbeat of the session that is ready.
    pub(super) fn heartbeat_mut(&mut self) -> Option<&mut Heartbeat> {
        match self {
            Self::Ready { heartbeat, .. } => Some(heartbeat),
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Securing { .. }
            | Self::Starting { .. } => None,
        }
    }

    /// The session, whose deadline has passed, is waited for all the same.
    pub(super) fn wait_on(&mut self, now: Instant) {
        match self {
            Self::Starting { deadline, .. } => *deadline = now + HEARTBEAT_TIMEOUT,
            Self::Ready { heartbeat, .. } => heartbeat.wait_on(now),
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Securing { .. } => {}
        }
    }

    /// Returns whether the session wants a key that it did not want before.
    pub(super) fn note_derivation(&mut self) -> bool {
        let Self::Starting {
            session,
            derivation,
            ..
        } = self
        else {
            return false;
        };
        let wanted = session.take_key_derivation();
        let is_wanted = wanted.is_some();
        if is_wanted {
            *derivation = wanted;
        }
        is_wanted
    }

    /// The key to be derived, once.
    pub(super) fn take_derivation(&mut self) -> Option<KeyDerivation> {
        match self {
            Self::Starting { derivation, .. } => derivation.take(),
            Self::Waiting { .. }
            | Self::Resolving { .. }
            | Self::Locating { .. }
            | Self::Connecting { .. }
            | Self::Securing { .. }
            | Self::Ready { .. } => None,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Waiting { until } => *until,
            Self::Connecting { race, .. } => race.deadline(),
            Self::Resolving { deadline }
            | Self::Locating { deadline }
            | Self::Securing { deadline, .. }
            | Self::Starting { deadline, .. } => *deadline,
            Self::Ready { heartbeat, .. } => heartbeat.deadline(),
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
            Self::Securing { .. } => "Securing",
            Self::Starting { .. } => "Starting",
            Self::Ready { .. } => "Ready",
        })
    }
}
