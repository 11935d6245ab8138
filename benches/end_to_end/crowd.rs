//! Many WebSocket clients on one thread: each upgrades, subscribes to its channels, and counts.
//!
//! A server's frames arrive here and are checked. Knows neither who sends nor why.

use std::{
    io::{self, Read, Write},
    mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use alle::internals::ws::encoder::frame_bytes;
use mio::{Events, Interest, Poll, Registry, Token, net::TcpStream};
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    message::{self, Channels, Number},
    tally::Tally,
};

/// Clients of one server; each hears the channel that its position names, round and round, or all.
///
/// [`connect`](Self::connect) first, then [`turn`](Self::turn) as long as something may come.
/// Dropped, it resets all its connections, so that none of them occupies a port any longer.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    channels: Channels,
    buffer: Vec<u8>,
    /// Which are still on their way.
    unready: usize,
    /// The first message that nobody published yet.
    next_message: Number,
    /// When the messages from `published_from` on were published.
    published_at: Vec<Instant>,
    published_from: Number,
    pub(crate) tally: Tally,
}

struct Client {
    stream: TcpStream,
    state: State,
    next: Number,
    has_gap: bool,
    /// The begin of a frame.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting(Instant),
    Upgrading(Instant),
    /// So many of its channels were confirmed.
    Subscribing(u64),
    Ready,
    Closed,
}

/// What clients do once they are connected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Upgrade,
    Subscribe,
}

