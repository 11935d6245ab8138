//! The reactor of a program that talks to PostgreSQL and has no clients.
//!
//! Owns a poll of its own, the sockets of both sessions, and the order of a turn. Refuses to know
//! the reports of the sessions and their consequences: those are the caller's.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Waker};

use super::{backend::BackendSockets, source::Source};
use crate::backend::Backend;

/// A [`Backend`] with its sockets and its poll. Drop it after [`Self::terminate`].
pub(crate) struct BackendReactor {
    backend: Backend,
    sockets: BackendSockets,
    poll: Poll,
    events: Events,
    buffer: Box<[u8]>,
}

impl BackendReactor {
    pub(crate) fn new(backend: Backend) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Source::Waker.token())?;
        Ok(Self {
            backend,
            sockets: BackendSockets::new(Arc::new(waker)),
            poll,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Ends the wait of a turn from another thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        self.sockets.waker()
    }

    /// Runs one turn, and returns its time. It waits until `until` at the longest, and no longer
    /// than the backend allows. `react` drains the backend's events each time there may be some,
    /// and may push commands.
    pub(crate) fn turn(
        &mut self,
        until: Option<Instant>,
        mut react: impl FnMut(&mut Backend, Instant),
    ) -> io::Result<Instant> {
        let timeout = self.timeout(until);
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let now = Instant::now();
        let (backend, sockets) = (&mut self.backend, &mut self.sockets);
        let registry = self.poll.registry();
        for event in &self.events {
            match Source::from_token(event.token()) {
                Some(Source::Backend(role)) => {
                    sockets.handle_event(role, event, backend, now);
                }
                Some(Source::Leaving(role)) => sockets.handle_leaving(role),
                Some(
                    Source::Listener
                    | Source::AdminListener
                    | Source::Waker
                    | Source::Signals
                    | Source::Client(_),
                )
                | None => sockets.handle_wake(backend, now),
            }
        }
        sockets.read(backend, &mut self.buffer, now);
        react(backend, now);
        backend.handle_timeout(now);
        react(backend, now);
        sockets.write(backend, now);
        react(backend, now);
        while let Some(order) = backend.poll_order() {
            sockets.carry_out(order, backend, registry, now);
        }
        Ok(now)
    }

    /// The sessions end properly, so that PostgreSQL does not log a lost connection.
    pub(crate) fn terminate(&mut self) {
        self.backend.terminate();
        self.sockets.write(&mut self.backend, Instant::now());
    }

    fn timeout(&self, until: Option<Instant>) -> Duration {
        if self.sockets.is_readable() {
            return Duration::ZERO;
        }
        let backend = self.backend.poll_timeout();
        let until = until.map_or(backend, |until| until.min(backend));
        until.saturating_duration_since(Instant::now())
    }
}

/// For every read.
const BUFFER_BYTES: usize = 64 * 1024;
/// Two sockets, two more of each session that was given up, and a waker.
const EVENTS: usize = 8;
