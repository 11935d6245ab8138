//! A listening socket: accepts one connection after the other, and pauses while no descriptor is
//! left.
//!
//! Knows neither the budget of a turn nor what follows for a connection.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use mio::{
    Interest, Registry,
    net::{TcpListener, TcpStream},
};
use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
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

    /// One of several that are bound to one address.
    pub(crate) fn bind_shared(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: socket::listen_shared(address)?,
            is_passed: false,
        })
    }

    /// The socket, for somebody else to accept at, and its address.
    pub(crate) fn into_socket(self) -> io::Result<(OwnedFd, SocketAddr)> {
        let address = self.local_addr()?;
        Ok((self.socket.into(), address))
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

/// The descriptors that connections do not get: the highest numbers that the limit of open files
/// allows are for the sessions to PostgreSQL, for the files and names that these need, and for the
/// program's own files. A new descriptor has the lowest number that is free (POSIX, "File Descriptor
/// Allocation"), so a connection that gets one of those says that all others are in use.
///
/// One of the others is held for that time: given up, it makes room for one connection, which is
/// told of the shortage. Without it connections would wait unseen, or the loop would spin.
#[derive(Debug)]
pub(super) struct Spare {
    held: Option<File>,
    reserved_from: RawFd,
}

impl Spare {
    /// Reserves what the limit of open files is now.
    pub(super) fn new() -> Self {
        Self {
            held: None,
            reserved_from: reserved_from(getrlimit(Resource::Nofile).current),
        }
    }

    /// Holds a descriptor again, if one is free; this precedes every new connection. Returns
    /// whether there is one for a connection.
    fn take_again(&mut self) -> bool {
        if self.held.is_some() {
            return true;
        }
        match File::open("/dev/null") {
            Ok(file) if self.is_reserved(&file) => false,
            Ok(file) => {
                self.held = Some(file);
                true
            }
            Err(error) => !is_out_of_descriptors(&error),
        }
    }

    /// Gives the descriptor up; false if there was none.
    fn give(&mut self) -> bool {
        self.held.take().is_some()
    }

    fn is_reserved(&self, file: &impl AsRawFd) -> bool {
        file.as_raw_fd() >= self.reserved_from
    }

    /// Moves a connection that has a reserved descriptor to the one that was held.
    fn put_in(&mut self, stream: TcpStream) -> TcpStream {
        self.give();
        // Whoever is faster elsewhere in the program has it then, for this once.
        let moved = stream.as_fd().try_clone_to_owned();
        moved.map_or(stream, |moved| TcpStream::from_std(moved.into()))
    }
}

/// The first number that is reserved, where so many files may be open.
fn reserved_from(open_files_max: Option<u64>) -> RawFd {
    let max = open_files_max.unwrap_or(u64::MAX);
    let reserved = RESERVED_FILES.min(max / 4);
    RawFd::try_from(max - reserved).unwrap_or(RawFd::MAX)
}

/// For each of the two sessions: a socket, another one beside it while addresses are tried, those of
/// a session that was given up and of its CancelRequest, and what a look-up opens at a time.
const RESERVED_FILES: u64 = 16;

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
    /// Connections wait until the bridge is ready for them.
    is_held: bool,
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
            is_held: false,
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

    /// Leaves connections waiting, or accepts them again.
    pub(super) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Whether [`Self::accept`] has something to do now.
    pub(super) fn is_ready(&self) -> bool {
        self.ready && !self.is_held && self.resume_at.is_none()
    }

    /// The time of the next attempt.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.resume_at
    }

    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(target: "alle::client", "cannot accept connections for now: {error}");
        }
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
        if self.is_ready() && !spare.take_again() {
            self.complain(&Errno::MFILE.into());
            self.pause(now);
        }
        let mut is_excess = false;
        while self.is_ready() {
            match self.listener.socket.accept() {
                Ok((stream, _)) if !is_excess && spare.is_reserved(&stream) => {
                    self.complain(&Errno::MFILE.into());
                    return Some(Accepted {
                        stream: spare.put_in(stream),
                        is_excess: true,
                    });
                }
                Ok((stream, _)) => {
                    self.complained &= is_excess;
                    return Some(Accepted { stream, is_excess });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                // Its owner has closed it for all who accept there.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    self.ready = false;
                }
                // The peer gave up, or a signal interrupted the call: another connection may wait.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    self.complain(&error);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_descriptors_are_reserved_or_a_quarter_of_few() {
        for (open_files_max, from) in [
            (Some(0), 0),
            (Some(3), 3),
            (Some(4), 3),
            (Some(40), 30),
            (Some(63), 48),
            (Some(64), 48),
            (Some(65), 49),
            (Some(1_024), 1_008),
            (Some(u64::MAX), RawFd::MAX),
            (None, RawFd::MAX),
        ] {
            assert_eq!(reserved_from(open_files_max), from, "{open_files_max:?}");
        }
    }
}
