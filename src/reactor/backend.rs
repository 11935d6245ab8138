//! The sockets of PostgreSQL's two sessions: carries out orders, moves bytes.
//!
//! Knows nothing of what the bytes say; whether TLS carries them, the session learns once.

mod leaving;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use mio::{Interest, Registry, Waker};

use self::leaving::Leaver;
use super::{
    resolve::{Answer, Question, Resolver, Unresolved},
    socket::BackendSocket,
    source::Source,
    tls::{Connector, Progress, Securing, TlsSocket},
};
use crate::backend::{Backend, Order, Role, Unreached};

/// The sockets of both sessions, and of those that were given up.
#[derive(Debug)]
pub(crate) struct BackendSockets {
    sockets: [Stage; 3],
    leavers: [Option<Leaver>; 3],
    resolvers: [Resolver; 3],
    waker: Arc<Waker>,
}

/// How far the connection of a session has come.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    None,
    /// The first one that is connected goes on.
    Connecting {
        sockets: Vec<(SocketAddr, BackendSocket)>,
        /// Where TLS is wanted.
        connector: Option<Connector>,
    },
    Securing(Box<Securing>, Origin),
    Connected {
        stream: Stream,
        origin: Origin,
        /// An event said so and nothing since has said otherwise.
        readable: bool,
        writable: bool,
    },
}

/// Where a connection leads, for another one to the same server.
#[derive(Clone, Debug)]
enum Origin {
    Unix(PathBuf),
    Tcp {
        address: SocketAddr,
        /// Where TLS was wanted.
        connector: Option<Connector>,
    },
}

/// What carries a session's bytes.
#[derive(Debug)]
enum Stream {
    Plain(BackendSocket),
    Tls(TlsSocket),
}

