//! The service manager (systemd): the sockets it listens on for us, and our reports to it.
//!
//! Refuses to know the environment: it is given the values. Nothing here can fail the bridge once
//! it runs (sd_notify(3): errors are to be ignored).

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

/// The listening sockets that a service manager passed us, by their purpose.
#[derive(Debug, Default)]
pub(crate) struct PassedListeners {
    pub(crate) clients: Option<Listener>,
    pub(crate) admin: Option<Listener>,
}

impl PassedListeners {
    /// Takes as many sockets as `LISTEN_FDS` says (sd_listen_fds(3)), and unsets that; `names` are
    /// their names, separated by colons (`LISTEN_FDNAMES`). The one named `admin` is for the admin
    /// address, the other one for clients. Their order has no meaning: sockets of several units
    /// come in any.
    ///
    /// # Errors
    ///
    /// One of them is no TCP socket, or two have the same purpose.
    pub(crate) fn take(names: &str) -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut taken = Self::default();
        for index in 0..passed.len() {
            let (place, twice) = if names.next() == Some(ADMIN_NAME) {
                (&mut taken.admin, "2 sockets are named admin")
            } else {
                (&mut taken.clients, "2 sockets are for clients")
            };
            let Some(socket) = passed.take_tcp_listener(index)? else {
                continue;
            };
            if place.replace(Listener::adopt(socket.into())?).is_some() {
                return Err(io::Error::other(format!(
                    "{twice}: set FileDescriptorName=admin for the admin address alone"
                )));
            }
        }
        Ok(taken)
    }
}

/// The `FileDescriptorName=` of systemd.socket(5). Without it a socket has the name of its unit.
const ADMIN_NAME: &str = "admin";

/// Reports our state to the service manager (sd_notify(3)).
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

    /// Connections are accepted.
    pub(crate) fn tell_ready(&self) {
        self.tell("READY=1");
    }

    /// The shutdown has begun.
    pub(crate) fn tell_stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            tracing::warn!(
                target: "alle::bridge",
                "cannot tell the service manager {state}: {error}"
            );
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
