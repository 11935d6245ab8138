//! A build without TLS: a bridge that speaks it is another program's.

#![expect(
    clippy::disallowed_types,
    reason = "the command line is a shell: it has sockets"
)]

use std::{io, net::TcpStream};

pub(super) fn open(_socket: TcpStream) -> io::Result<TcpStream> {
    let why = "this program was built without TLS (its feature `tls`)";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}
