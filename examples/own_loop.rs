//! The core in a loop of one's own, here around `mio`: `cargo run --example own_loop [ADDRESS]`.
//! Notifications come from the clients alone, and there is no PostgreSQL. The module `sans_io` is
//! unstable.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a shell of its own: it has sockets, a clock, and an address to be looked at"
)]

use std::{
    collections::VecDeque,
    env,
    error::Error,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::Shutdown,
    time::{Duration, Instant},
};

use alle::{
    Incoming,
    sans_io::{
        Action, ClientId, Disconnect, Endpoints, Fed, Hub, Outgoing, Settings, Taken, Transmit,
        Written,
    },
};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    let mut shell = Shell::bind(address)?;
    println!("listening on ws://{}", shell.listener.local_addr()?);
    let mut events = Events::with_capacity(256);
    loop {
        shell.turn(&mut events)?;
    }
}

/// Sockets and a clock around the core.
struct Shell {
    hub: Hub,
    poll: Poll,
    listener: TcpListener,
    /// By the slot of the client, which is the token of its socket, too.
    sockets: Vec<Option<TcpStream>>,
    /// Clients whose sockets may have bytes that no further event announces.
    readable: VecDeque<ClientId>,
    buffer: Vec<u8>,
}

impl Shell {
    fn bind(address: &str) -> Result<Self, Box<dyn Error>> {
        let settings = Settings {
            epoch_seed: RandomState::new().build_hasher().finish(),
            ..Settings::default()
        };
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address.parse()?)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            hub: Hub::with_feed(settings, Instant::now()),
            poll,
            listener,
            sockets: Vec::new(),
            readable: VecDeque::new(),
            buffer: vec![0; 16 * 1024],
        })
    }

    /// Everything that is done once: the hub is told the time, events, bytes and deadlines, and
    /// asked for bytes and actions.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, self.timeout()) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        self.hub.begin_turn(now, !events.is_empty());
        for event in &*events {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            // A socket whose slot has another client by now is closed, and has no events.
            let slot = u32::try_from(event.token().0).expect("the slot of a client");
            let client = self.hub.client_at(slot);
            if event.is_writable() {
                self.hub.handle_client_writable(client);
            }
            self.readable.push_back(client);
        }
        for _ in 0..self.readable.len() {
            self.read_next();
        }
        self.carry_out();
        self.write();
        if self.hub.poll_timeout().is_some_and(|at| at <= now) {
            self.hub.handle_timeout();
        }
        self.hub.end_turn();
        self.carry_out();
        Ok(())
    }

    /// How long to wait: not at all while there is work that no event announces.
    fn timeout(&self) -> Option<Duration> {
        if self.hub.has_transmit() || !self.readable.is_empty() {
            return Some(Duration::ZERO);
        }
        let until = self.hub.poll_timeout()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (mut socket, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let client = self.hub.handle_connected(Endpoints {
                peer: Some(peer.ip()),
                local: socket.local_addr().ok().map(|it| it.ip()),
            });
            let slot = client.slot as usize;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut socket, Token(slot), both)?;
            if self.sockets.len() <= slot {
                self.sockets.resize_with(slot + 1, || None);
            }
            self.sockets[slot] = Some(socket);
        }
    }

    /// Reads once from the next client in turn, which stays in line until its socket is empty.
    fn read_next(&mut self) {
        let Some(client) = self.readable.pop_front() else {
            return;
        };
        // A paused client is read again when the hub says so.
        if !self.hub.is_current(client) || self.hub.is_paused(client) {
            return;
        }
        if self.hub.unparsed_bytes(client) > 0 {
            self.hub.handle_client_input(client, &mut []);
            if self.hub.unparsed_bytes(client) == 0 {
                self.readable.push_back(client);
            }
            return;
        }
        let Some(socket) = &mut self.sockets[client.slot as usize] else {
            return;
        };
        match socket.read(&mut self.buffer) {
            Ok(bytes) if bytes > 0 => {
                self.hub
                    .handle_client_input(client, &mut self.buffer[..bytes]);
                self.readable.push_back(client);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => self.readable.push_back(client),
            _ => self.lose(client),
        }
    }

    /// Writes a slice of what is ready.
    fn write(&mut self) {
        for _ in 0..64 {
            let Some(Transmit { slot, bytes }) = self.hub.poll_transmit() else {
                return;
            };
            let written = match &mut self.sockets[slot as usize] {
                Some(socket) => write(socket, &bytes),
                None => Ok(Written::Full(0)),
            };
            let is_lost = written.is_err();
            self.hub
                .handle_transmitted(written.unwrap_or(Written::Full(0)));
            if is_lost {
                self.lose(self.hub.client_at(slot));
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Disconnect(client, how) => {
                    let socket = &mut self.sockets[client.slot as usize];
                    match (how, socket.as_ref()) {
                        (Disconnect::Shutdown, Some(open)) => {
                            let _is_gone = open.shutdown(Shutdown::Write);
                        }
                        _ => *socket = None,
                    }
                }
                Action::Resume(client) => self.readable.push_back(client),
                // One has TCP_USER_TIMEOUT for that, where it is worth the call.
                Action::Watch(_) => {}
                Action::Request(request) => {
                    if let Incoming::Notify(channel, payload) = request.incoming {
                        let payload = payload.as_str().to_owned();
                        self.hub.handle_fed(&Fed::Notification(channel, payload));
                    }
                    if let Some(ticket) = request.ticket {
                        self.hub.handle_taken(ticket, Taken::Yes);
                    }
                }
                // Of a bridge to PostgreSQL, of a protocol of one's own, and of an admission.
                Action::Backend(_)
                | Action::Published(..)
                | Action::Message(..)
                | Action::Ask(..)
                | Action::Tell(_) => {}
            }
        }
    }

    fn lose(&mut self, client: ClientId) {
        self.sockets[client.slot as usize] = None;
        self.hub.handle_client_closed(client);
    }
}

/// One write. An error means that the peer is gone.
fn write(socket: &mut TcpStream, bytes: &Outgoing<'_>) -> io::Result<Written> {
    let one;
    let many;
    let slices = match bytes {
        Outgoing::One(bytes) => {
            one = [IoSlice::new(bytes)];
            &one[..]
        }
        Outgoing::Many(pieces) => {
            many = pieces.slices();
            &many.0[..many.1]
        }
    };
    let length: usize = slices.iter().map(|it| it.len()).sum();
    loop {
        return match socket.write_vectored(slices) {
            Ok(count) if count == length => Ok(Written::All),
            Ok(count) => Ok(Written::Full(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Written::Full(0)),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

const LISTENER: Token = Token(usize::MAX);
