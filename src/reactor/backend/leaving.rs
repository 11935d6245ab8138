//! The sockets of a session that was given up: its own, whose end is waited for, and the one that
//! asks the server for that end.
//!
//! Knows the requests as bytes alone; the backend says when one is sent again.

use std::io;

use mio::Registry;

use super::{Origin, Stream};
use crate::{
    backend::{Encryption, Role},
    pg::{config::Keepalive, session::Departure},
    reactor::{
        socket::BackendSocket,
        source::Source,
        tls::{Connector, Progress, Securing},
    },
};

/// A session that was given up.
#[derive(Debug)]
pub(super) struct Leaver {
    stream: Stream,
    origin: Origin,
    /// Since the last event that may have announced bytes, no read has found the socket empty.
    readable: bool,
    cancelling: Cancelling,
}

/// How far a CancelRequest has come.
#[derive(Debug, Default)]
enum Cancelling {
    #[default]
    None,
    Connecting(BackendSocket, Option<Connector>, Vec<u8>),
    Securing(Box<Securing>, Vec<u8>),
    /// The server closes the connection when it has acted.
    Sent(Stream),
}

impl Leaver {
    /// Sends the farewell: nothing else will be.
    pub(super) fn new(
        mut stream: Stream,
        origin: Origin,
        departure: &Departure,
        role: Role,
        registry: &Registry,
    ) -> io::Result<Self> {
        registry.deregister(stream.socket_mut())?;
        register(stream.socket_mut(), role, registry)?;
        // All of it fits where nothing waits, and the end of the stream says the same.
        let _may_be_full = stream.write(&departure.farewell);
        stream.socket_mut().take_leave()?;
        Ok(Self {
            stream,
            origin,
            readable: true,
            cancelling: Cancelling::None,
        })
    }

    /// Connects for a CancelRequest, in place of the last one.
    pub(super) fn cancel(
        &mut self,
        departure: &Departure,
        role: Role,
        registry: &Registry,
    ) -> io::Result<()> {
        let mut socket = match &self.origin {
            Origin::Unix(path) => BackendSocket::connect_unix(path)?,
            Origin::Tcp { address, .. } => {
                BackendSocket::connect_tcp(*address, &Keepalive::default())?
            }
        };
        register(&mut socket, role, registry)?;
        let connector = match (&self.origin, &self.stream) {
            (Origin::Tcp { connector, .. }, Stream::Tls(_)) => connector.clone(),
            (Origin::Tcp { .. } | Origin::Unix(_), Stream::Plain(_) | Stream::Tls(_)) => None,
        };
        let request = departure.cancel_request.to_vec();
        self.cancelling = Cancelling::Connecting(socket, connector, request);
        self.advance();
        Ok(())
    }

    pub(super) fn handle_event(&mut self) {
        self.readable = true;
        self.advance();
    }

    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Reads at most one buffer and drops the bytes. Returns whether the session has ended.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> bool {
        if !self.readable {
            return false;
        }
        match self.stream.read(buffer) {
            Ok(bytes) => bytes == 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                false
            }
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        }
    }

    fn advance(&mut self) {
        self.cancelling = match std::mem::take(&mut self.cancelling) {
            Cancelling::None => Cancelling::None,
            Cancelling::Connecting(socket, connector, request) => {
                match (socket.check_connected(), connector) {
                    (Ok(()), None) => sent(Stream::Plain(socket), &request),
                    (Ok(()), Some(connector)) => {
                        let securing = Securing::new(socket, connector, Encryption::Required);
                        secured(securing.advance(), request)
                    }
                    (Err(error), connector) if error.kind() == io::ErrorKind::WouldBlock => {
                        Cancelling::Connecting(socket, connector, request)
                    }
                    (Err(_), _) => Cancelling::None,
                }
            }
            Cancelling::Securing(securing, request) => secured(securing.advance(), request),
            Cancelling::Sent(mut stream) => match stream.read(&mut [0; 64]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Cancelling::Sent(stream),
                Ok(_) | Err(_) => Cancelling::None,
            },
        };
    }
}

fn secured(progress: Progress, request: Vec<u8>) -> Cancelling {
    match progress {
        Progress::Pending(securing) => Cancelling::Securing(securing, request),
        Progress::Secured(socket, _) => sent(Stream::Tls(socket), &request),
        // The key is sent only over TLS, as the session had it.
        Progress::Plain(_) | Progress::Lost(_) | Progress::Failed(_) => Cancelling::None,
    }
}

/// Sixteen bytes fit into any socket that is new.
fn sent(mut stream: Stream, request: &[u8]) -> Cancelling {
    match stream.write(request) {
        Ok(bytes) if bytes == request.len() => Cancelling::Sent(stream),
        Ok(_) | Err(_) => Cancelling::None,
    }
}

fn register(socket: &mut BackendSocket, role: Role, registry: &Registry) -> io::Result<()> {
    super::register(socket, Source::Leaving(role), registry)
}
