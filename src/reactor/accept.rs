//! A listening socket: takes connections, a budget at a time.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{
    Interest, Registry,
    net::{TcpListener, TcpStream},
};

use super::{socket, token::Source};

/// A bound address: connections wait there until a reactor takes them.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        socket::listen(address).map(Self)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The listening socket.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    /// Connections wait, and no event will tell us of them again.
    ready: bool,
    /// Out of descriptors: not before then.
    resume_at: Option<Instant>,
    /// The shortage was logged.
    complained: bool,
}

impl Acceptor {
    pub(super) fn new(
        Listener(mut listener): Listener,
        source: Source,
        registry: &Registry,
    ) -> io::Result<Self> {
        registry.register(&mut listener, source.token(), Interest::READABLE)?;
        Ok(Self {
            listener,
            ready: false,
            resume_at: None,
            complained: false,
        })
    }

    pub(super) fn handle_event(&mut self) {
        self.ready = true;
    }

    /// Whether [`Self::accept`] has something to do now.
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.resume_at.is_none()
    }

    /// When descriptors are tried again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.resume_at
    }

    /// There is no room: connections wait in the kernel for a moment.
    pub(super) fn pause(&mut self, now: Instant) {
        self.resume_at = Some(now + ACCEPT_PAUSE);
    }

    /// The next connection, if one waits.
    pub(super) fn accept(&mut self, now: Instant) -> Option<TcpStream> {
        if self.resume_at.is_some_and(|at| now >= at) {
            self.resume_at = None;
        }
        while self.is_ready() {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    self.complained = false;
                    return Some(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                // The peer gave up before we came, or a signal did: the next one may be there.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    if !self.complained {
                        tracing::warn!("cannot accept connections for now: {error}");
                    }
                    self.complained = true;
                    self.pause(now);
                }
            }
        }
        None
    }
}

/// With no descriptor left, accepting would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
