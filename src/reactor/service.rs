//! The service manager (systemd): the sockets it listens on for us, and what it is told.
//!
//! Refuses to know the environment: it is given what stood there. Nothing here can fail the bridge
//! once it runs (sd_notify(3): errors are to be ignored).

use std::{
    ffi::OsStr,
    io,
    os::unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
};

use listenfd::ListenFd;

use super::accept::Listener;

/// What a service manager passed us: clients' address first, then the admin address. Each is taken
/// once. Without one, or with sockets meant for another process, there are none.
pub(crate) struct PassedListeners {
    passed: ListenFd,
    taken: usize,
}

impl PassedListeners {
    /// As `LISTEN_FDS` and `LISTEN_PID` say (sd_listen_fds(3)), which are unset.
    pub(crate) fn take() -> Self {
        Self {
            passed: ListenFd::from_env(),
            taken: 0,
        }
    }

    /// The next one; an error if that is no TCP socket.
    pub(crate) fn next(&mut self) -> io::Result<Option<Listener>> {
        let next = self.passed.take_tcp_listener(self.taken)?;
        self.taken += 1;
        next.map(|socket| Listener::adopt(socket.into()))
            .transpose()
    }
}

/// Tells the service manager how far we are (sd_notify(3)).
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    /// `notify_socket` is a path, or `@` and an abstract name.
    pub(crate) fn new(notify_socket: &OsStr) -> io::Result<Self> {
        let address = match notify_socket.as_bytes().strip_prefix(b"@") {
            Some(name) => abstract_address(name)?,
            None => SocketAddr::from_pathname(notify_socket)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Connections are taken.
    pub(crate) fn tell_ready(&self) {
        self.tell("READY=1");
    }

    /// The end has begun.
    pub(crate) fn tell_stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            tracing::warn!("cannot tell the service manager {state}: {error}");
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}
