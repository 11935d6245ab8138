//! A build without TLS: what is left is to say so.
//!
//! The same names as in `tls.rs`, of which only the error can exist.

use std::{
    convert::Infallible,
    fmt,
    io::{self, Read, Write},
};

use super::socket::BackendSocket;
use crate::{
    backend::Encryption,
    pg::config::{Server, SslMode, Tls},
};

#[derive(Clone, Debug)]
pub(super) struct Connector(Infallible);

impl Connector {
    pub(super) fn new(tls: &Tls, _server: &Server) -> Result<Self, TlsError> {
        Err(TlsError {
            is_preferred: tls.mode == SslMode::Prefer,
        })
    }
}

#[derive(Debug)]
pub(super) struct Securing(Infallible);

#[derive(Debug)]
#[expect(dead_code, reason = "nothing of it comes about without TLS")]
pub(super) enum Progress {
    Pending(Box<Securing>),
    Plain(BackendSocket),
    Secured(TlsSocket, Option<Vec<u8>>),
    Lost(io::Error),
    Failed(TlsError),
}

impl Securing {
    pub(super) fn new(
        _socket: BackendSocket,
        connector: Connector,
        _encryption: Encryption,
    ) -> Self {
        match connector.0 {}
    }

    pub(super) fn has_begun(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn advance(self) -> Progress {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(super) struct TlsSocket(Infallible);

impl TlsSocket {
    #[expect(clippy::needless_pass_by_ref_mut, reason = "as in `tls.rs`")]
    pub(super) fn socket_mut(&mut self) -> &mut BackendSocket {
        match self.0 {}
    }
}

impl Read for TlsSocket {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for TlsSocket {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(super) struct TlsError {
    /// It goes on in clear text: there is nothing to set.
    is_preferred: bool,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_preferred {
            "this program was built without TLS (its feature `tls`)"
        } else {
            "this program was built without TLS (its feature `tls`; or set sslmode=prefer)"
        })
    }
}
