//! The opening handshake of a client (RFC 6455, 4.1), over whatever can be read and written.
//!
//! Owns what may stand in the answer; tungstenite's own refuses `Connection: keep-alive, Upgrade`,
//! takes an extension that nobody asked for, and stops at an answer of 1xx. Knows neither sockets nor
//! time: the stream has a deadline.

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
};

use alle::internals::{access::secret::Secret, escape::escaped};
use httparse::{EMPTY_HEADER, Header, Response};
use tungstenite::{
    handshake::{client::generate_key, derive_accept_key},
    http::StatusCode,
};

use super::WsUrl;

/// Asks for a WebSocket at `url`. What came behind the answer already belongs to it.
pub(super) fn shake_hands(
    stream: &mut (impl Read + Write),
    url: &WsUrl,
    token: Option<&Secret>,
) -> Result<Vec<u8>, HandshakeError> {
    let key = generate_key();
    stream.write_all(request(url, token, &key).as_bytes())?;
    stream.flush()?;
    let mut received = Vec::new();
    for _ in 0..=INFORMATIONAL_MAX {
        let (status, fault, head_bytes) = read_head(stream, &mut received, &key)?;
        let behind = received.split_off(head_bytes);
        match status {
            101 => return fault.map_or(Ok(behind), |it| Err(HandshakeError::Malformed(it))),
            // RFC 9110, 15.2: any number of them may come first.
            100..=199 => received = behind,
            _ => return Err(refused(status, stream, &received, behind)),
        }
    }
    Err(HandshakeError::Malformed("it goes on with interim answers"))
}

fn request(url: &WsUrl, token: Option<&Secret>, key: &str) -> String {
    let uri = url.uri();
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    let host = uri.authority().map_or("", |it| it.as_str());
    let authorization = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {}\r\n", token.expose())
    });
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{authorization}\r\n"
    )
}

