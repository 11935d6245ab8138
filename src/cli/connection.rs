//! A WebSocket connection to a bridge: opening it, saying in words why it failed.
//!
//! Opening blocks (names are looked up, the handshake is awaited) and has a time-out; what the
//! caller does with the open socket, blocking or not, is the caller's. Knows no message.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line is a shell: it opens sockets and reads the clock"
)]

mod stream;
mod url;

use std::{
    error::Error as StdError,
    fmt,
    io::{self, ErrorKind},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use alle::internals::access::secret::Secret;
use socket2::SockRef;
use tungstenite::{
    Error, HandshakeError, WebSocket,
    client::IntoClientRequest,
    handshake::client::ClientHandshake,
    http::{HeaderValue, header::AUTHORIZATION},
    protocol::{CloseFrame, WebSocketConfig},
};

use self::stream::Stream;
pub(crate) use self::url::WsUrl;

/// An open connection.
pub(crate) type Socket = WebSocket<Stream>;

/// Opens a connection to `url`, blocking for at most `timeout` (the look-up of its name aside).
/// The socket is handed over still blocking.
pub(crate) fn open(
    url: &WsUrl,
    token: Option<&Secret>,
    timeout: Duration,
) -> Result<Socket, ConnectError> {
    let deadline = Instant::now() + timeout;
    let addresses = (url.host(), url.port())
        .to_socket_addrs()
        .map_err(ConnectError::Name)?;
    let mut last_error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, remaining(deadline)) {
            Ok(stream) => return shake_hands(url, token, stream, deadline),
            Err(error) => last_error = error,
        }
    }
    Err(ConnectError::Tcp(last_error))
}

fn shake_hands(
    url: &WsUrl,
    token: Option<&Secret>,
    stream: TcpStream,
    deadline: Instant,
) -> Result<Socket, ConnectError> {
    let _ = stream.set_nodelay(true);
    set_read_timeout(SockRef::from(&stream), deadline).map_err(ConnectError::Tcp)?;
    let mut request = url
        .uri()
        .clone()
        .into_client_request()
        .map_err(ConnectError::Handshake)?;
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let value =
            value.map_err(|error| ConnectError::Handshake(Error::HttpFormat(error.into())))?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let tcp = mio::net::TcpStream::from_std(stream);
    let stream = if url.is_secure() {
        Stream::secure(tcp, url.host())?
    } else {
        Stream::Plain(tcp)
    };
    let mut handshake = ClientHandshake::start(stream, request, Some(config))
        .map_err(ConnectError::Handshake)?
        .handshake();
    loop {
        match handshake {
            Ok((socket, _)) => return Ok(socket),
            Err(HandshakeError::Failure(error)) => return Err(ConnectError::Handshake(error)),
            Err(HandshakeError::Interrupted(_)) if Instant::now() >= deadline => {
                return Err(ConnectError::Tcp(ErrorKind::TimedOut.into()));
            }
            Err(HandshakeError::Interrupted(mid)) => handshake = mid.handshake(),
        }
    }
}

/// Lets a read of `socket` block until `deadline`.
pub(crate) fn set_read_timeout(socket: SockRef<'_>, deadline: Instant) -> io::Result<()> {
    socket.set_read_timeout(Some(remaining(deadline)))
}

/// What is left until `deadline`, never zero: to a socket zero means for ever.
fn remaining(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The host's name could not be looked up.
    Name(io::Error),
    /// No address of it could be reached.
    Tcp(io::Error),
    /// No TLS with it, or it is not whom we asked for.
    Tls(io::Error),
    /// What it answers is no TLS.
    #[cfg(feature = "tls")]
    NoTls,
    /// Something is there but does not speak WebSocket to us.
    Handshake(Error),
}

impl ConnectError {
    /// Whether the bridge refuses our token: asking again does not help.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Handshake(Error::Http(response)) if response.status() == 401)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "{error}"),
            Self::Tcp(error) if error.kind() == ErrorKind::ConnectionRefused => {
                f.write_str("connection refused (is `alle serve` running there?)")
            }
            Self::Tcp(error) if error.kind() == ErrorKind::TimedOut => {
                f.write_str("no answer in time")
            }
            Self::Tcp(error) => write!(f, "{error}"),
            Self::Tls(error) => write!(
                f,
                "TLS: {error} (whom to trust, the system says, or the file in SSL_CERT_FILE)"
            ),
            #[cfg(feature = "tls")]
            Self::NoTls => f.write_str("no TLS there, try ws://"),
            Self::Handshake(Error::Http(response)) => {
                write!(f, "the server answered {}", response.status())?;
                let body = response.body().as_deref().unwrap_or_default();
                match String::from_utf8_lossy(body).trim() {
                    "" => Ok(()),
                    body => write!(f, ": {}", body.chars().take(200).collect::<String>()),
                }
            }
            Self::Handshake(error) => write!(f, "no WebSocket handshake: {error}"),
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

const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Only commands go out: a server that leaves so much unread is gone.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// A payload has at most 7,999 bytes; escaped in JSON and with all the rest, still far less.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