impl BackendSockets {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            sockets: Default::default(),
            leavers: Default::default(),
            resolvers: [waker.clone(), waker.clone(), waker.clone()].map(Resolver::new),
            waker,
        }
    }

    /// Ends the wait of the loop from another thread.
    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Does what the backend orders.
    pub(crate) fn carry_out(
        &mut self,
        order: Order,
        backend: &mut Backend,
        registry: &Registry,
        now: Instant,
    ) {
        match order {
            Order::Resolve(role) => {
                let question = Question::Settings(backend.connection_string(role).clone());
                self.ask(role, question, backend, now);
            }
            Order::Connect(role) => {
                if let Err(error) = self.connect(backend, role, registry) {
                    backend.handle_unreachable(role, &refused(&error), error.kind(), now);
                }
            }
            Order::Open(role, address) => self.open(role, address, backend, registry, now),
            Order::Close(role, address) => {
                if let Stage::Connecting { sockets, .. } = &mut self.sockets[role.index()] {
                    sockets.retain(|(of, _)| *of != address);
                }
            }
            Order::DeriveKey(role) => {
                if let Some(derivation) = backend.take_key_derivation(role) {
                    self.ask(role, Question::Key(derivation), backend, now);
                }
            }
            Order::Leave(role) => {
                self.resolvers[role.index()].abandon();
                self.leave(role, backend, registry);
            }
            Order::Cancel(role) => self.cancel(role, backend, registry),
            Order::Disconnect(role) => {
                self.resolvers[role.index()].abandon();
                self.sockets[role.index()] = Stage::None;
            }
        }
    }

    fn ask(&mut self, role: Role, question: Question, backend: &mut Backend, now: Instant) {
        if let Err(error) = self.resolvers[role.index()].ask(question) {
            backend.handle_unreachable(role, &refused(&error), error.kind(), now);
        }
    }

    /// Takes note of an event; the bytes are moved by [`Self::read`] and [`Self::write`].
    pub(crate) fn handle_event(
        &mut self,
        role: Role,
        event: &mio::event::Event,
        backend: &mut Backend,
        now: Instant,
    ) {
        match &mut self.sockets[role.index()] {
            Stage::None => {}
            Stage::Connecting { .. } => self.check_connecting(role, backend, now),
            Stage::Securing(..) => self.secure(role, backend, now),
            Stage::Connected {
                readable, writable, ..
            } => {
                *readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                *writable |= event.is_writable();
            }
        }
    }

    /// Takes note of an event of a session that was given up, or of the request for its end.
    pub(crate) fn handle_leaving(&mut self, role: Role) {
        if let Some(leaver) = &mut self.leavers[role.index()] {
            leaver.handle_event();
        }
    }

    /// Goes on with what threads found out by now.
    pub(crate) fn handle_wake(&mut self, backend: &mut Backend, now: Instant) {
        for role in Role::ALL {
            let Some(answer) = self.resolvers[role.index()].poll() else {
                continue;
            };
            match answer {
                Answer::Settings(Ok(config)) => backend.handle_resolved(role, *config, now),
                Answer::Settings(Err(error)) => backend.handle_unresolved(role, error, now),
                Answer::Server(Ok(resolved)) => {
                    self.sockets[role.index()] = Stage::Connecting {
                        sockets: Vec::new(),
                        connector: resolved.connector,
                    };
                    backend.handle_located(role, &resolved.addresses, now);
                }
                Answer::Server(Err(Unresolved::Name(error))) | Answer::None(error) => {
                    backend.handle_unreachable(role, &refused(&error), error.kind(), now);
                }
                Answer::Server(Err(Unresolved::Tls(error))) => {
                    backend.handle_tls_failed(role, &error.to_string(), now);
                }
                Answer::Key(key) => backend.handle_key(role, &key),
            }
        }
    }

    /// Whether a socket has bytes that nobody will tell us of again.
    pub(crate) fn is_readable(&self) -> bool {
        self.sockets
            .iter()
            .any(|stage| matches!(stage, Stage::Connected { readable: true, .. }))
            || self.leavers.iter().flatten().any(Leaver::is_readable)
    }

    /// Reads at most one buffer of each session.
    pub(crate) fn read(&mut self, backend: &mut Backend, buffer: &mut [u8], now: Instant) {
        for role in Role::ALL {
            let leaver = self.leavers[role.index()]
                .take_if(|it| backend.departure(role).is_none() || it.read(buffer));
            if leaver.is_some() {
                backend.handle_left(role);
            }
            let Stage::Connected {
                stream, readable, ..
            } = &mut self.sockets[role.index()]
            else {
                continue;
            };
            if !*readable {
                continue;
            }
            match stream.read(buffer) {
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
            let Stage::Connected {
                stream, writable, ..
            } = &mut self.sockets[role.index()]
            else {
                continue;
            };
            while *writable {
                // Of TLS something older may wait, which is flushed even where nothing follows.
                let written = match (stream.flush(), backend.poll_transmit(role)) {
                    (Ok(()), None) => break,
                    (Ok(()), Some(bytes)) => stream.write(bytes),
                    (Err(error), _) => Err(error),
                };
                match written {
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

    /// The socket of the session is kept aside.
    fn leave(&mut self, role: Role, backend: &mut Backend, registry: &Registry) {
        let stage = std::mem::take(&mut self.sockets[role.index()]);
        let leaver = match (stage, backend.departure(role)) {
            (Stage::Connected { stream, origin, .. }, Some(departure)) => {
                Leaver::new(stream, origin, departure, role, registry).ok()
            }
            _ => None,
        };
        if leaver.is_none() {
            backend.handle_left(role);
        }
        self.leavers[role.index()] = leaver;
    }

    fn cancel(&mut self, role: Role, backend: &Backend, registry: &Registry) {
        let leaver = self.leavers[role.index()].as_mut();
        if let (Some(leaver), Some(departure)) = (leaver, backend.departure(role))
            && let Err(error) = leaver.cancel(departure, role, registry)
        {
            tracing::debug!(
                target: "alle::postgres",
                "{role} session: no CancelRequest was sent: {error}"
            );
        }
    }

    fn connect(
        &mut self,
        backend: &mut Backend,
        role: Role,
        registry: &Registry,
    ) -> io::Result<()> {
        let server = backend.server(role);
        if let Some(path) = server.unix_socket_path() {
            let mut socket = BackendSocket::connect_unix(&path)?;
            if let Some(peer) = &server.peer {
                socket.check_peer(peer)?;
            }
            register(&mut socket, Source::Backend(role), registry)?;
            self.connected(role, Stream::Plain(socket), Origin::Unix(path));
            backend.handle_connected(role);
        } else {
            self.resolvers[role.index()].ask(Question::Server {
                server: server.clone(),
                tls: backend.config(role).tls.clone(),
                encryption: backend.route(role).encryption,
            })?;
        }
        Ok(())
    }

    fn connected(&mut self, role: Role, stream: Stream, origin: Origin) {
        self.sockets[role.index()] = Stage::Connected {
            stream,
            origin,
            readable: true,
            writable: true,
        };
    }

    /// Begins to connect to one more address.
    fn open(
        &mut self,
        role: Role,
        address: SocketAddr,
        backend: &mut Backend,
        registry: &Registry,
        now: Instant,
    ) {
        let Stage::Connecting { sockets, .. } = &mut self.sockets[role.index()] else {
            return;
        };
        let keepalive = &backend.config(role).keepalive;
        let connecting = BackendSocket::connect_tcp(address, keepalive).and_then(|mut socket| {
            register(&mut socket, Source::Backend(role), registry).map(|()| socket)
        });
        match connecting {
            Ok(socket) => sockets.push((address, socket)),
            Err(error) => backend.handle_unopened(role, unreached(address, &error), now),
        }
    }

    fn check_connecting(&mut self, role: Role, backend: &mut Backend, now: Instant) {
        let Stage::Connecting { sockets, connector } = &mut self.sockets[role.index()] else {
            return;
        };
        let mut failed = Vec::new();
        let mut connected = None;
        for (address, socket) in std::mem::take(sockets) {
            match socket.check_connected() {
                Ok(()) if connected.is_none() => connected = Some((address, socket)),
                // The first one goes on, and the others are closed.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sockets.push((address, socket));
                }
                Err(error) => failed.push(unreached(address, &error)),
            }
        }
        let Some((address, socket)) = connected else {
            for unreached in failed {
                backend.handle_unopened(role, unreached, now);
            }
            return;
        };
        let connector = connector.take();
        backend.handle_opened(role, address);
        let origin = Origin::Tcp {
            address,
            connector: connector.clone(),
        };
        match connector {
            None => {
                self.connected(role, Stream::Plain(socket), origin);
                backend.handle_connected(role);
            }
            Some(connector) => {
                let encryption = backend.route(role).encryption;
                let securing = Securing::new(socket, connector, encryption);
                self.sockets[role.index()] = Stage::Securing(Box::new(securing), origin);
                self.secure(role, backend, now);
            }
        }
    }

    fn secure(&mut self, role: Role, backend: &mut Backend, now: Instant) {
        let Stage::Securing(securing, origin) = std::mem::take(&mut self.sockets[role.index()])
        else {
            return;
        };
        match securing.advance() {
            Progress::Pending(securing) => {
                if securing.has_begun() {
                    backend.handle_tls_begun(role);
                }
                self.sockets[role.index()] = Stage::Securing(securing, origin);
            }
            Progress::Plain(socket) => {
                self.connected(role, Stream::Plain(socket), origin);
                backend.handle_connected(role);
            }
            Progress::Secured(socket, end_point) => {
                self.connected(role, Stream::Tls(socket), origin);
                backend.handle_secured(role, end_point);
            }
            Progress::Lost(error) => {
                backend.handle_unreachable(role, &refused(&error), error.kind(), now);
            }
            Progress::Failed(error) => {
                backend.handle_tls_failed(role, &error.to_string(), now);
            }
        }
    }
}

impl Stream {
    fn socket_mut(&mut self) -> &mut BackendSocket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(socket) => socket.socket_mut(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(socket) => socket.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(socket) => socket.flush(),
        }
    }
}

fn register(socket: &mut BackendSocket, source: Source, registry: &Registry) -> io::Result<()> {
    let token = source.token();
    registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
}

fn unreached(address: SocketAddr, error: &io::Error) -> Unreached {
    Unreached {
        address,
        kind: error.kind(),
        why: error.to_string(),
    }
}

fn refused(error: &io::Error) -> String {
    format!("failed: {error}")
}

#[cfg(test)]
mod tests;
