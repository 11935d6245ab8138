//! `examine`: whether a bridge can work with a PostgreSQL, found out by opening its two sessions.
//!
//! Owns a loop that ends as soon as both sessions are proved, one has failed, or time is up; what
//! that means is judged in `findings`. Knows no clients and stays no longer than it must.

#![expect(
    clippy::disallowed_methods,
    reason = "the loop reads the clock, once a turn"
)]

mod findings;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Waker};

pub use self::findings::{Finding, Verdict};
use crate::{
    bridge::backend::{Backend, Event, Role},
    bridge_error::BridgeError,
    config::BridgeConfig,
    reactor::BackendSockets,
    shell,
};

/// Opens the sessions of `config` as a bridge would, has one notify the other, and says what it
/// found, one [`Finding`] a subject, in the order of the connection's life. Takes at most as long as a
/// bridge tries all servers once, and three seconds more.
///
/// # Errors
///
/// [`BridgeError::PostgresUrl`] if a connection string is malformed, [`BridgeError::Io`] if the
/// system refuses what waiting needs. A PostgreSQL that cannot be used is a finding.
pub fn examine(config: &BridgeConfig) -> Result<Vec<Finding>, BridgeError> {
    let configs = shell::postgres_configs(config).map_err(BridgeError::PostgresUrl)?;
    let seed = shell::seed().map_err(BridgeError::Io)?;
    let mut examination =
        Examination::new(Backend::new(configs, seed, Instant::now())).map_err(BridgeError::Io)?;
    examination.run().map_err(BridgeError::Io)?;
    Ok(findings::judge(
        &examination.backend,
        examination.heard_after,
    ))
}

struct Examination {
    poll: Poll,
    sockets: BackendSockets,
    backend: Backend,
    /// When the publishing session was there to speak.
    publishing_since: Option<Instant>,
    /// From then until it was heard.
    heard_after: Option<Duration>,
    buffer: Box<[u8]>,
}

impl Examination {
    fn new(backend: Backend) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), BackendSockets::waker_token())?;
        Ok(Self {
            poll,
            sockets: BackendSockets::new(Arc::new(waker)),
            backend,
            publishing_since: None,
            heard_after: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let now = Instant::now();
        let deadline = now + self.backend.round_timeout() + MARGIN;
        while !self.is_decided() && Instant::now() < deadline {
            self.turn(&mut events, deadline)?;
        }
        self.backend.terminate();
        self.sockets.write(&mut self.backend, Instant::now());
        Ok(())
    }

    fn is_decided(&self) -> bool {
        let has_failed = |role| self.backend.failure(role).is_some();
        let is_settled = |role| has_failed(role) || self.backend.is_up(role);
        let is_measured = self.backend.session(Role::Listening).is_some_and(|it| {
            // Asked before the proof, so answered before it.
            it.queue_usage().is_some()
        });
        has_failed(Role::Listening) && is_settled(Role::Publishing)
            || has_failed(Role::Publishing) && is_settled(Role::Listening)
            || self.heard_after.is_some() && is_measured
    }

    fn turn(&mut self, events: &mut Events, deadline: Instant) -> io::Result<()> {
        let until = self.backend.poll_timeout().min(deadline);
        let mut timeout = until.saturating_duration_since(Instant::now());
        if self.sockets.is_readable() {
            timeout = Duration::ZERO;
        }
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let now = Instant::now();
        let registry = self.poll.registry();
        for event in &*events {
            match BackendSockets::role_of(event.token()) {
                Some(role) => {
                    self.sockets
                        .handle_event(role, event, &mut self.backend, registry, now);
                }
                None => self.sockets.handle_wake(&mut self.backend, registry, now),
            }
        }
        self.sockets.read(&mut self.backend, &mut self.buffer, now);
        self.note_events(now);
        self.backend.handle_timeout(now);
        self.note_events(now);
        self.sockets.write(&mut self.backend, now);
        self.note_events(now);
        let registry = self.poll.registry();
        self.sockets.carry_out(&mut self.backend, registry, now);
        Ok(())
    }

    fn note_events(&mut self, now: Instant) {
        let (since, heard_after) = (&mut self.publishing_since, &mut self.heard_after);
        self.backend.drain_events(now, |event| match event {
            Event::Up(Role::Publishing, _) => *since = Some(now),
            Event::Proved(true) => *heard_after = since.map(|since| now - since),
            Event::Up(Role::Listening, _)
            | Event::Down(_)
            | Event::Proved(false)
            | Event::Unfit(_)
            | Event::Committed(_)
            | Event::QueueUsage(_)
            | Event::Listened(..)
            | Event::Unlistened(_)
            | Event::Notification { .. }
            | Event::Published(..) => {}
        });
    }
}

const BUFFER_BYTES: usize = 16 * 1024;
const EVENTS: usize = 16;
/// What hearing may take beside connecting.
const MARGIN: Duration = Duration::from_secs(3);
