//! The floor: the same bytes to as many sockets in a plain loop, in a process of its own.
//!
//! Answers upgrades and subscribes with bytes made before, knows no protocol beyond that, and sends
//! what its control connection orders: `FIRST COUNT`, a line each. Whatever is ordered when it
//! looks, and is for one client, goes out in one write: an ideal server.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    thread,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use crate::{
    message::{self, Channels, Number},
    options::FloorOptions,
};

/// Runs until the control connection ends.
pub(crate) fn run(options: &FloorOptions) -> io::Result<()> {
    let mut floor = Floor::start(options)?;
    let mut events = Events::with_capacity(256);
    loop {
        floor.poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                CONTROL if floor.obey()? => {}
                CONTROL => return Ok(()),
                LISTENER => floor.accept()?,
                Token(client) => floor.read(client),
            }
        }
    }
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    control: TcpStream,
    channels: Channels,
    clients: Slab<Client>,
    /// Those subscribed to each channel; to all of them, if those are shared.
    subscribers: Vec<Vec<usize>>,
    /// The begin of a line.
    orders: Vec<u8>,
    buffer: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    upgraded: bool,
}

impl Floor {
    fn start(options: &FloorOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(4_096)?;
        let mut listener = TcpListener::from_std(socket.into());
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;

        let mut control = std::net::TcpStream::connect(options.control)?;
        control.write_all(format!("{}\n", listener.local_addr()?).as_bytes())?;
        control.set_nonblocking(true)?;
        let mut control = TcpStream::from_std(control);
        poll.registry()
            .register(&mut control, CONTROL, Interest::READABLE)?;
        let lists = usize::try_from(options.channels.step()).map_err(io::Error::other)?;
        Ok(Self {
            poll,
            listener,
            control,
            channels: options.channels,
            clients: Slab::new(),
            subscribers: vec![Vec::new(); lists],
            orders: Vec::new(),
            buffer: Vec::new(),
        })
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let entry = self.clients.vacant_entry();
            let token = Token(entry.key());
            self.poll
                .registry()
                .register(&mut stream, token, Interest::READABLE)?;
            let upgraded = false;
            entry.insert(Client { stream, upgraded });
        }
    }

    fn read(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let mut input = [0; 4_096];
        let text = match client.stream.read(&mut input) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(0) | Err(_) => {
                self.clients.remove(key);
                self.subscribers
                    .iter_mut()
                    .for_each(|of_one| of_one.retain(|one| *one != key));
                return;
            }
            Ok(bytes) => &input[..bytes],
        };
        // On loopback a request, a short frame and an answer go through whole.
        if !client.upgraded {
            client.upgraded = true;
            let _gone = client.stream.write(UPGRADED);
        } else if let Some(channel) = channel_in(text) {
            if let Some(subscribers) = self.subscribers.get_mut(channel) {
                subscribers.push(key);
            }
            let _gone = client.stream.write(SUBSCRIBED);
        }
    }

    /// Sends what was ordered; false at the end of the orders.
    fn obey(&mut self) -> io::Result<bool> {
        let mut input = [0; 64 * 1024];
        loop {
            match self.control.read(&mut input) {
                Ok(0) => return Ok(false),
                Ok(bytes) => self.orders.extend_from_slice(&input[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let Some(end) = self.orders.iter().rposition(|&byte| byte == b'\n') else {
            return Ok(true);
        };
        let lines = self.orders.drain(..=end).collect::<Vec<_>>();
        let mut gathered: Range<Number> = 0..0;
        for line in String::from_utf8_lossy(&lines).lines() {
            let (first, count) = line.split_once(' ').expect("FIRST COUNT");
            let first = first.parse().map_err(io::Error::other)?;
            let end = first + count.parse::<u64>().map_err(io::Error::other)?;
            if first != gathered.end {
                self.send(gathered.clone());
                gathered.start = first;
            }
            gathered.end = end;
        }
        self.send(gathered);
        Ok(true)
    }

    /// All there is for a client at once, the clients of one channel behind those of another.
    fn send(&mut self, messages: Range<Number>) {
        let step = self.subscribers.len();
        for first in messages.clone().take(step) {
            self.buffer.clear();
            let of_client = (first..messages.end).step_by(step);
            message::append_frames(of_client, self.channels.count, &mut self.buffer);
            let list = usize::try_from(first).expect("far fewer") % step;
            for &key in &self.subscribers[list] {
                write_all(&mut self.clients[key].stream, &self.buffer);
            }
        }
    }
}

/// Waits for a full socket. The loops are closed, so it hardly happens.
fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_micros(50));
            }
            Err(_) => return,
        }
    }
}

/// Of a client's subscribe, which a zero mask leaves readable: the number in `"channel":"c00007"`.
fn channel_in(text: &[u8]) -> Option<usize> {
    let name = b"\"channel\":\"c";
    let start = text.windows(name.len()).position(|window| window == name)? + name.len();
    std::str::from_utf8(text.get(start..start + 5)?)
        .ok()?
        .parse()
        .ok()
}

const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const SUBSCRIBED: &[u8] = b"\x81\x32{\"type\":\"subscribed\",\"channel\":\"\",\"epoch\":\"floor\"}";

const LISTENER: Token = Token(usize::MAX - 1);
const CONTROL: Token = Token(usize::MAX - 2);
