//! A TCP connection to whichever address of a host answers first (RFC 8305, "Happy Eyeballs").
//!
//! Blocks until one is open, all have failed, or time is up. Knows no name and no protocol.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line is a shell: it opens sockets and reads the clock"
)]

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// An address, and why there is no connection to it.
pub(super) type Failed = (SocketAddr, io::Error);

/// Connects to the first of the addresses that answers before `deadline`; the socket blocks.
/// Failed, it says why each of them did.
pub(super) fn connect(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Vec<Failed>> {
    let poll = Poll::new().map_err(|error| all(&addresses, &error))?;
    let mut race = Race {
        poll,
        waiting: interleaved(addresses),
        running: Vec::new(),
        failed: Vec::new(),
    };
    let (mut stream, address) = race.run(deadline).map_err(|error| race.lost(&error))?;
    let is_blocking = race
        .poll
        .registry()
        .deregister(&mut stream)
        .and_then(|()| socket2::SockRef::from(&stream).set_nonblocking(false));
    match is_blocking {
        Ok(()) => Ok((stream, address)),
        Err(error) => Err(vec![(address, error)]),
    }
}

struct Race {
    poll: Poll,
    /// Not tried yet.
    waiting: VecDeque<SocketAddr>,
    /// Each with its token.
    running: Vec<(usize, SocketAddr, TcpStream)>,
    failed: Vec<Failed>,
}

impl Race {
    /// The winner. Where there is none, why the race is over for those still in it.
    fn run(&mut self, deadline: Instant) -> io::Result<(TcpStream, SocketAddr)> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            if now >= next_at || self.running.is_empty() {
                if let Some(address) = self.waiting.pop_front() {
                    self.start(address);
                    next_at = now + NEXT_AFTER;
                    continue;
                }
            }
            if self.running.is_empty() {
                return Err(ErrorKind::NotFound.into());
            }
            let until = if self.waiting.is_empty() {
                deadline
            } else {
                deadline.min(next_at)
            };
            match self.poll.poll(&mut events, Some(until - now)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            for event in &events {
                if let Some(winner) = self.outcome(event.token()) {
                    return Ok(winner);
                }
            }
        }
    }

    fn start(&mut self, address: SocketAddr) {
        let token = self.failed.len() + self.running.len();
        let started = TcpStream::connect(address).and_then(|mut stream| {
            let registry = self.poll.registry();
            registry.register(&mut stream, Token(token), Interest::WRITABLE)?;
            Ok(stream)
        });
        match started {
            Ok(stream) => self.running.push((token, address, stream)),
            Err(error) => self.failed.push((address, error)),
        }
    }

    /// The connection of this token if it is open.
    fn outcome(&mut self, Token(token): Token) -> Option<(TcpStream, SocketAddr)> {
        let at = self.running.iter().position(|it| it.0 == token)?;
        let (_, address, stream) = &self.running[at];
        let address = *address;
        let open = match stream.take_error() {
            Ok(None) => stream.peer_addr().map(drop),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match open {
            // An event that says nothing: mio allows them.
            Err(error) if error.kind() == ErrorKind::NotConnected => None,
            Err(error) => {
                self.running.swap_remove(at);
                self.failed.push((address, error));
                None
            }
            Ok(()) => Some((self.running.swap_remove(at).2, address)),
        }
    }

    /// Why each has failed, now that the rest has for this reason.
    fn lost(&mut self, error: &io::Error) -> Vec<Failed> {
        let running = self.running.drain(..).map(|(_, address, _)| address);
        let rest: Vec<_> = running.chain(self.waiting.drain(..)).collect();
        self.failed.extend(all(&rest, error));
        std::mem::take(&mut self.failed)
    }
}

fn all(addresses: &[SocketAddr], error: &io::Error) -> Vec<Failed> {
    let failed = |address: &SocketAddr| (*address, error.kind().into());
    addresses.iter().map(failed).collect()
}

/// The families in turn, beginning with that of the first address, each in its own order (RFC
/// 8305, 4).
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_ipv6);
    let mut order = VecDeque::with_capacity(one.len() + other.len());
    while let Some(address) = one.pop_front() {
        order.push_back(address);
        std::mem::swap(&mut one, &mut other);
        if one.is_empty() {
            std::mem::swap(&mut one, &mut other);
        }
    }
    order
}

/// The next address is tried beside those before it (RFC 8305, 5).
const NEXT_AFTER: Duration = Duration::from_millis(250);
const EVENTS: usize = 16;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn in_10_s() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// An address that never answers: its queue of connections is full.
    fn mute() -> (TcpListener, Vec<std::net::TcpStream>, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) =
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100))
        {
            queue.push(stream);
        }
        (listener, queue, address)
    }

    #[test]
    fn families_take_turns() {
        for (addresses, order) in [
            ("", ""),
            ("[::1]:1", "[::1]:1"),
            (
                "[::1]:1 [::2]:1 1.1.1.1:1 1.1.1.2:1",
                "[::1]:1 1.1.1.1:1 [::2]:1 1.1.1.2:1",
            ),
            (
                "1.1.1.1:1 1.1.1.2:1 1.1.1.3:1 [::1]:1",
                "1.1.1.1:1 [::1]:1 1.1.1.2:1 1.1.1.3:1",
            ),
            (
                "1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1",
                "1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1",
            ),
        ] {
            let parse = |text: &str| -> Vec<SocketAddr> {
                text.split_whitespace()
                    .map(|it| it.parse().unwrap())
                    .collect()
            };
            assert_eq!(interleaved(parse(addresses)), parse(order), "{addresses}");
        }
    }

    #[test]
    fn an_address_that_does_not_answer_is_raced_by_the_next_one() {
        let (_mute, _queue, mute) = mute();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sound = listener.local_addr().unwrap();
        let (_, address) = connect(vec![mute, sound], in_10_s()).unwrap();
        assert_eq!(address, sound);
    }

    #[test]
    fn each_address_says_why_it_failed() {
        let (_mute, _queue, mute) = mute();
        let refused = SocketAddr::from(([127, 0, 0, 1], 1));
        let deadline = Instant::now() + Duration::from_millis(500);
        let failed = connect(vec![refused, mute], deadline).unwrap_err();
        let kinds = failed
            .iter()
            .map(|(address, error)| (*address, error.kind()));
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            [
                (refused, ErrorKind::ConnectionRefused),
                (mute, ErrorKind::TimedOut)
            ]
        );
        assert!(connect(Vec::new(), in_10_s()).unwrap_err().is_empty());
    }
}
