//! The sockets of PostgreSQL's two sessions: carries out orders, moves bytes.
//!
//! Knows nothing of what the bytes say.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use mio::{Interest, Registry, Token, Waker};

use super::{resolve::Resolution, socket::BackendSocket, token::Source};
use crate::{
    bridge::backend::{Backend, Order, Role},
    pg::config::Host,
};

/// Both sockets.
#[derive(Debug)]
pub(crate) struct BackendSockets {
    sockets: [Link; 2],
    waker: Arc<Waker>,
}

#[derive(Debug, Default)]
enum Link {
    #[default]
    None,
    Resolving(Resolution),
    Connecting {
        socket: BackendSocket,
        /// To be tried if this one fails.
        others: VecDeque<SocketAddr>,
    },
    Connected {
        socket: BackendSocket,
        /// An event said so and nothing since has said otherwise.
        readable: bool,
        writable: bool,
    },
}

impl BackendSockets {
    /// Whoever polls registers its waker under this.
    pub(crate) fn waker_token() -> Token {
        Source::Waker.token()
    }

    /// Whose event it is; `None` if it is not of ours.
    pub(crate) fn role_of(token: Token) -> Option<Role> {
        match Source::from_token(token) {
            Some(Source::Backend(role)) => Some(role),
            Some(Source::Listener | Source::Waker | Source::Signals | Source::Client(_)) | None => {
                None
            }
        }
    }

    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            sockets: Default::default(),
            waker,
        }
    }

    /// Does what the backend asks for; says whether a session was let go.
    pub(crate) fn carry_out(
        &mut self,
        backend: &mut Backend,
        registry: &Registry,
        now: Instant,
    ) -> bool {
        let mut let_go = false;
        while let Some(order) = backend.poll_order() {
            match order {
                Order::Connect(role) => {
                    if let Err(error) = self.connect(backend, role, registry) {
                        backend.handle_lost(role, &refused(&error), now);
                    }
                }
                Order::Disconnect(role) => {
                    self.sockets[role.index()] = Link::None;
                    let_go = true;
                }
            }
        }
        let_go
    }

    /// Takes note of an event; the bytes are moved by [`Self::read`] and [`Self::write`].
    pub(crate) fn handle_event(
        &mut self,
        role: Role,
        event: &mio::event::Event,
        backend: &mut Backend,
        registry: &Registry,
        now: Instant,
    ) {
        match &mut self.sockets[role.index()] {
            Link::None | Link::Resolving(_) => {}
            Link::Connecting { .. } => self.check_connecting(role, backend, registry, now),
            Link::Connected {
                readable, writable, ..
            } => {
                *readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                *writable |= event.is_writable();
            }
        }
    }

    /// Goes on with connections whose name is resolved by now.
    pub(crate) fn handle_wake(&mut self, backend: &mut Backend, registry: &Registry, now: Instant) {
        for role in Role::ALL {
            let Link::Resolving(resolution) = &self.sockets[role.index()] else {
                continue;
            };
            match resolution.poll() {
                None => {}
                Some(Ok(addresses)) => {
                    let addresses = addresses.into();
                    self.connect_next(role, addresses, None, backend, registry, now);
                }
                Some(Err(error)) => {
                    self.sockets[role.index()] = Link::None;
                    backend.handle_lost(role, &format!("failed: {error}"), now);
                }
            }
        }
    }

    /// Whether a socket has bytes that nobody will tell us of again.
    pub(crate) fn is_readable(&self) -> bool {
        self.sockets
            .iter()
            .any(|link| matches!(link, Link::Connected { readable: true, .. }))
    }

    /// Reads at most one buffer of each session.
    pub(crate) fn read(&mut self, backend: &mut Backend, buffer: &mut [u8], now: Instant) {
        for role in Role::ALL {
            let Link::Connected {
                socket, readable, ..
            } = &mut self.sockets[role.index()]
            else {
                continue;
            };
            if !*readable {
                continue;
            }
            match socket.read(buffer) {
                Ok(0) => backend.handle_lost(role, "was closed by the server", now),
                Ok(bytes) => backend.handle_input(role, &buffer[..bytes], now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => *readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => backend.handle_lost(role, &format!("was lost: {error}"), now),
            }
        }
    }

    /// Writes what the sessions have, as far as the sockets take it.
    pub(crate) fn write(&mut self, backend: &mut Backend, now: Instant) {
        for role in Role::ALL {
            let Link::Connected {
                socket, writable, ..
            } = &mut self.sockets[role.index()]
            else {
                continue;
            };
            while *writable {
                let Some(bytes) = backend.poll_transmit(role) else {
                    break;
                };
                match socket.write(bytes) {
                    Ok(written) => backend.handle_transmitted(role, written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => *writable = false,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        backend.handle_lost(role, &format!("was lost: {error}"), now);
                        break;
                    }
                }
            }
        }
    }

    fn connect(
        &mut self,
        backend: &mut Backend,
        role: Role,
        registry: &Registry,
    ) -> io::Result<()> {
        let config = backend.config();
        if let Some(path) = config.unix_socket_path() {
            let mut socket = BackendSocket::connect_unix(&path)?;
            register(&mut socket, role, registry)?;
            self.sockets[role.index()] = Link::Connected {
                socket,
                readable: true,
                writable: true,
            };
            backend.handle_connected(role);
        } else if let Host::Tcp(host) = &config.host {
            let resolution = Resolution::start(host, config.port, Arc::clone(&self.waker))?;
            self.sockets[role.index()] = Link::Resolving(resolution);
        }
        Ok(())
    }

    fn connect_next(
        &mut self,
        role: Role,
        mut addresses: VecDeque<SocketAddr>,
        mut failure: Option<io::Error>,
        backend: &mut Backend,
        registry: &Registry,
        now: Instant,
    ) {
        while let Some(address) = addresses.pop_front() {
            let connecting = BackendSocket::connect_tcp(address)
                .and_then(|mut socket| register(&mut socket, role, registry).map(|()| socket));
            match connecting {
                Ok(socket) => {
                    self.sockets[role.index()] = Link::Connecting {
                        socket,
                        others: addresses,
                    };
                    return;
                }
                Err(error) => failure = Some(error),
            }
        }
        self.sockets[role.index()] = Link::None;
        let why = failure.map_or_else(
            || "failed: the name has no address".to_owned(),
            |error| refused(&error),
        );
        backend.handle_lost(role, &why, now);
    }

    fn check_connecting(
        &mut self,
        role: Role,
        backend: &mut Backend,
        registry: &Registry,
        now: Instant,
    ) {
        let Link::Connecting { socket, others } = std::mem::take(&mut self.sockets[role.index()])
        else {
            return;
        };
        match socket.check_connected() {
            Ok(()) => {
                self.sockets[role.index()] = Link::Connected {
                    socket,
                    readable: true,
                    writable: true,
                };
                backend.handle_connected(role);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.sockets[role.index()] = Link::Connecting { socket, others };
            }
            Err(error) => {
                self.connect_next(role, others, Some(error), backend, registry, now);
            }
        }
    }
}

fn register(socket: &mut BackendSocket, role: Role, registry: &Registry) -> io::Result<()> {
    let token = Source::Backend(role).token();
    registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
}

fn refused(error: &io::Error) -> String {
    format!("failed: {error}")
}
