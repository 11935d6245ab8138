//! What a WebSocket connection runs over: TCP, or TLS on it for `wss://`.
//!
//! Whom to trust over TLS, the system says (or the file in `SSL_CERT_FILE`). Knows no WebSocket.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line is a shell: it has sockets and reads the clock"
)]

use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use mio::net::TcpStream;
use socket2::SockRef;

use super::{PeerFault, WsUrl};

/// A connected socket; blocking or not is its owner's choice.
#[derive(Debug)]
pub(crate) enum Stream {
    /// In the clear.
    Plain(Tcp),
    /// Under TLS.
    #[cfg(feature = "tls")]
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, Tcp>>),
}

/// A socket all of whose reads and writes, while it blocks, end by one deadline. A peer that
/// gives a byte now and then does not move it.
#[derive(Debug)]
pub(crate) struct Tcp {
    socket: TcpStream,
    deadline: Option<Instant>,
}

impl Stream {
    /// Begins what `url` asks for over `tcp`, which blocks; done by `deadline`, which stays.
    pub(super) fn open(tcp: TcpStream, url: &WsUrl, deadline: Instant) -> Result<Self, PeerFault> {
        let tcp = Tcp {
            socket: tcp,
            deadline: Some(deadline),
        };
        if url.is_secure() {
            Self::secure(tcp, url.host())
        } else {
            Ok(Self::Plain(tcp))
        }
    }

    /// A stream in the clear over `tcp`, which blocks until `deadline`.
    pub(super) fn plain(tcp: TcpStream, deadline: Instant) -> Self {
        Self::Plain(Tcp {
            socket: tcp,
            deadline: Some(deadline),
        })
    }

    /// From now on reads and writes that block end by then; `None`: they take as long as they
    /// take.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_mut(),
        };
        tcp.deadline = deadline;
        if deadline.is_none() {
            let socket = SockRef::from(&tcp.socket);
            socket.set_read_timeout(None)?;
            socket.set_write_timeout(None)?;
        }
        Ok(())
    }

    /// The socket itself, for its options.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => &tcp.socket,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => &tls.get_ref().socket,
        }
    }

    /// The socket itself, to be registered.
    pub(crate) fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => &mut tcp.socket,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => &mut tls.get_mut().socket,
        }
    }

    /// Shakes hands with `host` over `tcp`, which blocks.
    #[cfg(feature = "tls")]
    fn secure(mut tcp: Tcp, host: &str) -> Result<Self, PeerFault> {
        use std::sync::Arc;

        let invalid = |error| PeerFault::Tls(io::Error::new(ErrorKind::InvalidInput, error));
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
    fn secure(_tcp: Tcp, _host: &str) -> Result<Self, PeerFault> {
        Err(PeerFault::Tls(ErrorKind::Unsupported.into()))
    }
}

/// Why a TLS handshake ended as it did.
#[cfg(feature = "tls")]
fn no_tls(error: io::Error) -> PeerFault {
    use rustls::{Error, InvalidMessage};

    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => PeerFault::NoTls,
        _ => PeerFault::Tls(error),
    }
}

impl Tcp {
    /// Calls until something comes of it, or time is up. A wait with a time-out is not taken up
    /// again after the process was stopped, by Ctrl-Z for instance, and goes on (signal(7)):
    /// nothing is wrong with the connection.
    fn timed<T>(
        &mut self,
        set_timeout: impl Fn(SockRef<'_>, Duration) -> io::Result<()>,
        mut call: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            if let Some(deadline) = self.deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ErrorKind::TimedOut.into());
                }
                // To a socket zero means for ever.
                let timeout = left.max(Duration::from_millis(1));
                set_timeout(SockRef::from(&self.socket), timeout)?;
            }
            match call(&mut self.socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // How a time-out shows depends on the system.
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.deadline.is_some() => {}
                result => return result,
            }
        }
    }
}

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.timed(
            |socket, timeout| socket.set_read_timeout(Some(timeout)),
            |socket| socket.read(buffer),
        )
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.timed(
            |socket, timeout| socket.set_write_timeout(Some(timeout)),
            |socket| socket.write(bytes),
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
        }
    }
}