impl Crowd {
    /// As many clients as wanted, all subscribed (or upgraded, by `wish`) when it returns.
    ///
    /// The tally's latencies are then those of upgrades, from before the connect to the answer.
    pub(crate) fn connect(
        address: SocketAddr,
        count: usize,
        channels: Channels,
        wish: Wish,
    ) -> io::Result<Self> {
        let mut crowd = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(256),
            clients: Vec::with_capacity(count),
            channels,
            buffer: vec![0; BUFFER_BYTES],
            unready: 0,
            next_message: 0,
            published_at: Vec::new(),
            published_from: 0,
            tally: Tally::default(),
        };
        crowd.grow(address, count, wish)?;
        Ok(crowd)
    }

    /// More clients, up to `count`.
    pub(crate) fn grow(&mut self, address: SocketAddr, count: usize, wish: Wish) -> io::Result<()> {
        let mut progress_at = Instant::now();
        while self.clients.len() < count || self.unready > 0 {
            while self.clients.len() < count && self.unready < CONNECTING_MAX {
                self.begin(address)?;
            }
            let before = self.unready;
            self.step(Duration::from_millis(100), wish)?;
            if self.unready < before {
                progress_at = Instant::now();
            } else if progress_at.elapsed() > PATIENCE || self.tally.faults.any() {
                let faults = &self.tally.faults;
                return Err(io::Error::other(format!("clients do not get in: {faults}")));
            }
        }
        Ok(())
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// The number of the next message, and the start of its time.
    pub(crate) fn publish(&mut self, count: u64, now: Instant) -> std::ops::Range<Number> {
        let first = self.next_message;
        self.next_message += count;
        self.published_at.extend((0..count).map(|_| now));
        first..self.next_message
    }

    /// Begins another count.
    pub(crate) fn restart(&mut self) {
        self.tally = Tally::default();
        self.published_at.clear();
        self.published_from = self.next_message;
    }

    /// Takes what comes within `timeout`; true when it was for [`SOURCE`], too.
    pub(crate) fn turn(&mut self, timeout: Duration) -> io::Result<bool> {
        self.step(timeout, Wish::Subscribe)
    }

    fn begin(&mut self, address: SocketAddr) -> io::Result<()> {
        let key = self.clients.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let source = 2 + u8::try_from(key / CLIENTS_PER_ADDRESS).map_err(io::Error::other)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, source], 0)).into())?;
        let began = Instant::now();
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let mut stream = TcpStream::from_std(socket.into());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry().register(&mut stream, Token(key), both)?;
        self.clients.push(Client {
            stream,
            state: State::Connecting(began),
            next: key as u64 % self.channels.step(),
            has_gap: false,
            partial: Vec::new(),
        });
        self.unready += 1;
        Ok(())
    }

    fn step(&mut self, timeout: Duration, wish: Wish) -> io::Result<bool> {
        self.poll.poll(&mut self.events, Some(timeout))?;
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        let mut for_source = false;
        for event in &events {
            if event.token() == SOURCE {
                for_source = true;
                continue;
            }
            let key = event.token().0;
            if event.is_writable() {
                self.handle_writable(key);
            }
            if event.is_readable() || event.is_error() {
                self.read(key, wish);
            }
        }
        self.events = events;
        Ok(for_source)
    }

    fn handle_writable(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if let State::Connecting(began) = client.state {
            client.state = State::Upgrading(began);
            if client.stream.write(UPGRADE).is_err() {
                self.close(key);
            }
        }
    }

    fn read(&mut self, key: usize, wish: Wish) {
        let mut buffer = mem::take(&mut self.buffer);
        loop {
            let client = &mut self.clients[key];
            let kept = client.partial.len();
            buffer[..kept].copy_from_slice(&client.partial);
            match client.stream.read(&mut buffer[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => {
                    self.close(key);
                    break;
                }
                Ok(bytes) => {
                    let end = kept + bytes;
                    let consumed = self.take(key, &buffer[..end], wish);
                    let client = &mut self.clients[key];
                    client.partial.clear();
                    client.partial.extend_from_slice(&buffer[consumed..end]);
                    // A short read has emptied the socket (epoll(7)).
                    if end < buffer.len() {
                        break;
                    }
                }
            }
        }
        self.buffer = buffer;
    }

    /// Handles what is whole, and says where that ends.
    fn take(&mut self, key: usize, input: &[u8], wish: Wish) -> usize {
        let now = Instant::now();
        let mut at = 0;
        if let State::Upgrading(began) = self.clients[key].state {
            let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
                return 0;
            };
            at = end + 4;
            self.handle_upgraded(key, &input[..at], now - began, wish);
        }
        while let Some(frame) = whole_frame(&input[at..]) {
            self.handle_frame(key, frame, now);
            at += frame.len();
        }
        at
    }

    fn handle_upgraded(&mut self, key: usize, head: &[u8], took: Duration, wish: Wish) {
        let accepts = head.windows(ACCEPT.len()).any(|window| window == ACCEPT);
        if !head.starts_with(b"HTTP/1.1 101") || !accepts {
            self.tally.faults.handle_unexpected(head);
            return self.close(key);
        }
        self.tally.latency.add(took);
        let client = &mut self.clients[key];
        if wish == Wish::Upgrade {
            client.state = State::Ready;
            self.unready -= 1;
            return;
        }
        self.subscribe(key, 0);
    }

    /// Asks for the channel behind the `confirmed` first ones.
    fn subscribe(&mut self, key: usize, confirmed: u64) {
        let channel = self.channels.of_client(key as u64, confirmed);
        let channel = message::channel_name(channel);
        let text = format!("{{\"type\":\"subscribe\",\"channel\":\"{channel}\"}}");
        let client = &mut self.clients[key];
        client.state = State::Subscribing(confirmed);
        if client
            .stream
            .write(&client_frame(0x81, text.as_bytes()))
            .is_err()
        {
            self.close(key);
        }
    }

    fn handle_frame(&mut self, key: usize, frame: &[u8], now: Instant) {
        let client = &mut self.clients[key];
        if frame[0] == 0x89 {
            let _gone = client.stream.write(&client_frame(0x8A, &[]));
            return;
        }
        let text = &frame[2..];
        if client.state == State::Ready && frame[0] == 0x81 {
            if let Some(number) = message::number_in(text) {
                let since = number.checked_sub(self.published_from);
                let published =
                    since.and_then(|at| self.published_at.get(usize::try_from(at).ok()?));
                // A message of another channel, or one that nobody published, is no delivery.
                if let Some(published) = published
                    && number % self.channels.step() == client.next % self.channels.step()
                {
                    self.tally
                        .latency
                        .add(now.saturating_duration_since(*published));
                    let (next, has_gap) = (&mut client.next, &mut client.has_gap);
                    self.tally
                        .count(number, next, self.channels.step(), has_gap);
                    self.tally.last_at = Some(now);
                    return;
                }
            }
        } else if let State::Subscribing(confirmed) = client.state
            && text.windows(12).any(|w| w == b"\"subscribed\"")
        {
            if confirmed + 1 < self.channels.each() {
                return self.subscribe(key, confirmed + 1);
            }
            client.state = State::Ready;
            self.unready -= 1;
            return;
        }
        self.tally.faults.handle_unexpected(frame);
    }

    fn close(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if mem::replace(&mut client.state, State::Closed) != State::Closed {
            self.tally.faults.closed += 1;
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for client in &self.clients {
            let _gone = SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// The frame at the start, if it is all there.
fn whole_frame(input: &[u8]) -> Option<&[u8]> {
    let header_bytes = match input.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    if input.len() < header_bytes {
        return None;
    }
    input.get(..frame_bytes(input))
}

/// A client's short frame, its mask all zeros: legal, and it costs us nothing.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    assert!(length <= 125, "one byte of length");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// Of whatever makes the messages, in the crowd's poll.
pub(crate) const SOURCE: Token = Token(usize::MAX - 1);

/// How long nothing may happen where something should.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The answer to that key (RFC 6455, 1.3).
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Each source address has 28,000 ports.
const CLIENTS_PER_ADDRESS: usize = 10_000;
/// Handshakes on their way at a time.
const CONNECTING_MAX: usize = 256;
const BUFFER_BYTES: usize = 256 * 1024;
/// Linux, of a connect that does not wait.
const EINPROGRESS: i32 = 115;
