//! TLS with one client, without a socket: bytes come in and go out.
//!
//! Keeps no bytes but the front of a record whose rest is to come. Knows neither the meaning of the
//! bytes nor how many more may wait for the socket.

use std::sync::Arc;

use rustls::{
    Error, HandshakeKind, ServerConfig,
    pki_types::CertificateDer,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus},
};

/// The state of TLS with one client.
pub struct Connection {
    tls: UnbufferedServerConnection,
    /// The front of a record, or of a handshake's message. TLS goes by places in it: it is to be shown
    /// these bytes whenever it is asked for something.
    partial: Vec<u8>,
    /// The client sends nothing more.
    is_ended: bool,
    /// We have said that we send nothing more, or there is no saying so.
    is_close_sent: bool,
}

impl Connection {
    /// Before the client's first byte.
    ///
    /// # Errors
    ///
    /// The configuration cannot be used.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(Arc::clone(config))?,
            partial: Vec::new(),
            is_ended: false,
            is_close_sent: false,
        })
    }

    /// Whether the handshake goes on.
    pub fn is_shaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether the handshake went by a ticket.
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the client came with, where one was verified.
    pub fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates()?.first()
    }

    /// Whether the client has said that it sends nothing more (`close_notify`).
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// What is to stand before the next bytes of the client when they are [received](Self::receive).
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Takes bytes of the client, [the rest](Self::partial) of those before in front. What they say is
    /// appended to `plain`, and what is to be answered to `out`: even where this fails, since the client
    /// shall know why.
    ///
    /// # Errors
    ///
    /// It is no TLS, or has nothing in common with ours: the connection is over.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut at = 0;
        let received = self.process(input, &mut at, plain, out);
        self.partial.clear();
        if received.is_ok() && !self.is_ended {
            self.partial.extend_from_slice(&input[at..]);
        }
        if self.partial.is_empty() {
            // An idle client keeps none.
            self.partial = Vec::new();
        }
        received
    }

    fn process(
        &mut self,
        input: &mut [u8],
        at: &mut usize,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.tls.process_tls_records(&mut input[*at..]);
            let mut discard = discard;
            let is_over = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, out);
                    false
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.is_ended = true;
                    false
                }
                Ok(_) => true,
                Err(error) => {
                    self.fail(&mut input[*at..], out);
                    return Err(error);
                }
            };
            *at += discard;
            if is_over {
                return Ok(());
            }
        }
    }

    /// What was to be sent, with the alert as its last, is all that TLS may still be asked for: beyond it,
    /// it would look for more in the bytes at which it failed.
    fn fail(&mut self, input: &mut [u8], out: &mut Vec<u8>) {
        self.is_close_sent = true;
        while self.tls.wants_write() {
            let UnbufferedStatus { state, .. } = self.tls.process_tls_records(input);
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Encrypts `plain`, one record at most, and writes it to the front of `out` behind what is to go
    /// before it; so many bytes. `None` if TLS allows no more, or `out` has too little room.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        let mut written = 0;
        loop {
            let UnbufferedStatus { discard, state } =
                self.tls.process_tls_records(&mut self.partial);
            debug_assert_eq!(discard, 0, "it was received to its end");
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let bytes = traffic.encrypt(plain, &mut out[written..]).ok()?;
                    return Some(written + bytes);
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    written += data.encode(&mut out[written..]).ok()?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// Says, once, that we send nothing more (`close_notify`): the bytes are written to the front of
    /// `out`; so many.
    pub fn close(&mut self, out: &mut [u8]) -> usize {
        if self.is_shaking() || std::mem::replace(&mut self.is_close_sent, true) {
            return 0;
        }
        // What the client has begun is not read to its end any more.
        let mut partial = std::mem::take(&mut self.partial);
        let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut partial);
        match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.queue_close_notify(out).unwrap_or(0)
            }
            Ok(_) | Err(_) => 0,
        }
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let at = out.len();
    if let Err(EncodeError::InsufficientSize(error)) = data.encode(&mut []) {
        out.resize(at + error.required_size, 0);
        let encoded = data.encode(&mut out[at..]);
        debug_assert!(encoded.is_ok(), "it was given the room that it asked for");
    }
}

/// Bytes of a record beyond its plain text, with room for another record of the protocol's own, such
/// as that of new keys.
pub(super) const RECORD_OVERHEAD: usize = 512;
/// Plain bytes of a record (RFC 8446, 5.1).
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024;
