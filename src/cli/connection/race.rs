//! A TCP connection to whichever address of a host answers first (RFC 8305, "Happy Eyeballs").
//!
//! Blocks until one is open, all have failed, or time is up. Knows no name and no protocol.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line is a shell: it opens sockets and reads the clock"
)]

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Instant,
};

use alle::internals::race::Race;
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
    let now = Instant::now();
    let mut runners = Runners {
        poll,
        race: Race::new(
            addresses.iter().copied(),
            deadline.saturating_duration_since(now),
            now,
        ),
        running: Vec::new(),
        failed: Vec::new(),
    };
    let (mut stream, address) = runners
        .run(deadline)
        .map_err(|error| runners.lost(&addresses, &error))?;
    let is_blocking = runners
        .poll
        .registry()
        .deregister(&mut stream)
        .and_then(|()| socket2::SockRef::from(&stream).set_nonblocking(false));
    match is_blocking {
        Ok(()) => Ok((stream, address)),
        Err(error) => Err(vec![(address, error)]),
    }
}

/// The sockets of a race.
struct Runners {
    poll: Poll,
    race: Race,
    /// Each with its token.
    running: Vec<(usize, SocketAddr, TcpStream)>,
    failed: Vec<Failed>,
}

impl Runners {
    /// The winner. Where there is none, why the race is over for those still in it.
    fn run(&mut self, deadline: Instant) -> io::Result<(TcpStream, SocketAddr)> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            while let Some(address) = self.race.poll_start(now) {
                self.start(address, now);
            }
            if self.race.is_over() {
                return Err(ErrorKind::NotFound.into());
            }
            let until = self.race.deadline().min(deadline);
            let wait = until.saturating_duration_since(now);
            match self.poll.poll(&mut events, Some(wait)) {
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

    fn start(&mut self, address: SocketAddr, now: Instant) {
        let token = self.failed.len() + self.running.len();
        let started = TcpStream::connect(address).and_then(|mut stream| {
            let registry = self.poll.registry();
            registry.register(&mut stream, Token(token), Interest::WRITABLE)?;
            Ok(stream)
        });
        match started {
            Ok(stream) => self.running.push((token, address, stream)),
            Err(error) => self.fail(address, error, now),
        }
    }

    fn fail(&mut self, address: SocketAddr, error: io::Error, now: Instant) {
        self.race.handle_failed(address, now);
        self.failed.push((address, error));
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
                self.fail(address, error, Instant::now());
                None
            }
            Ok(()) => Some((self.running.swap_remove(at).2, address)),
        }
    }

    /// Why each of the addresses has failed, now that the rest has for this reason.
    fn lost(&mut self, addresses: &[SocketAddr], error: &io::Error) -> Vec<Failed> {
        let mut failed = std::mem::take(&mut self.failed);
        let has_failed = |it: &&SocketAddr| failed.iter().any(|(address, _)| address == *it);
        let rest: Vec<_> = addresses
            .iter()
            .filter(|it| !has_failed(it))
            .copied()
            .collect();
        failed.extend(all(&rest, error));
        failed
    }
}

fn all(addresses: &[SocketAddr], error: &io::Error) -> Vec<Failed> {
    let failed = |address: &SocketAddr| (*address, error.kind().into());
    addresses.iter().map(failed).collect()
}

const EVENTS: usize = 16;

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Duration};

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
