//! The service manager (systemd): our reports to it.
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
