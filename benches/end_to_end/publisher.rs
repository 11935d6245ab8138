//! Publishes through PostgreSQL: one notification a transaction, or a burst in one.
//!
//! Speaks by `alle::internals::pg::session`, which knows no transaction of several notifications; those go as
//! a Query of our own once the session is ready. Never waits for an answer, and counts them all.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
};

use alle::{
    Channel, Payload,
    internals::pg::{
        config::Config,
        session::{Event, Session, Ticket},
    },
};
use bytes::BytesMut;
use mio::{Interest, Registry, Token, net::TcpStream as MioStream};
use postgres_protocol::message::frontend;

use crate::message::{self, Number};

/// A session and its socket.
pub(crate) struct Publisher {
    session: Session,
    stream: MioStream,
    channels: u64,
    /// Answers to our own queries that are still to come; zero while the session has requests.
    bursts_unanswered: usize,
    /// Of an answer: what did not make a whole message yet.
    partial: Vec<u8>,
    /// Queries that the socket did not take yet.
    waiting: Vec<u8>,
}

impl Publisher {
    /// Connects, and returns when the session is ready.
    pub(crate) fn connect(postgres_url: &str, channels: u64) -> io::Result<Self> {
        let config = Config::parse(postgres_url, &|_| None).map_err(io::Error::other)?;
        let address = SocketAddr::from(([127, 0, 0, 1], config.servers[0].port));
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut session = Session::new(&config, "end_to_end");
        start_up(&mut session, &mut stream)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            session,
            stream: MioStream::from_std(stream),
            channels,
            bursts_unanswered: 0,
            partial: Vec::new(),
            waiting: Vec::new(),
        })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.stream, token, both)
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.stream)
    }

    /// Queues one transaction.
    pub(crate) fn publish(&mut self, messages: Range<Number>) {
        let channel = |number| message::channel_name(message::channel_of(number, self.channels));
        if messages.end - messages.start == 1 {
            assert_eq!(self.bursts_unanswered, 0, "bursts and singles do not mix");
            let number = messages.start;
            let channel = Channel::new(&channel(number)).expect("a name as any other");
            let payload = Payload::new(&message::payload(number)).expect("a short payload");
            self.session.notify([(&channel, &payload)], Ticket(number));
            return;
        }
        assert_eq!(self.session.in_flight(), 0, "bursts and singles do not mix");
        let call = |number| {
            format!(
                "pg_notify('{}', '{}')",
                channel(number),
                message::payload(number)
            )
        };
        let calls: Vec<_> = messages.map(call).collect();
        let mut query = BytesMut::new();
        frontend::query(&format!("SELECT {}", calls.join(", ")), &mut query).expect("no NUL");
        self.waiting.extend_from_slice(&query);
        self.bursts_unanswered += 1;
    }

    /// Writes what is queued and reads what is answered, as far as the socket goes.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        self.write()?;
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::other("PostgreSQL closed the session")),
                Ok(bytes) => self.handle_input(&buffer[..bytes])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.session.poll_transmit() {
            match self.stream.write(bytes) {
                Ok(written) => self.session.handle_transmitted(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn handle_input(&mut self, input: &[u8]) -> io::Result<()> {
        if self.bursts_unanswered > 0 {
            self.partial.extend_from_slice(input);
            return self.take_answers();
        }
        self.session.handle_input(input);
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Completed { result, .. } => result.map_err(|error| {
                    io::Error::other(format!("a notification was refused: {error}"))
                })?,
                Event::Failed(error) => return Err(io::Error::other(error)),
                Event::Ready | Event::Notification { .. } | Event::Notice(_) => {}
            }
        }
        Ok(())
    }

    /// Counts each ReadyForQuery (PostgreSQL, "Message Formats"), and fails at an ErrorResponse.
    fn take_answers(&mut self) -> io::Result<()> {
        let mut at = 0;
        while let Some(&[kind, a, b, c, d]) = self.partial.get(at..at + 5) {
            let length = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
            if self.partial.len() < at + length {
                break;
            }
            match kind {
                b'Z' => self.bursts_unanswered -= 1,
                b'E' => return Err(io::Error::other("a burst was refused")),
                _ => {}
            }
            at += length;
        }
        self.partial.drain(..at);
        Ok(())
    }
}

/// From the StartupMessage to the first ReadyForQuery that is ours.
fn start_up(session: &mut Session, stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4 * 1024];
    loop {
        while let Some(bytes) = session.poll_transmit() {
            stream.write_all(bytes)?;
            let written = bytes.len();
            session.handle_transmitted(written);
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::Error::other("PostgreSQL closed the session"));
        }
        session.handle_input(&buffer[..read]);
        while let Some(event) = session.poll_event() {
            match event {
                Event::Ready => return Ok(()),
                Event::Failed(error) => return Err(io::Error::other(error)),
                Event::Notification { .. } | Event::Completed { .. } | Event::Notice(_) => {}
            }
        }
    }
}
