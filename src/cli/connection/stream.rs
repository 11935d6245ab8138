//! What a WebSocket connection runs over: TCP, or TLS on it for `wss://`.
//!
//! Whom to trust over TLS, the system says (or the file in `SSL_CERT_FILE`). Knows no WebSocket.

#![expect(
    clippy::disallowed_types,
    reason = "the command line is a shell: it has sockets"
)]

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::ConnectError;

/// A connected socket; blocking or not is its owner's choice.
#[derive(Debug)]
pub(crate) enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Under TLS.
    #[cfg(feature = "tls")]
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

impl Stream {
    /// The socket itself, for its options.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_ref(),
        }
    }

    /// The socket itself, to be registered.
    pub(crate) fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_mut(),
        }
    }

    /// Shakes hands with `host` over `tcp`, which blocks.
    #[cfg(feature = "tls")]
    pub(super) fn secure(mut tcp: TcpStream, host: &str) -> Result<Self, ConnectError> {
        use std::sync::Arc;

        let invalid = |error| ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error));
        let name = rustls::pki_types::ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| invalid(error.to_string()))?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name)
            .map_err(|error| invalid(error.to_string()))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).map_err(no_tls)?;
        }
        let tls = rustls::StreamOwned::new(connection, tcp);
        Ok(Self::Tls(Box::new(tls)))
    }

    /// Never called: the URL was refused before.
    #[cfg(not(feature = "tls"))]
    pub(super) fn secure(_tcp: TcpStream, _host: &str) -> Result<Self, ConnectError> {
        Err(ConnectError::Tls(io::ErrorKind::Unsupported.into()))
    }
}

/// Why a TLS handshake ended as it did. How a time-out of a blocking socket shows depends on the
/// system.
#[cfg(feature = "tls")]
fn no_tls(error: io::Error) -> ConnectError {
    use rustls::{Error, InvalidMessage};

    if matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    ) {
        return ConnectError::Tcp(io::ErrorKind::TimedOut.into());
    }
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => ConnectError::NoTls,
        _ => ConnectError::Tls(error),
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Plain(tcp) => tcp.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.read(buffer),
        })
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Plain(tcp) => tcp.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// A wait with a time-out is not taken up again after the process was stopped, by Ctrl-Z for
/// instance, and goes on (signal(7)): nothing is wrong with the connection.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
