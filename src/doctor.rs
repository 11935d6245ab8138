//! `examine`: opens the two sessions of a bridge to find out whether it can work with a PostgreSQL.
//!
//! Owns a loop that ends as soon as both sessions are proved, one has failed, or time is up;
//! `findings` judges the result. Knows no clients, and keeps no session open afterwards.

#![expect(clippy::disallowed_methods, reason = "the loop ends when time is up")]

mod findings;

use std::{
    io,
    time::{Duration, Instant},
};

pub use self::findings::{Finding, Verdict};
use crate::{
    backend::{Backend, Event, Role},
    config::BridgeConfig,
    error::BridgeError,
    reactor::BackendReactor,
    startup,
};

/// Opens the sessions of `config` as a bridge would, notifies one from the other, and returns the
/// findings, one [`Finding`] a subject, in the order of a connection's life. Takes at most the time
/// in which a bridge tries all servers once, and three seconds more.
///
/// # Errors
///
/// [`BridgeError::PostgresUrl`] if a connection string is malformed, [`BridgeError::AuthFunction`] if
/// the name of the function is, [`BridgeError::Io`] if the operating system refuses a poll. A PostgreSQL that cannot be used is a finding.
pub fn examine(config: &BridgeConfig) -> Result<Vec<Finding>, BridgeError> {
    let configs = startup::postgres_configs(config).map_err(BridgeError::PostgresUrl)?;
    let function = startup::auth_function(config).map_err(BridgeError::AuthFunction)?;
    let seed = startup::seed().map_err(BridgeError::Io)?;
    let backend = Backend::new(configs, seed, Instant::now()).with_function(function);
    let mut examination = Examination {
        sessions: BackendReactor::new(backend).map_err(BridgeError::Io)?,
        proof: Proof::default(),
    };
    examination.run().map_err(BridgeError::Io)?;
    Ok(findings::judge(
        examination.sessions.backend(),
        examination.proof.heard_after,
    ))
}

struct Examination {
    sessions: BackendReactor,
    proof: Proof,
}

/// The proof that a notification of one session reaches the other.
#[derive(Default)]
struct Proof {
    /// When the publishing session came up.
    publishing_up_at: Option<Instant>,
    /// The time from then to the arrival of its notification.
    heard_after: Option<Duration>,
}

impl Examination {
    fn run(&mut self) -> io::Result<()> {
        let began = Instant::now();
        // It grows with the addresses that are found.
        let deadline =
            |sessions: &BackendReactor| began + sessions.backend().round_timeout() + MARGIN;
        while !self.is_decided() && Instant::now() < deadline(&self.sessions) {
            let deadline = deadline(&self.sessions);
            let proof = &mut self.proof;
            let react = |backend: &mut Backend, now| proof.note_events(backend, now);
            self.sessions.turn(Some(deadline), react)?;
        }
        self.sessions.terminate();
        Ok(())
    }

    fn is_decided(&self) -> bool {
        let backend = self.sessions.backend();
        let has_failed = |role| backend.failure(role).is_some();
        let is_settled = |role| has_failed(role) || backend.is_up(role);
        let is_measured = backend.session(Role::Listening).is_some_and(|it| {
            // This query precedes the proof, and so does its answer.
            it.queue_usage().is_some()
        });
        let is_judged = self.proof.heard_after.is_some() || backend.refusal().is_some();
        let are_settled = has_failed(Role::Listening) && is_settled(Role::Publishing)
            || has_failed(Role::Publishing) && is_settled(Role::Listening)
            || is_judged && is_measured;
        let is_function_judged = backend.function().is_none()
            || backend.function_verdict().is_some()
            || has_failed(Role::Authorizing);
        are_settled && is_function_judged
    }
}

impl Proof {
    fn note_events(&mut self, backend: &mut Backend, now: Instant) {
        let (up_at, heard_after) = (&mut self.publishing_up_at, &mut self.heard_after);
        backend.drain_events(now, |event| match event {
            Event::Up(Role::Publishing, _) => *up_at = Some(now),
            Event::Proved(true) => *heard_after = up_at.map(|up_at| now - up_at),
            Event::Up(Role::Listening | Role::Authorizing, _)
            | Event::Down(_)
            | Event::Absent(_)
            | Event::Refused(_)
            | Event::TlsGivenUp(_)
            | Event::Proved(false)
            | Event::Unfit(_)
            | Event::Committed(_)
            | Event::QueueUsage(_)
            | Event::Stalled(_)
            | Event::Listened(..)
            | Event::Unlistened(_)
            | Event::Notification { .. }
            | Event::Published(..)
            | Event::Function(_)
            | Event::Called(..)
            | Event::Control(_) => {}
        });
    }
}

/// The time for the notification, beside that for connecting.
const MARGIN: Duration = Duration::from_secs(3);