/// Reads on until `received` begins with a head: its status, what is wrong with it as a switch of
/// protocols, and its length.
fn read_head(
    stream: &mut impl Read,
    received: &mut Vec<u8>,
    key: &str,
) -> Result<(u16, Option<&'static str>, usize), HandshakeError> {
    loop {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut headers);
        match response.parse(received) {
            Ok(httparse::Status::Complete(head_bytes)) => {
                let status = response.code.unwrap_or_default();
                return Ok((status, switch_fault(response.headers, key), head_bytes));
            }
            Ok(httparse::Status::Partial) if received.len() < HEAD_BYTES_MAX => {}
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(HandshakeError::Malformed(
                    "the head of its answer has no end",
                ));
            }
            Err(_) => return Err(HandshakeError::Malformed("its answer is no HTTP")),
        }
        if read_some(stream, received)? == 0 {
            return Err(HandshakeError::Io(ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// What RFC 6455, 4.1 has the client refuse in an answer of 101.
fn switch_fault(headers: &[Header<'_>], key: &str) -> Option<&'static str> {
    let values = |name: &'static str| {
        headers
            .iter()
            .filter(move |it| it.name.eq_ignore_ascii_case(name))
            .map(|it| it.value.trim_ascii())
    };
    let has_token = |name, token: &str| {
        values(name)
            .flat_map(|list| list.split(|&byte| byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    let accepted = values("Sec-WebSocket-Accept").next();
    if !has_token("Upgrade", "websocket") {
        Some("its answer does not upgrade to a WebSocket")
    } else if !has_token("Connection", "upgrade") {
        Some("its answer does not upgrade the connection")
    } else if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        Some("its answer is to another request")
    } else if values("Sec-WebSocket-Extensions").any(|it| !it.is_empty()) {
        Some("it uses an extension that was not asked for")
    } else if values("Sec-WebSocket-Protocol").next().is_some() {
        Some("it speaks a subprotocol that was not asked for")
    } else {
        None
    }
}

/// An answer that is no WebSocket, with as much of its body as explains it. Time may run out
/// before its end.
fn refused(status: u16, stream: &mut impl Read, head: &[u8], mut body: Vec<u8>) -> HandshakeError {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let _ = response.parse(head);
    let length = response
        .headers
        .iter()
        .find(|it| it.name.eq_ignore_ascii_case("Content-Length"))
        .and_then(|it| std::str::from_utf8(it.value).ok()?.trim().parse().ok())
        .unwrap_or(BODY_BYTES_MAX)
        .min(BODY_BYTES_MAX);
    while body.len() < length {
        match read_some(stream, &mut body) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    body.truncate(length);
    HandshakeError::Refused {
        status,
        body: String::from_utf8_lossy(&body).trim().to_owned(),
    }
}

fn read_some(stream: &mut impl Read, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 4_096];
    let bytes = stream.read(&mut buffer)?;
    received.extend_from_slice(&buffer[..bytes]);
    Ok(bytes)
}

/// Why there is no WebSocket.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The connection failed, or time is up.
    Io(io::Error),
    /// The answer is another than 101.
    Refused {
        /// Its status.
        status: u16,
        /// Its body, as far as it came.
        body: String,
    },
    /// The answer breaks the rules.
    Malformed(&'static str),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == ErrorKind::TimedOut => {
                f.write_str("it took the connection and did not answer in time")
            }
            Self::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
                f.write_str("it took the connection and closed it without an answer")
            }
            Self::Io(error) => write!(f, "no WebSocket handshake: {error}"),
            Self::Refused { status, body } => {
                match StatusCode::from_u16(*status) {
                    Ok(status) => write!(f, "the server answered {status}")?,
                    Err(_) => write!(f, "the server answered {status}")?,
                }
                if body.is_empty() {
                    return Ok(());
                }
                let shown: String = body.chars().take(BODY_CHARS_SHOWN).collect();
                write!(f, ": {}", escaped(&shown))
            }
            Self::Malformed(fault) => write!(f, "no WebSocket handshake: {fault}"),
        }
    }
}

const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;
/// Answers of 1xx before the one that counts.
const INFORMATIONAL_MAX: usize = 16;
const BODY_BYTES_MAX: usize = 4_096;
const BODY_CHARS_SHOWN: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that says this whatever it is asked; `KEY` in it stands for the right answer.
    struct Peer {
        answer: String,
        asked: Vec<u8>,
        said: usize,
    }

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let asked = String::from_utf8_lossy(&self.asked).into_owned();
            let key = asked.split("Sec-WebSocket-Key: ").nth(1).unwrap();
            let key = derive_accept_key(&key.as_bytes()[..24]);
            let answer = self.answer.replace("KEY", &key);
            // A byte at a time: no read ends where a head does.
            let most = if self.said < 500 { 1 } else { 1_000 };
            let rest = &answer.as_bytes()[self.said..];
            let bytes = rest.len().min(most);
            buffer[..bytes].copy_from_slice(&rest[..bytes]);
            self.said += bytes;
            Ok(bytes)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(answer: &str, token: Option<&Secret>) -> (Result<Vec<u8>, String>, String) {
        let url = WsUrl::parse("ws://bridge.example:8080/ws?x=1").unwrap();
        let mut peer = Peer {
            answer: answer.to_owned(),
            asked: Vec::new(),
            said: 0,
        };
        let answered = shake_hands(&mut peer, &url, token).map_err(|error| error.to_string());
        (answered, String::from_utf8(peer.asked).unwrap())
    }

    const SOUND: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n\r\n";

    #[test]
    fn the_request_names_host_path_and_token() {
        let token = Secret::new("s3cret");
        let (answered, asked) = ask(SOUND, Some(&token));
        assert_eq!(answered, Ok(Vec::new()));
        assert!(asked.starts_with("GET /ws?x=1 HTTP/1.1\r\nHost: bridge.example:8080\r\n"));
        assert!(asked.contains("\r\nAuthorization: Bearer s3cret\r\n"));
        assert!(!ask(SOUND, None).1.contains("Authorization"));
    }

    #[test]
    fn what_a_server_and_its_proxies_may_add_is_taken() {
        for answer in [
            SOUND.to_owned(),
            SOUND.replace("Connection: Upgrade", "connection: keep-alive, UPGRADE"),
            SOUND.replace("websocket", "WebSocket"),
            format!(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{SOUND}"
            ),
        ] {
            assert_eq!(ask(&answer, None).0, Ok(Vec::new()), "{answer}");
        }
    }

    #[test]
    fn what_it_may_not_is_named() {
        let without = |field: &str| SOUND.replace(field, "X: y\r\n");
        let with = |field: &str| SOUND.replace("Upgrade: websocket\r\n", field);
        for (answer, fault) in [
            (
                without("Upgrade: websocket\r\n"),
                "does not upgrade to a WebSocket",
            ),
            (
                without("Connection: Upgrade\r\n"),
                "does not upgrade the connection",
            ),
            (without("Sec-WebSocket-Accept: KEY\r\n"), "another request"),
            (SOUND.replace("KEY", "AAAA"), "another request"),
            (
                with("Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"),
                "an extension",
            ),
            (
                with("Upgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\n"),
                "a subprotocol",
            ),
            ("SSH-2.0-OpenSSH_9.6\r\n".to_owned(), "no HTTP"),
            ("HTTP/1.1 100 Continue\r\n\r\n".repeat(17), "interim"),
            (
                format!("HTTP/1.1 101 x\r\nX: {}", "y".repeat(16_384)),
                "no end",
            ),
            (String::new(), "without an answer"),
        ] {
            let error = ask(&answer, None).0.unwrap_err();
            assert!(error.contains(fault), "{error}: {answer:.80}");
        }
    }

    #[test]
    fn a_refusal_is_shown_with_its_body_and_commands_no_terminal() {
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno\x1b[2J\r\n more";
        let error = ask(answer, None).0.unwrap_err();
        assert_eq!(error, "the server answered 403 Forbidden: no\\u{1b}[2J");
        let error = ask("HTTP/1.1 502 x\r\n\r\n", None).0.unwrap_err();
        assert_eq!(error, "the server answered 502 Bad Gateway");
    }
}
