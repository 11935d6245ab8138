//! TLS between a socket and a session that knows nothing of it.
//!
//! Asks the server for TLS in PostgreSQL's way (PostgreSQL, "SSL Session Encryption"), shakes
//! hands, then encrypts. Who is trusted is `trust`'s; which server and when is decided elsewhere.

mod binding;
mod certificate;
mod chain;
mod error;
mod files;
mod identity;
mod name;
mod provider;
mod pss;
mod signature;
mod trust;

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection,
    pki_types::{CertificateDer, ServerName},
};

pub(super) use self::{
    certificate::{Certificate, Validity, content, element},
    error::TlsError,
    files::words,
    name::alternative_names,
    provider::provider,
};
use super::socket::BackendSocket;
use crate::{
    backend::Encryption,
    pg::config::{Server, Tls},
};

/// What a handshake with one server needs; made off the reactor, for it reads files.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    is_direct: bool,
}

impl Connector {
    pub(super) fn new(tls: &Tls, server: &Server) -> Result<Self, TlsError> {
        let host = server.host_name().ok_or(TlsError::Name)?;
        Ok(Self {
            config: Arc::new(trust::client_config(tls, &host)?),
            server_name: server_name(host),
            is_direct: tls.direct,
        })
    }
}

/// What is asked for in the clear (RFC 6066, 3); an address never is, and neither is what no
/// certificate could name, such as an address with a zone. The verifier goes by the host as it is.
fn server_name(host: String) -> ServerName<'static> {
    let nameless = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    ServerName::try_from(host).unwrap_or_else(|_| nameless.into())
}

/// A connection on its way to TLS.
///
/// Give it to [`advance`](Self::advance) after every event of its socket, until it ends.
#[derive(Debug)]
pub(super) struct Securing {
    socket: BackendSocket,
    connector: Connector,
    encryption: Encryption,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// So much of the question is sent.
    Asking(usize),
    /// The server owes one byte.
    Awaiting,
    ShakingHands(Box<ClientConnection>),
}

/// Where a connection got to.
#[derive(Debug)]
pub(super) enum Progress {
    /// It waits for the socket.
    Pending(Box<Securing>),
    /// The server has no TLS, and need not have it.
    Plain(BackendSocket),
    /// TLS stands; with the hash of the server's certificate, if its signature has one.
    Secured(TlsSocket, Option<Vec<u8>>),
    /// The connection failed before TLS was spoken.
    Lost(io::Error),
    /// TLS failed.
    Failed(TlsError),
}

impl Securing {
    pub(super) fn new(socket: BackendSocket, connector: Connector, encryption: Encryption) -> Self {
        Self {
            socket,
            connector,
            encryption,
            step: Step::Asking(0),
        }
    }

    /// Whether the server agreed to TLS.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.step, Step::ShakingHands(_))
    }

    /// Goes on as far as the socket lets it.
    pub(super) fn advance(mut self) -> Progress {
        loop {
            let step = match &mut self.step {
                Step::Asking(_) if self.connector.is_direct => self.connector.begin(),
                Step::Asking(sent) => match self.socket.write(&SSL_REQUEST[*sent..]) {
                    Ok(written) if *sent + written == SSL_REQUEST.len() => Ok(Step::Awaiting),
                    Ok(written) => Ok(Step::Asking(*sent + written)),
                    Err(error) => return self.stopped(error),
                },
                Step::Awaiting => {
                    // One byte and no more: what follows it belongs to TLS, and whoever put
                    // something in between must not be believed (CVE-2021-23222).
                    let mut answer = [0];
                    match (self.socket.read(&mut answer), self.encryption) {
                        (Ok(0), _) => return Progress::Lost(io::ErrorKind::UnexpectedEof.into()),
                        (Ok(_), _) if answer == *b"S" => self.connector.begin(),
                        (Ok(_), Encryption::Required) if answer == *b"N" => Err(TlsError::Refused),
                        (Ok(_), _) if answer == *b"N" => return Progress::Plain(self.socket),
                        // What an error says is not shown: anybody may have sent it.
                        (Ok(_), _) => return Progress::Lost(io::ErrorKind::InvalidData.into()),
                        (Err(error), _) => return self.stopped(error),
                    }
                }
                Step::ShakingHands(_) => return self.shake_hands(),
            };
            match step {
                Ok(step) => self.step = step,
                Err(error) => return Progress::Failed(error),
            }
        }
    }

    fn stopped(self, error: io::Error) -> Progress {
        if error.kind() == io::ErrorKind::WouldBlock {
            Progress::Pending(Box::new(self))
        } else if error.kind() == io::ErrorKind::Interrupted {
            self.advance()
        } else {
            Progress::Lost(error)
        }
    }

    fn shake_hands(mut self) -> Progress {
        let Step::ShakingHands(connection) = &mut self.step else {
            return Progress::Pending(Box::new(self));
        };
        let done = shake_hands(connection, &mut self.socket);
        match done {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Progress::Pending(Box::new(self));
            }
            Err(error) => {
                let error = TlsError::of(error, self.connector.is_direct);
                return Progress::Failed(error);
            }
        }
        // Whoever is spoken to unasked may speak something else under TLS, and we to him.
        if self.connector.is_direct && connection.alpn_protocol() != Some(trust::ALPN) {
            return Progress::Failed(TlsError::Protocol);
        }
        let Step::ShakingHands(connection) = self.step else {
            return Progress::Lost(io::ErrorKind::InvalidData.into());
        };
        let certificate = connection
            .peer_certificates()
            .and_then(<[CertificateDer<'_>]>::first);
        let end_point = certificate.and_then(|certificate| binding::end_point(certificate));
        let socket = self.socket;
        Progress::Secured(TlsSocket { connection, socket }, end_point)
    }
}

impl Connector {
    fn begin(&self) -> Result<Step, TlsError> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.server_name.clone())?;
        Ok(Step::ShakingHands(Box::new(connection)))
    }
}

fn shake_hands(connection: &mut ClientConnection, socket: &mut BackendSocket) -> io::Result<()> {
    while connection.is_handshaking() || connection.wants_write() {
        while connection.wants_write() {
            connection.write_tls(socket)?;
        }
        if connection.is_handshaking() {
            if connection.read_tls(socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Err(error) = connection.process_new_packets() {
                // The server shall know why; whether it does changes nothing.
                let _told = connection.write_tls(socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
    Ok(())
}

/// A socket under TLS; reads and writes what the session says, in the clear.
#[derive(Debug)]
pub(super) struct TlsSocket {
    connection: Box<ClientConnection>,
    socket: BackendSocket,
}

impl TlsSocket {
    pub(super) fn socket_mut(&mut self) -> &mut BackendSocket {
        &mut self.socket
    }
}

impl Read for TlsSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A server that dies does not take leave of TLS; the protocol above has its own
                // lengths, so nothing cut off goes unseen.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            // Also at the end of the socket, of which the reader learns in this way.
            self.connection.read_tls(&mut self.socket)?;
            // Under TLS 1.3 the server looks at our certificate after the handshake, as we see it.
            self.connection.process_new_packets().map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, TlsError::from(error))
            })?;
        }
    }
}

impl Write for TlsSocket {
    /// Takes bytes only while nothing older waits for the socket.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.connection.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

/// "SSLRequest": its length and its code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
