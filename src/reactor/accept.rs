//! A listening socket: accepts one connection after the other, and pauses while no descriptor is
//! left.
//!
//! Knows neither the budget of a turn nor what follows for a connection.

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

/// A bound address: connections wait there until a reactor accepts them.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    /// The service manager holds it too, and will pass it to our successor.
    is_passed: bool,
}

impl Listener {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: socket::listen(address)?,
            is_passed: false,
        })
    }

    /// A listener on a socket that was passed to us.
    pub(super) fn adopt(socket: Socket) -> io::Result<Self> {
        Ok(Self {
            socket: socket::adopt(socket)?,
            is_passed: true,
        })
    }

    /// A listener on a socket of the program around us.
    pub(crate) fn from_std(socket: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self {
            socket: socket::adopt(socket.into())?,
            is_passed: false,
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A descriptor in reserve for the time when no other is left: given up, it makes room for one
/// connection, which is told of the shortage. Without it connections would wait unseen, or the loop
/// would spin.
#[derive(Debug, Default)]
pub(super) struct Spare(Option<File>);

impl Spare {
    /// Reserves a descriptor again, if one is free; this precedes every new connection.
    fn take_again(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    /// Gives the descriptor up; false if there was none.
    fn give(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// It uses the spare descriptor, and has to return it.
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
    /// Connections wait that no further event announces.
    ready: bool,
    /// After a shortage of descriptors: the time of the next attempt.
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

    /// Whether a successor gets the connections that still wait at our end.
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

    /// The time of the next attempt.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Connections wait in the kernel for a moment.
    fn pause(&mut self, now: Instant) {
        self.resume_at = Some(now + ACCEPT_PAUSE);
    }

    /// A client left: a descriptor may be free again.
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
                // The peer gave up, or a signal interrupted the call: another connection may wait.
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
