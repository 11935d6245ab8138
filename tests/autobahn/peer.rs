//! A client that sends any bytes in any pieces and records the server's answers, right or wrong.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A step of a case for the client.
pub enum Step {
    /// Writes these, one after the other.
    Write(Vec<Vec<u8>>),
    /// Waits until this many observations were made in all.
    Await(usize),
    /// Gives the server this much time to answer.
    Pause(Duration),
}

/// An observation of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// Nothing arrived during a [`Step::Pause`].
    Silence,
    /// A frame that our server has no reason to send, by its first two bytes.
    Odd([u8; 2]),
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A close frame with this code, then the end of the stream.
    Closed(Option<u16>),
    /// The end of the stream without a close frame.
    Dropped,
    /// Neither of them in time.
    Open,
}

/// All observations on one connection.
#[derive(Debug)]
pub struct Record {
    pub seen: Vec<Seen>,
    pub end: End,
}

/// Plays the steps. Then sends `close`, if there is one, once the expected number of observations
/// was made; and waits for the end.
pub fn play(address: SocketAddr, steps: &[Step], expected: usize, close: Option<&[u8]>) -> Record {
    let mut peer = Peer::upgraded(address);
    for step in steps {
        match step {
            Step::Write(pieces) => pieces.iter().for_each(|piece| peer.write(piece)),
            Step::Await(count) => peer.read_until(|peer| peer.seen.len() >= *count),
            Step::Pause(patience) => peer.pause(*patience),
        }
    }
    if let Some(close) = close {
        peer.read_until(|peer| peer.seen.len() >= expected);
        peer.write(close);
    }
    peer.read_until(|peer| peer.is_closed());
    if let (Some(answer), None) = (peer.closing_answer(), close) {
        peer.write(&answer);
    }
    peer.read_until(|peer| peer.ended);
    let end = match (peer.ended, peer.close) {
        (true, Some(code)) => End::Closed(code),
        (true, None) => End::Dropped,
        (false, _) => End::Open,
    };
    Record {
        seen: peer.seen,
        end,
    }
}

struct Peer {
    stream: TcpStream,
    inbox: Vec<u8>,
    seen: Vec<Seen>,
    /// The server's close frame: its code, if it has one.
    close: Option<Option<u16>>,
    ended: bool,
}

impl Peer {
    fn upgraded(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Self {
            stream,
            inbox: Vec::new(),
            seen: Vec::new(),
            close: None,
            ended: false,
        };
        // The handshake of RFC 6455, 1.3.
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        peer.write(request.as_bytes());
        loop {
            assert!(peer.fill(PATIENCE), "no answer to the handshake");
            if let Some(at) = peer.inbox.windows(4).position(|it| it == b"\r\n\r\n") {
                let head: Vec<u8> = peer.inbox.drain(..at + 4).collect();
                let head = String::from_utf8(head).unwrap();
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
                return peer;
            }
        }
    }

    /// The server may fail the connection before all is written; its answers show that.
    fn write(&mut self, bytes: &[u8]) {
        let _had_enough = self.stream.write_all(bytes);
    }

    fn pause(&mut self, patience: Duration) {
        let before = self.seen.len();
        self.fill(patience);
        self.take_frames();
        if self.seen.len() == before && self.close.is_none() && !self.ended {
            self.seen.push(Seen::Silence);
        }
    }

    fn read_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        self.take_frames();
        while !is_enough(self) && self.fill(PATIENCE) {
            self.take_frames();
        }
    }

    fn is_closed(&self) -> bool {
        self.close.is_some() || self.ended
    }

    /// Our close frame in answer to the server's.
    fn closing_answer(&self) -> Option<Vec<u8>> {
        let code = self.close?;
        Some(super::cases::close(code, b""))
    }

    /// Reads more bytes; `false` if none arrive.
    fn fill(&mut self, patience: Duration) -> bool {
        let mut buffer = [0; 65_536];
        self.stream.set_read_timeout(Some(patience)).unwrap();
        match self.stream.read(&mut buffer) {
            Ok(bytes @ 1..) => {
                self.inbox.extend_from_slice(&buffer[..bytes]);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return self.fill(patience),
            Ok(0) | Err(_) => self.ended = true,
        }
        false
    }

    /// Takes the complete frames from the inbox (RFC 6455, 5.2).
    fn take_frames(&mut self) {
        while let [first, second, rest @ ..] = &self.inbox[..] {
            let head = [*first, *second];
            let (header_bytes, payload_bytes) = match (*second, rest) {
                (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
                (127, [_, _, _, _, a, b, c, d, ..]) => {
                    let length = u32::from_be_bytes([*a, *b, *c, *d]);
                    (10, usize::try_from(length).unwrap())
                }
                (126 | 127, _) => return,
                (short, _) => (2, usize::from(short & 0x7f)),
            };
            if self.inbox.len() < header_bytes + payload_bytes {
                return;
            }
            let frame: Vec<u8> = self.inbox.drain(..header_bytes + payload_bytes).collect();
            let payload = &frame[header_bytes..];
            let is_masked = head[1] & 0x80 != 0;
            self.seen.push(match (head[0], payload) {
                _ if is_masked || self.close.is_some() => Seen::Odd(head),
                (0x81, _) => Seen::Text(payload.to_vec()),
                (0x82, _) => Seen::Binary(payload.to_vec()),
                (0x8a, _) => Seen::Pong(payload.to_vec()),
                (0x88, []) => {
                    self.close = Some(None);
                    continue;
                }
                (0x88, [a, b, ..]) => {
                    self.close = Some(Some(u16::from_be_bytes([*a, *b])));
                    continue;
                }
                (_, _) => Seen::Odd(head),
            });
        }
    }
}

/// How long anything may take before it counts as never.
pub const PATIENCE: Duration = Duration::from_secs(60);
