//! A client that sends any bytes: HTTP by hand and frames by hand.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use bytes::BytesMut;
use socket2::{Domain, Socket, Type};

use crate::{harness::PATIENCE, patient::Patient};

/// A connection, and the bytes read from it and not used yet.
pub struct Raw {
    pub stream: Patient,
    inbox: BytesMut,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    pub body: String,
}

impl Response {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Raw {
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).unwrap())
    }

    /// The same from an address of this machine.
    #[track_caller]
    pub fn open_from(own: &str, address: SocketAddr) -> Self {
        let own = SocketAddr::new(own.parse().unwrap(), 0);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&own.into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::on(socket.into())
    }

    pub fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: Patient(stream),
            inbox: BytesMut::new(),
        }
    }

    /// A WebSocket connection.
    #[track_caller]
    pub fn upgraded(address: SocketAddr) -> Self {
        let mut raw = Self::open(address);
        raw.write(upgrade_request(address, "/ws", "").as_bytes());
        let response = raw.response("GET");
        assert_eq!(response.status, 101, "{response:?}");
        raw
    }

    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The same to a peer that may have ended the connection.
    pub fn try_write(&mut self, bytes: &[u8]) {
        let _ended = self.stream.write_all(bytes);
    }

    /// Sends one frame, masked, with `first` as its first byte.
    #[track_caller]
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&frame(first, payload));
    }

    /// Shuts our side down: no more bytes will follow.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// An HTTP answer to `method`.
    #[track_caller]
    pub fn response(&mut self, method: &str) -> Response {
        let end = loop {
            if let Some(at) = self.inbox.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.fill(),
                "no answer: {:?}",
                String::from_utf8_lossy(&self.inbox)
            );
        };
        let head = self.inbox.split_to(end).to_vec();
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Response {
            status,
            head,
            body: String::new(),
        };
        let length = response
            .header("content-length")
            .map_or(0, |n| n.parse().unwrap());
        if method != "HEAD" {
            let body = self.take(length);
            response.body = String::from_utf8(body).unwrap();
        }
        response
    }

    /// The status of an HTTP answer; `None` if the connection ends without one.
    #[track_caller]
    pub fn status_or_end(&mut self) -> Option<u16> {
        while self.inbox.len() < "HTTP/1.1 200".len() {
            if !self.fill() {
                return None;
            }
        }
        let line = String::from_utf8_lossy(&self.inbox);
        line.split(' ').nth(1)?.get(..3)?.parse().ok()
    }

    /// The next frame: its first byte and its payload.
    #[track_caller]
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((start, length)) = header(&self.inbox) {
                let first = self.take(start)[0];
                return (first, self.take(length));
            }
            self.fill_more();
        }
    }

    /// The next frame that is no ping; pings are answered.
    #[track_caller]
    pub fn frame_but_pings(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (first, payload) = self.frame();
            if first != PING {
                return (first, payload);
            }
            self.send(PONG, &payload);
        }
    }

    /// The next frames as they arrive: many are cheaper to compare than to parse.
    #[track_caller]
    pub fn frames(&mut self, count: usize) -> Vec<u8> {
        let mut end = 0;
        for _ in 0..count {
            loop {
                let next = header(&self.inbox[end..]);
                let next = next.map(|(start, length)| end + start + length);
                if let Some(next) = next.filter(|&next| next <= self.inbox.len()) {
                    end = next;
                    break;
                }
                self.fill_more();
            }
        }
        self.take(end)
    }

    /// The next frame, which is a text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let (first, payload) = self.frame();
        let text = String::from_utf8_lossy(&payload).into_owned();
        assert_eq!(first, TEXT, "{text}");
        text
    }

    /// The code of the next frame, a close frame, after which the bridge disconnects.
    #[track_caller]
    pub fn close_code(&mut self) -> u16 {
        let (first, payload) = self.frame_but_pings();
        assert_eq!(first, CLOSE, "{}", String::from_utf8_lossy(&payload));
        self.send(CLOSE, &payload[..2]);
        self.expect_end();
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// The connection ends, in whatever way, without another byte.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert!(!self.fill(), "{:?}", String::from_utf8_lossy(&self.inbox));
    }

    /// Exactly so many bytes.
    #[track_caller]
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        while self.inbox.len() < length {
            self.fill_more();
        }
        self.inbox.split_to(length).to_vec()
    }

    /// Reads more bytes; `false` at the end.
    #[track_caller]
    pub fn read_some(&mut self) -> bool {
        self.fill()
    }

    #[track_caller]
    fn fill_more(&mut self) {
        let is_there = self.fill();
        assert!(is_there, "ended after {:?}", tail(&self.inbox));
    }

    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(read) => {
                self.inbox.extend_from_slice(&buffer[..read]);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing comes"),
            Err(_) => false,
        }
    }
}

/// The offset and the length of the payload of the first frame.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let short = *bytes.get(1)?;
    assert_eq!(short & 0x80, 0, "a server masks nothing");
    match short {
        126 => {
            let length = bytes.get(2..4)?.try_into().unwrap();
            Some((4, usize::from(u16::from_be_bytes(length))))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().unwrap();
            Some((10, usize::try_from(u64::from_be_bytes(length)).unwrap()))
        }
        length => Some((2, usize::from(length))),
    }
}

/// The payloads of texts, taken from the bytes of their frames.
#[track_caller]
pub fn texts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut texts = Vec::new();
    while let Some((start, length)) = header(bytes) {
        let (frame, rest) = bytes.split_at(start + length);
        assert_eq!(frame[0], TEXT, "{:?}", tail(frame));
        texts.push(&frame[start..]);
        bytes = rest;
    }
    texts
}

/// The last bytes, to be shown.
fn tail(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(200)..]).into_owned()
}

/// A WebSocket handshake with more header lines, each ended by CR LF.
pub fn upgrade_request(address: SocketAddr, path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    let length = payload.len();
    if let Ok(length @ 0..=125) = u8::try_from(length) {
        bytes.push(0x80 | length);
    } else if let Ok(length) = u16::try_from(length) {
        bytes.push(0x80 | 126);
        bytes.extend_from_slice(&length.to_be_bytes());
    } else {
        bytes.push(0x80 | 127);
        bytes.extend_from_slice(&u64::try_from(length).unwrap().to_be_bytes());
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// First bytes of complete frames (RFC 6455, 5.2).
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
