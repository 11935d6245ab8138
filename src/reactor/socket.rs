//! Sockets with their options, reads, and writes that say whether the socket took all.
//!
//! Knows the options and their reasons; not the owner of a socket, nor the time of its use.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

#[cfg(target_os = "linux")]
use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr as SocketAddrUnix};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::Duration,
};

use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, TcpStream, UnixStream},
};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::{
    delivery::outgoing::{Outgoing, Written},
    pg::config::{Keepalive, Peer},
};

/// A listening socket whose options its connections inherit.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    adopt(socket)
}

/// The same for one of several sockets of one address (socket(7), `SO_REUSEPORT`).
pub(super) fn listen_shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    adopt(socket)
}

/// The same for a socket that is bound, and may listen already.
pub(super) fn adopt(socket: Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    // A frame is written whole; nothing is gained by waiting for more.
    socket.set_tcp_nodelay(true)?;
    // A reader that stalls pins a few kilobytes of kernel memory instead of megabytes.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    // mio and std ask for 128: in a storm of handshakes, SYNs then wait a second.
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// A peer that never sends anything is seen to be gone by bytes alone that nobody acknowledges, and the
/// kernel would wait a quarter of an hour for that. A peer with little room, which takes a little at a
/// time, is gone for it as well (Linux counts from when it last had room for all that was to be sent): it
/// is for those only that cannot be asked.
pub(super) fn give_up_unacknowledged(stream: &TcpStream) {
    // An error means that the connection has ended.
    #[cfg(target_os = "linux")]
    let _set = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Reads so many bytes, 0 at the end; `None` if there are none yet.
pub(super) fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        return match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map(Some),
        };
    }
}

/// Writes `bytes`. `WouldBlock` and short writes are [`Written::Full`].
pub(super) fn write(mut stream: &TcpStream, bytes: &Outgoing<'_>) -> io::Result<Written> {
    loop {
        let (result, length) = match bytes {
            Outgoing::One(bytes) => (stream.write(bytes), bytes.len()),
            Outgoing::Many(pieces) => {
                let (slices, count) = pieces.slices();
                let slices = &slices[..count];
                let length = slices.iter().map(|slice| slice.len()).sum();
                (stream.write_vectored(slices), length)
            }
        };
        return match result {
            Ok(written) if written == length => Ok(Written::All),
            Ok(written) => Ok(Written::Full(written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Written::Full(0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

/// A socket to PostgreSQL.
#[derive(Debug)]
pub(super) enum BackendSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl BackendSocket {
    /// Begins to connect.
    pub(super) fn connect_tcp(address: SocketAddr, keepalive: &Keepalive) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        if keepalive.is_on {
            let mut asked = TcpKeepalive::new();
            if let Some(idle) = keepalive.idle {
                asked = asked.with_time(idle);
            }
            if let Some(interval) = keepalive.interval {
                asked = asked.with_interval(interval);
            }
            if let Some(count) = keepalive.count {
                asked = asked.with_retries(count);
            }
            socket.set_keepalive(true)?;
            socket.set_tcp_keepalive(&asked)?;
        }
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(keepalive.user_timeout)?;
        Ok(Self::Tcp(stream))
    }

    /// Connects; a path that begins with `@` is one of Linux's abstract namespace.
    pub(super) fn connect_unix(path: &Path) -> io::Result<Self> {
        match path.as_os_str().as_bytes().strip_prefix(b"@") {
            None => UnixStream::connect(path).map(Self::Unix),
            #[cfg(target_os = "linux")]
            Some(name) => {
                let address = SocketAddrUnix::from_abstract_name(name)?;
                UnixStream::connect_addr(&address).map(Self::Unix)
            }
            #[cfg(not(target_os = "linux"))]
            Some(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this system has no abstract sockets",
            )),
        }
    }

    /// Whether the process at the other end is of a user that it has to be of.
    pub(super) fn check_peer(&self, peer: &Peer) -> io::Result<()> {
        let Self::Unix(stream) = self else {
            return Ok(());
        };
        let user_id = user_id_of_peer(stream)?;
        if peer.accepts(user_id) {
            return Ok(());
        }
        let wanted = match &peer.name {
            Some(name) => format!("requirepeer demands user \"{name}\""),
            None => "in this directory only root and this program's user are trusted (set \
                     requirepeer)"
                .to_owned(),
        };
        let why = format!("the socket belongs to a process of user {user_id}, and {wanted}");
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    }

    /// Sends nothing more. What is on its way is lost soon, and not after the quarter of an hour
    /// that the kernel takes, if the other end is gone.
    pub(super) fn take_leave(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                #[cfg(target_os = "linux")]
                SockRef::from(stream).set_tcp_user_timeout(Some(LEAVING_TIMEOUT))?;
                stream.shutdown(Shutdown::Write)
            }
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Whether the connection is made; `WouldBlock` while it is not yet known.
    pub(super) fn check_connected(&self) -> io::Result<()> {
        let Self::Tcp(stream) = self else {
            return Ok(());
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(target_os = "linux")]
fn user_id_of_peer(stream: &UnixStream) -> io::Result<u32> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(credentials.uid.as_raw())
}

#[cfg(not(target_os = "linux"))]
fn user_id_of_peer(_stream: &UnixStream) -> io::Result<u32> {
    let why = "requirepeer is not supported on this system";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

impl Read for BackendSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for BackendSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for BackendSocket {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
            Self::Unix(stream) => stream.register(registry, token, interest),
        }
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interest),
            Self::Unix(stream) => stream.reregister(registry, token, interest),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}

/// Shorter than the time in which the next session may be found silent.
#[cfg(target_os = "linux")]
const LEAVING_TIMEOUT: Duration = Duration::from_secs(15);
/// For bytes of ours that a reader of events does not acknowledge: longer than an outage that a network
/// gets over. Each reader is sent some every 25 s.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections the kernel completes before we accept them.
const BACKLOG: i32 = 4_096;
/// Unsent bytes that the kernel holds for a socket.
const NOTSENT_LOWAT_BYTES: u32 = 16 * 1024;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// What costs no call for each client.
    #[test]
    fn a_connection_has_the_options_of_the_listening_socket() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT_BYTES);
        assert!(socket.tcp_nodelay().unwrap());
        // Whoever can be asked is not given up by the kernel.
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        give_up_unacknowledged(&accepted);
        let timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(UNACKNOWLEDGED_TIMEOUT));
    }
}
