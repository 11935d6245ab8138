//! TLS between the sockets of clients and the hub, which knows nothing of it.
//!
//! Owns the state of TLS by slot, and the buffers that all clients share: an idle one has none. What
//! the hub lends stays shared, and is encrypted into one of these buffers; only what a socket did not
//! take of that is kept for its client. Decides nothing: who may speak with us is written in
//! certificates, and what clients say is the hub's.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

mod client_certificate;
mod connection;
mod pairs;
mod renewal;
mod setup;
mod stream;
mod tickets;

use std::{io, sync::Arc};

use mio::{Waker, net::TcpStream};

pub(super) use self::client_certificate::ClientCertificate;
pub use self::connection::Connection;
pub(crate) use self::setup::TlsSource;
use self::{
    connection::{RECORD_BYTES_MAX, RECORD_OVERHEAD},
    renewal::{INTERVAL, Renewal},
    setup::TlsSetup,
    stream::{Received, TlsStream},
};
use crate::{
    config::TlsConfigError,
    delivery::outgoing::{Outgoing, Written},
    metrics::Metrics,
};

/// TLS with all clients.
pub(super) struct ClientTls {
    /// For connections that come from now on.
    setup: TlsSetup,
    renewal: Renewal,
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
    /// It is to be let go.
    Lost,
}

impl ClientTls {
    /// Wakes the loop when certificates were read again.
    pub(super) fn new(from: TlsSource, waker: Arc<Waker>) -> io::Result<Self> {
        let TlsSource { setup, source } = from;
        Ok(Self {
            setup,
            renewal: Renewal::start(source, INTERVAL, waker)?,
            streams: Vec::new(),
            buffers: Buffers {
                plain: Vec::new(),
                out: Vec::new(),
                gathered: Vec::with_capacity(RECORD_BYTES_MAX),
                record: vec![0; RECORD_BYTES_MAX + RECORD_OVERHEAD].into_boxed_slice(),
            },
        })
    }

    /// Whether the admin address speaks it, too.
    pub(super) fn is_for_admin(&self) -> bool {
        self.setup.admin.is_some()
    }

    /// When the first certificate ends, in seconds since 1970.
    pub(super) fn ends_at(&self) -> Option<u64> {
        self.setup.ends_at()
    }

    /// Reads the certificates again, soon.
    pub(super) fn renew(&self) {
        self.renewal.ask();
    }

    /// Whether they were read again, and with which success. What cannot be used changes nothing.
    pub(super) fn poll_renewed(&mut self) -> Option<Result<(), TlsConfigError>> {
        let read = self.renewal.poll()?;
        Some(read.map(|setup| self.setup = setup))
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

    /// Whether first bytes came in the slot.
    pub(super) fn has_begun(&self, slot: usize) -> bool {
        self.stream(slot).is_some()
    }

    /// First bytes came in the slot.
    pub(super) fn begin(&mut self, slot: usize, is_admin: bool) {
        let admin = self.setup.admin.as_ref().filter(|_| is_admin);
        let stream = TlsStream::new(admin.unwrap_or(&self.setup.config));
        if self.streams.len() <= slot {
            self.streams.resize_with(slot + 1, || None);
        }
        // An error would be one of the configuration, which was tried.
        self.streams[slot] = stream.ok().map(Box::new);
    }

    /// The certificate of the client in the slot.
    pub(super) fn certificate(&self, slot: usize) -> Option<ClientCertificate> {
        let certificate = self.stream(slot)?.connection().client_certificate()?;
        ClientCertificate::read(certificate)
    }

    /// Takes the `first` bytes of `buffer`, which were read before, or, where that are none, reads once.
    pub(super) fn read(
        &mut self,
        slot: usize,
        socket: &TcpStream,
        first: usize,
        buffer: &mut [u8],
        metrics: &mut Metrics,
    ) -> Input {
        self.buffers.plain.clear();
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
                tracing::debug!(target: "alle::bridge", client = slot, "TLS: {error}");
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
