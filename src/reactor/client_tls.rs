//! TLS between the sockets of clients and the hub, which knows nothing of it.
//!
//! Owns the state of TLS by slot, and the buffers that all clients share: an idle one has none. What
//! the hub lends stays shared, and is encrypted into one of these buffers; only what a socket did not
//! take of that is kept for its client. Decides nothing: who may speak with us is written in
//! certificates, and what clients say is the hub's.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

mod connection;
mod pairs;
mod setup;
mod stream;

use std::{io, sync::Arc};

use mio::net::TcpStream;
use rustls::ServerConfig;

pub(crate) use self::setup::TlsSetup;
use self::{
    connection::{RECORD_BYTES_MAX, RECORD_OVERHEAD},
    stream::{Received, TlsStream},
};
use crate::{
    delivery::outgoing::{Outgoing, Written},
    metrics::Metrics,
};

/// TLS with all clients.
pub(super) struct ClientTls {
    config: Arc<ServerConfig>,
    /// Whether the admin address speaks it, too.
    pub(super) is_for_admin: bool,
    /// By slot; none before a client's first bytes.
    streams: Vec<Option<Box<TlsStream>>>,
    buffers: Buffers,
}

/// The buffers of all clients.
pub(super) struct Buffers {
    /// What one read of one client says.
    plain: Vec<u8>,
    /// What TLS itself has to answer to that.
    out: Vec<u8>,
    /// Pieces that go out in one record.
    gathered: Vec<u8>,
    /// A record.
    record: Box<[u8]>,
}

/// What came of a client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// [`ClientTls::plain`] says what the client says, which may be nothing.
    Plain {
        /// The socket may have more that no event announces.
        is_more: bool,
    },
    /// The client sends nothing more.
    End,
    /// It does not speak TLS: HTTP in clear text, by its first byte.
    Clear,
    /// It is to be let go.
    Lost,
}

impl ClientTls {
    pub(crate) fn new(setup: TlsSetup) -> Self {
        Self {
            config: setup.config,
            is_for_admin: setup.is_for_admin,
            streams: Vec::new(),
            buffers: Buffers {
                plain: Vec::new(),
                out: Vec::new(),
                gathered: Vec::with_capacity(RECORD_BYTES_MAX),
                record: vec![0; RECORD_BYTES_MAX + RECORD_OVERHEAD].into_boxed_slice(),
            },
        }
    }

    /// A connection begins in the slot, or has ended.
    pub(super) fn clear(&mut self, slot: usize) {
        if let Some(stream) = self.streams.get_mut(slot) {
            *stream = None;
        }
    }

    /// Whether the handshake of the client is to be done.
    pub(super) fn is_shaking(&self, slot: usize) -> bool {
        self.stream(slot)
            .is_none_or(|it| it.connection().is_shaking())
    }

    /// Memory kept for the client, beyond the state of TLS.
    pub(super) fn kept_bytes(&self, slot: usize) -> usize {
        self.stream(slot).map_or(0, TlsStream::kept_bytes)
    }

    /// What the client said last; it is unmasked there.
    pub(super) fn plain(&mut self) -> &mut [u8] {
        &mut self.buffers.plain
    }

    /// Reads once, into `buffer`, of which the first bytes may hold some that were read before.
    pub(super) fn read(
        &mut self,
        slot: usize,
        socket: &TcpStream,
        buffer: &mut [u8],
        metrics: &mut Metrics,
    ) -> Input {
        self.buffers.plain.clear();
        let mut first = 0;
        if self.stream(slot).is_none() {
            first = match read(socket, &mut buffer[..stream::READ_BYTES]) {
                Ok(Some(0)) => return Input::End,
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Input::Plain { is_more: false },
                Err(_) => return Input::Lost,
            };
            // Each method of HTTP begins so, and no record of TLS (RFC 8446, 5.1).
            if buffer[0].is_ascii_uppercase() {
                return Input::Clear;
            }
            let Ok(stream) = TlsStream::new(&self.config) else {
                return Input::Lost;
            };
            if self.streams.len() <= slot {
                self.streams.resize_with(slot + 1, || None);
            }
            self.streams[slot] = Some(Box::new(stream));
        }
        let Some(Some(stream)) = self.streams.get_mut(slot) else {
            return Input::Lost;
        };
        let was_shaking = stream.connection().is_shaking();
        let received = stream.read(socket, first, buffer, &mut self.buffers);
        let connection = stream.connection();
        if was_shaking && !connection.is_shaking() {
            if connection.is_resumed() {
                metrics.tls_resumed += 1;
            } else {
                metrics.tls_full += 1;
            }
        }
        match received {
            Received::Bytes(bytes) => Input::Plain {
                is_more: bytes >= stream::READ_BYTES || connection.is_ended(),
            },
            Received::Nothing => Input::Plain { is_more: false },
            Received::End => Input::End,
            Received::Failed(error) => {
                metrics.tls_failed += u64::from(was_shaking);
                tracing::debug!(client = slot, "TLS: {error}");
                Input::Lost
            }
            Received::Lost => Input::Lost,
        }
    }

    /// Encrypts and writes what the hub lends for the slot.
    pub(super) fn write(
        &mut self,
        slot: usize,
        socket: &TcpStream,
        bytes: &Outgoing<'_>,
    ) -> io::Result<Written> {
        match self.streams.get_mut(slot) {
            Some(Some(stream)) => stream.write(socket, bytes, &mut self.buffers),
            // Its first bytes are to come.
            Some(None) | None => Ok(Written::Full(0)),
        }
    }

    /// The socket takes bytes again. Whether the hub may lend some.
    pub(super) fn flush(&mut self, slot: usize, socket: &TcpStream) -> io::Result<bool> {
        match self.streams.get_mut(slot) {
            Some(Some(stream)) => {
                let is_free = stream.flush(socket)?;
                Ok(is_free && !stream.connection().is_shaking())
            }
            Some(None) | None => Ok(false),
        }
    }

    /// Sends nothing more to the client, and says so, as soon as the socket took what waits.
    pub(super) fn finish(&mut self, slot: usize, socket: &TcpStream) {
        if let Some(Some(stream)) = self.streams.get_mut(slot) {
            // An error means that the peer is gone.
            let _gone = stream.finish(socket, &mut self.buffers);
        }
    }

    fn stream(&self, slot: usize) -> Option<&TlsStream> {
        self.streams.get(slot)?.as_deref()
    }
}

fn read(mut socket: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    use io::Read as _;
    loop {
        return match socket.read(buffer) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}
