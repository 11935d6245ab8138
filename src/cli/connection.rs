//! A WebSocket connection to a bridge: opening it, saying in words why it failed.
//!
//! Opening blocks (names are looked up, the handshake is awaited) and has a time-out; what the
//! caller does with the open socket, blocking or not, is the caller's. Knows no message.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell: it looks names up, on a thread, and reads the clock"
)]

mod handshake;
mod race;
mod stream;
mod up;
mod url;

use std::{
    error::Error as StdError,
    fmt,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use alle::internals::access::secret::Secret;
use tungstenite::{
    WebSocket,
    protocol::{CloseFrame, Role, WebSocketConfig},
};

use self::{handshake::HandshakeError, race::Failed, stream::Stream};
pub(crate) use self::{up::Up, url::WsUrl};

/// An open connection.
pub(crate) type Socket = WebSocket<Stream>;

/// Opens a connection to `url`, blocking for at most `timeout`: from the look-up of its name to the
/// end of the handshake. The socket is handed over still blocking, and without a deadline.
pub(crate) fn open(
    url: &WsUrl,
    token: Option<&Secret>,
    timeout: Duration,
) -> Result<Socket, ConnectError> {
    let deadline = Instant::now() + timeout;
    let addresses = look_up(url, deadline).map_err(ConnectError::Name)?;
    let (tcp, address) = race::connect(addresses, deadline)
        .map_err(|failed| ConnectError::Tcp(failed, Named::by(url)))?;
    let _ = tcp.set_nodelay(true);
    let at = |fault| ConnectError::Peer(address, Named::by(url), fault);
    let mute = |fault: PeerFault| {
        if fault.is_hang_up() && is_postgres(address) {
            at(PeerFault::Postgres)
        } else {
            at(fault)
        }
    };
    let mut stream = Stream::open(tcp, url, deadline).map_err(mute)?;
    let received = handshake::shake_hands(&mut stream, url, token)
        .map_err(|error| mute(PeerFault::Handshake(error)))?;
    stream
        .set_deadline(None)
        .map_err(|error| at(PeerFault::Handshake(error.into())))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let socket = WebSocket::from_partially_read(stream, received, Role::Client, Some(config));
    Ok(socket)
}

/// Whether a PostgreSQL is there: it alone answers its SSLRequest with one letter ("Message
/// Formats").
fn is_postgres(address: SocketAddr) -> bool {
    let deadline = Instant::now() + PROBE_TIMEOUT;
    let Ok((tcp, _)) = race::connect(vec![address], deadline) else {
        return false;
    };
    let mut stream = Stream::plain(tcp, deadline);
    let mut answer = [0; 2];
    stream.write_all(&SSL_REQUEST).is_ok()
        && matches!(stream.read(&mut answer), Ok(1))
        && matches!(answer[0], b'S' | b'N')
}

/// The addresses of the host. A name is looked up on a thread of its own, which nobody can end: it
/// is left behind where its answer takes too long.
fn look_up(url: &WsUrl, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = (url.host().to_owned(), url.port());
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (answer, answers) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let addresses = (host, port).to_socket_addrs().map(Iterator::collect);
        let _ = answer.send(addresses);
    })?;
    let left = deadline.saturating_duration_since(Instant::now());
    answers
        .recv_timeout(left)
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The host's name could not be looked up.
    Name(io::Error),
    /// No address of it could be reached: each with why.
    Tcp(Vec<Failed>, Named),
    /// Somebody is at this address, and it came to nothing.
    Peer(SocketAddr, Named, PeerFault),
}

/// What is wrong with whoever took the connection.
#[derive(Debug)]
pub(crate) enum PeerFault {
    /// No TLS with it, or it is not whom we asked for.
    Tls(io::Error),
    /// What it answers is no TLS.
    #[cfg(feature = "tls")]
    NoTls,
    /// It is a PostgreSQL.
    Postgres,
    /// It does not speak WebSocket to us.
    Handshake(HandshakeError),
}

/// How a URL names its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// By its only address: whoever knows the URL knows it.
    ByAddress,
    /// By a name, of one address or many.
    ByName,
}

impl Named {
    fn by(url: &WsUrl) -> Self {
        if url.host().parse::<IpAddr>().is_ok() {
            Self::ByAddress
        } else {
            Self::ByName
        }
    }

    /// The address, where it is news, in front of what happened there.
    fn write(self, address: &SocketAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByAddress => Ok(()),
            Self::ByName => write!(f, "{address}: "),
        }
    }
}

impl ConnectError {
    /// Whether the bridge refuses our token: asking again does not help.
    pub(crate) fn is_unauthorized(&self) -> bool {
        let Self::Peer(_, _, PeerFault::Handshake(error)) = self else {
            return false;
        };
        matches!(error, HandshakeError::Refused { status: 401, .. })
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) if error.kind() == ErrorKind::TimedOut => {
                f.write_str("its name was not looked up in time")
            }
            Self::Name(error) => write!(f, "{error}"),
            Self::Tcp(failed, _) if failed.is_empty() => f.write_str("the name has no address"),
            Self::Tcp(failed, named) => {
                for (count, (address, error)) in failed.iter().enumerate() {
                    if count > 0 {
                        f.write_str("; ")?;
                    }
                    named.write(address, f)?;
                    if error.kind() == ErrorKind::ConnectionRefused {
                        f.write_str("connection refused")?;
                    } else if error.kind() == ErrorKind::TimedOut {
                        f.write_str("no answer in time")?;
                    } else {
                        write!(f, "{error}")?;
                    }
                }
                let is_refused = |it: &Failed| it.1.kind() == ErrorKind::ConnectionRefused;
                if failed.iter().any(is_refused) {
                    f.write_str(" (is `alle serve` running there?)")?;
                }
                Ok(())
            }
            Self::Peer(address, named, fault) => {
                named.write(address, f)?;
                fault.fmt(f)
            }
        }
    }
}

impl PeerFault {
    /// Whether it closed the connection without a word, as PostgreSQL does when it is not spoken to
    /// as it expects.
    fn is_hang_up(&self) -> bool {
        let error = match self {
            Self::Tls(error) | Self::Handshake(HandshakeError::Io(error)) => error,
            #[cfg(feature = "tls")]
            Self::NoTls => return true,
            Self::Postgres | Self::Handshake(_) => return false,
        };
        let kind = error.kind();
        kind == ErrorKind::UnexpectedEof || kind == ErrorKind::ConnectionReset
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) if error.kind() == ErrorKind::TimedOut => {
                f.write_str("it took the connection and did not finish the TLS handshake in time")
            }
            Self::Tls(error) => write!(
                f,
                "TLS: {error} (whom to trust, the system says, or the file in SSL_CERT_FILE)"
            ),
            #[cfg(feature = "tls")]
            Self::NoTls => f.write_str("no TLS there, try ws://"),
            Self::Postgres => f.write_str(
                "that is PostgreSQL itself, not a bridge: `alle serve` is one, by default at \
                 ws://127.0.0.1:8080",
            ),
            Self::Handshake(error) => error.fmt(f),
        }
    }
}

impl StdError for ConnectError {}

/// A close frame in words: `closed by the server (1001 going away)`.
pub(crate) fn closed_by_server(frame: Option<&CloseFrame>) -> String {
    match frame {
        None => "closed by the server".to_owned(),
        Some(frame) => {
            let text = format!("{} {}", u16::from(frame.code), frame.reason.as_str());
            format!("closed by the server ({})", text.trim_end())
        }
    }
}

const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Only commands go out: a server that leaves so much unread is gone.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// A payload has at most 7,999 bytes; escaped in JSON and with all the rest, still far less.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
