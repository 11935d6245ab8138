//! Why the first attempt to connect failed: the same again, alone, in plain blocking steps.
//!
//! The backend reconnects for ever and keeps to itself why it has to. A caller of `connect` is to
//! learn it, so the attempt is repeated here, once and only after it failed.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a blocking look at the server, off the reactor"
)]

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use super::ListenerError;
use crate::pg::{
    config::{Config, Host},
    session::{Event, Session, SessionError},
};

/// Why nobody can connect. `timeout` is for the whole of it but the resolver.
pub(super) fn diagnose(config: &Config, timeout: Duration) -> ListenerError {
    let address = config.address();
    match attempt(config, timeout) {
        // This time it worked: whatever was wrong has passed.
        Ok(()) => lost(config, io::ErrorKind::ConnectionReset),
        Err(Failure::Connection(error)) => ListenerError::Connection { address, error },
        Err(Failure::Session(error)) => ListenerError::Session { address, error },
    }
}

/// The connection ended for a reason without words of its own.
pub(super) fn lost(config: &Config, kind: io::ErrorKind) -> ListenerError {
    ListenerError::Connection {
        address: config.address(),
        error: kind.into(),
    }
}

enum Failure {
    Connection(io::Error),
    Session(Box<SessionError>),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

fn attempt(config: &Config, timeout: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    if let Some(path) = config.unix_socket_path() {
        let socket = UnixStream::connect(path)?;
        socket.set_write_timeout(Some(timeout))?;
        let set_timeout = |rest| socket.set_read_timeout(Some(rest));
        return start_up(&socket, set_timeout, config, deadline);
    }
    let socket = connect(config, deadline)?;
    socket.set_write_timeout(Some(timeout))?;
    let set_timeout = |rest| socket.set_read_timeout(Some(rest));
    start_up(&socket, set_timeout, config, deadline)
}

fn connect(config: &Config, deadline: Instant) -> io::Result<TcpStream> {
    let Host::Tcp(host) = &config.host else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in (host.as_str(), config.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, rest_until(deadline)?) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Goes as far as the first session that takes requests, and takes leave.
fn start_up(
    mut socket: impl Read + Write,
    set_timeout: impl Fn(Duration) -> io::Result<()>,
    config: &Config,
    deadline: Instant,
) -> Result<(), Failure> {
    let mut session = Session::new(config, "alle");
    let mut buffer = [0; 4_096];
    loop {
        while let Some(event) = session.poll_event() {
            match event {
                Event::Ready => {
                    session.terminate();
                    write(&mut socket, &mut session)?;
                    return Ok(());
                }
                Event::Failed(error) => return Err(Failure::Session(Box::new(error))),
                Event::Notification { .. } | Event::Completed { .. } | Event::Notice(_) => {}
            }
        }
        write(&mut socket, &mut session)?;
        set_timeout(rest_until(deadline)?)?;
        match socket.read(&mut buffer) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(bytes) => session.handle_input(&buffer[..bytes]),
            // How a time-out of a blocking socket shows depends on the system.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn write(socket: &mut impl Write, session: &mut Session) -> io::Result<()> {
    while let Some(bytes) = session.poll_transmit() {
        let written = socket.write(bytes)?;
        session.handle_transmitted(written);
    }
    Ok(())
}

fn rest_until(deadline: Instant) -> io::Result<Duration> {
    let rest = deadline.saturating_duration_since(Instant::now());
    if rest.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(rest)
}
