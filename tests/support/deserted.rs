//! A port where nobody listens, for as long as a test says so.
//!
//! Knows that a socket which is bound and does not listen refuses connections. Refuses to give the
//! port up: whatever bound it next, in this test or beside it, would answer there.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Holds the port until dropped.
pub(crate) struct Deserted(Socket);

impl Deserted {
    pub(crate) fn hold() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}
