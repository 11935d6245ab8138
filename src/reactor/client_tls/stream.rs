//! One client under TLS: its connection, and what its socket did not take.
//!
//! Knows when the hub may be told that bytes were written; not which client this is.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]

use std::{
    io::{self, IoSlice, Write},
    net::Shutdown,
    sync::Arc,
};

use mio::net::TcpStream;
use rustls::{Error, ServerConfig};

use super::{
    Buffers,
    connection::{Connection, RECORD_BYTES_MAX},
};
use crate::{
    delivery::outgoing::{Outgoing, Written},
    reactor::socket,
};

/// TLS on one socket.
pub(super) struct TlsStream {
    connection: Connection,
    /// Encrypted, and not taken by the socket: what one record has, mostly.
    pending: Vec<u8>,
    /// Plain bytes that are encrypted and of which the hub does not know yet: one, or none. As long as
    /// the hub believes that something waits for this client, it does nothing that has to wait for
    /// `pending`, and drops nothing of a frame begun.
    unreported: usize,
    /// Our side is shut down once `pending` is gone; what still comes is dropped.
    is_finishing: bool,
    /// It is shut down. Each further time would be an event of its own.
    is_shut: bool,
}

/// What came of a read.
#[derive(Debug)]
pub(super) enum Received {
    /// So many bytes came in, which say what the buffer has now.
    Bytes(usize),
    /// The socket has none.
    Nothing,
    /// The client sends nothing more.
    End,
    /// It does not speak TLS, or not ours.
    Failed(Error),
    /// The socket is lost.
    Lost,
}

impl TlsStream {
    pub(super) fn new(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::new(config)?,
            pending: Vec::new(),
            unreported: 0,
            is_finishing: false,
            is_shut: false,
        })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Memory kept for the client beyond what TLS itself needs.
    pub(super) fn kept_bytes(&self) -> usize {
        self.connection.partial().len() + self.pending.len()
    }

    /// Reads once. `first` bytes were read before and stand at the front of `buffer`.
    pub(super) fn read(
        &mut self,
        socket: &TcpStream,
        first: usize,
        buffer: &mut [u8],
        buffers: &mut Buffers,
    ) -> Received {
        if self.connection.is_ended() {
            return Received::End;
        }
        if self.is_finishing {
            // Its end is waited for.
            return match read(socket, &mut buffer[..READ_BYTES]) {
                Ok(bytes) => Received::Bytes(bytes),
                Err(otherwise) => otherwise,
            };
        }
        let (mut end, mut bytes) = (first, first);
        if first == 0 {
            let partial = self.connection.partial();
            buffer[..partial.len()].copy_from_slice(partial);
            let room = &mut buffer[partial.len()..][..READ_BYTES];
            bytes = match read(socket, room) {
                Ok(bytes) => bytes,
                Err(otherwise) => return otherwise,
            };
            end = partial.len() + bytes;
        }
        let Buffers { plain, out, .. } = buffers;
        out.clear();
        let received = self.connection.receive(&mut buffer[..end], plain, out);
        let sent = self.send(socket, out);
        match received {
            Err(error) => Received::Failed(error),
            Ok(()) if self.connection.is_shaking() && self.kept_bytes() > HANDSHAKE_BYTES_MAX => {
                Received::Failed(Error::General("its handshake is too long".to_owned()))
            }
            Ok(()) if sent.is_err() => Received::Lost,
            Ok(()) => Received::Bytes(bytes),
        }
    }

    /// Encrypts what the hub lends, as far as the socket takes it.
    pub(super) fn write(
        &mut self,
        socket: &TcpStream,
        bytes: &Outgoing<'_>,
        buffers: &mut Buffers,
    ) -> io::Result<Written> {
        if self.connection.is_shaking() || !self.pending.is_empty() {
            return Ok(Written::Full(0));
        }
        let (one, many);
        let pieces = match bytes {
            Outgoing::One(bytes) => {
                one = [IoSlice::new(bytes)];
                &one[..]
            }
            Outgoing::Many(pieces) => {
                many = pieces.slices();
                &many.0[..many.1]
            }
        };
        let length: usize = pieces.iter().map(|it| it.len()).sum();
        let Buffers {
            gathered, record, ..
        } = buffers;
        let (mut taken, mut waiting, mut skipped) = (0, 0, self.unreported);
        gathered.clear();
        for piece in pieces {
            let mut rest = &piece[skipped.min(piece.len())..];
            taken += piece.len() - rest.len();
            skipped -= piece.len() - rest.len();
            while !rest.is_empty() {
                let room = RECORD_BYTES_MAX - gathered.len();
                let (now, later) = rest.split_at(rest.len().min(room));
                rest = later;
                taken += now.len();
                waiting += now.len();
                let is_last = taken == length;
                if waiting < RECORD_BYTES_MAX && !is_last {
                    gathered.extend_from_slice(now);
                    continue;
                }
                let plain = if gathered.is_empty() {
                    now
                } else {
                    gathered.extend_from_slice(now);
                    &gathered[..]
                };
                if !self.send_record(socket, plain, record)? {
                    self.unreported = 1;
                    return Ok(Written::Full(taken - 1));
                }
                gathered.clear();
                waiting = 0;
            }
        }
        self.unreported = 0;
        Ok(Written::All)
    }

    /// Whether the socket took all of the record.
    fn send_record(
        &mut self,
        socket: &TcpStream,
        plain: &[u8],
        record: &mut [u8],
    ) -> io::Result<bool> {
        let encrypted = self.connection.encrypt(plain, record);
        let bytes = encrypted.ok_or(io::ErrorKind::ConnectionAborted)?;
        self.send(socket, &record[..bytes])?;
        Ok(self.pending.is_empty())
    }

    /// Writes what waits, as far as the socket takes it. Whether nothing waits any more.
    pub(super) fn flush(&mut self, socket: &TcpStream) -> io::Result<bool> {
        if !self.pending.is_empty() {
            let written = write(socket, &self.pending)?;
            if written < self.pending.len() {
                self.pending.drain(..written);
                return Ok(false);
            }
            self.pending = Vec::new();
        }
        if self.is_finishing && !self.is_shut {
            self.is_shut = true;
            socket.shutdown(Shutdown::Write)?;
        }
        Ok(!self.is_finishing)
    }

    /// Sends nothing more, and says so.
    pub(super) fn finish(&mut self, socket: &TcpStream, buffers: &mut Buffers) -> io::Result<()> {
        if self.is_finishing {
            return Ok(());
        }
        let record = &mut buffers.record;
        let bytes = self.connection.close(record);
        self.send(socket, &record[..bytes])?;
        self.is_finishing = true;
        self.flush(socket).map(drop)
    }

    /// Writes behind what waits already; keeps what the socket does not take.
    fn send(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if self.pending.is_empty() && !rest.is_empty() {
            rest = &rest[write(socket, rest)?..];
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }
}

/// So many bytes came; `Err`: what became of the socket otherwise.
fn read(socket: &TcpStream, buffer: &mut [u8]) -> Result<usize, Received> {
    match socket::read(socket, buffer) {
        Ok(Some(0)) => Err(Received::End),
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Received::Nothing),
        Err(_) => Err(Received::Lost),
    }
}

/// So many bytes went.
fn write(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        return match socket.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            written => written,
        };
    }
}

/// One read of one client, as of those that speak in clear text.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Of a handshake's message that is not complete: some 20 times a usual hello, or a chain of
/// certificates.
const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
