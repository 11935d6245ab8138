//! A listening socket: takes one connection after the other, and pauses where there is no
//! descriptor for one.
//!
//! Knows neither how many a turn may take nor what becomes of them.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

use std::{
    fs::File,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{
    Interest, Registry,
    net::{TcpListener, TcpStream},
};
use rustix::io::Errno;
use socket2::Socket;

use super::{socket, source::Source};
use crate::hub::Endpoints;

/// A bound address: connections wait there until a reactor takes them.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    /// Somebody else holds it too, and will let our successor have it.
    is_passed: bool,
}

impl Listener {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: socket::listen(address)?,
            is_passed: false,
        })
    }

    /// One that was passed to us.
    pub(super) fn adopt(socket: Socket) -> io::Result<Self> {
        Ok(Self {
            socket: socket::adopt(socket)?,
            is_passed: true,
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A descriptor held for the time when there is no other: given up, it takes the one connection
/// that shall hear of it. Without it connections would wait unseen, or the loop would spin.
#[derive(Debug, Default)]
pub(super) struct Spare(Option<File>);

impl Spare {
    /// Holds one again, if there is one; who left leaves it to us before anybody who comes.
    fn take_again(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    /// Whether there was one to give.
    fn give(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// A connection that was taken.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// It has the spare descriptor, which is wanted back.
    pub(super) is_excess: bool,
}

impl Accepted {
    /// The addresses of both ends.
    pub(super) fn endpoints(&self) -> Endpoints {
        let ip = |address: io::Result<SocketAddr>| address.ok().map(|it| it.ip());
        Endpoints {
            peer: ip(self.stream.peer_addr()),
            local: ip(self.stream.local_addr()),
        }
    }
}

/// The listening socket.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: Listener,
    /// Connections wait, and no event will tell us of them again.
    ready: bool,
    /// There was no descriptor: not before then.
    resume_at: Option<Instant>,
    /// The shortage was logged.
    complained: bool,
}

impl Acceptor {
    pub(super) fn new(
        mut listener: Listener,
        source: Source,
        registry: &Registry,
    ) -> io::Result<Self> {
        registry.register(&mut listener.socket, source.token(), Interest::READABLE)?;
        Ok(Self {
            listener,
            ready: false,
            resume_at: None,
            complained: false,
        })
    }

    /// Whether connections that wait when we are gone get to somebody else.
    pub(super) fn has_successor(&self) -> bool {
        self.listener.is_passed
    }

    pub(super) fn handle_event(&mut self) {
        self.ready = true;
    }

    /// Whether [`Self::accept`] has something to do now.
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.resume_at.is_none()
    }

    /// When it is tried again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Connections wait in the kernel for a moment.
    fn pause(&mut self, now: Instant) {
        self.resume_at = Some(now + ACCEPT_PAUSE);
    }

    /// Somebody left: there may be room again.
    pub(super) fn resume(&mut self) {
        self.resume_at = None;
    }

    /// The next connection, if one waits.
    pub(super) fn accept(&mut self, spare: &mut Spare, now: Instant) -> Option<Accepted> {
        if self.resume_at.is_some_and(|at| now >= at) {
            self.resume_at = None;
        }
        if self.is_ready() {
            spare.take_again();
        }
        let mut is_excess = false;
        while self.is_ready() {
            match self.listener.socket.accept() {
                Ok((stream, _)) => {
                    self.complained &= is_excess;
                    return Some(Accepted { stream, is_excess });
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
                    if is_out_of_descriptors(&error) && spare.give() {
                        is_excess = true;
                    } else {
                        self.pause(now);
                    }
                }
            }
        }
        None
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let error = Errno::from_io_error(error);
    matches!(error, Some(Errno::MFILE | Errno::NFILE))
}

/// With no descriptor left, accepting would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
