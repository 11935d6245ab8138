//! The shell: every socket, the only clock, and the loop that turns them into calls of the core.
//!
//! Knows no JSON, no SQL, no channel and no close code. One [`Reactor::turn`] does everything in
//! a fixed order; nothing in it waits but the first step.

#![expect(
    clippy::disallowed_methods,
    reason = "the reactor reads the clock, once a turn"
)]

mod accept;
mod backend;
mod backend_reactor;
mod clients;
mod resolve;
mod service;
mod socket;
mod source;
mod terminal;
#[cfg_attr(not(feature = "tls"), path = "reactor/tls/absent.rs")]
mod tls;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

pub(crate) use self::{
    accept::Listener,
    backend::BackendReactor,
    service::{PassedListeners, ServiceManager},
};
use self::{
    accept::{Acceptor, Spare},
    backend::BackendSockets,
    clients::ClientSockets,
    source::Source,
    terminal::Terminal,
};
use crate::{
    handle::Shared,
    hub::{Core, custom_protocol::RawMessage, feed::Feed},
    queue::{notifications::Notifications, requests::RequestSender},
    token_file::TokenFile,
};

/// What the program around a stand-alone server has to do with its clients.
pub(crate) enum Program {
    /// Where notifications come from, and where the clients' requests go.
    Feed(Notifications, RequestSender),
    /// What is called with each message; what it returns is the reply.
    Messages(OnMessage),
}

pub(crate) type OnMessage = Box<dyn FnMut(RawMessage) -> Option<RawMessage>>;

/// Runs a [`Core`].
pub(crate) struct Reactor {
    poll: Poll,
    core: Core,
    acceptor: Option<Acceptor>,
    admin: Option<Acceptor>,
    spare: Spare,
    clients: ClientSockets,
    backends: BackendSockets,
    signals: Option<Signals>,
    terminal: Terminal,
    /// Read again at SIGHUP.
    token_file: Option<TokenFile>,
    /// How long a signal lets clients stay.
    drain: Duration,
    service_manager: Option<ServiceManager>,
    shared: Arc<Shared>,
    /// The program around a stand-alone server.
    program: Option<Program>,
    /// For every read: nothing is buffered per connection.
    buffer: Box<[u8]>,
    /// A signal asked to end at once.
    aborted: bool,
}

impl Reactor {
    /// Takes clients from `listener` and makes `shared` able to wake the loop.
    pub(crate) fn new(core: Core, listener: Listener, shared: Arc<Shared>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token())?);
        shared.attach(Arc::clone(&waker), listener.local_addr()?);
        let acceptor = Acceptor::new(listener, Source::Listener, poll.registry())?;
        Ok(Self {
            poll,
            core,
            acceptor: Some(acceptor),
            admin: None,
            spare: Spare::default(),
            clients: ClientSockets::default(),
            backends: BackendSockets::new(waker),
            signals: None,
            terminal: Terminal::look(),
            token_file: None,
            drain: Duration::ZERO,
            service_manager: None,
            shared,
            program: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            aborted: false,
        })
    }

    /// SIGINT and SIGTERM stop the bridge, after clients were let go over the time of `drain`; a
    /// second one ends it at once.
    pub(crate) fn handle_signals(&mut self, drain: Duration) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let token = Source::Signals.token();
        self.poll
            .registry()
            .register(&mut signals, token, Interest::READABLE)?;
        self.signals = Some(signals);
        self.drain = drain;
        Ok(())
    }

    /// At SIGHUP the file of tokens is read again, where there is one; if it comes because our
    /// terminal was closed, it stops the bridge. Without this, that signal does what it does to any
    /// program. After [`Self::handle_signals`].
    pub(crate) fn handle_reloads(&mut self, token_file: Option<TokenFile>) -> io::Result<()> {
        self.token_file = token_file;
        let signals = self.signals.as_ref();
        signals.map_or(Ok(()), |signals| signals.add_signal(SIGHUP))
    }

    /// Takes plain HTTP from `listener`, also while stopping.
    pub(crate) fn set_admin(&mut self, listener: Listener) -> io::Result<()> {
        let admin = Acceptor::new(listener, Source::AdminListener, self.poll.registry())?;
        self.admin = Some(admin);
        Ok(())
    }

    /// Tells it that connections are taken, and later that the end has begun.
    pub(crate) fn set_service_manager(&mut self, service_manager: ServiceManager) {
        service_manager.tell_ready();
        self.service_manager = Some(service_manager);
    }

    /// Serves a program instead of PostgreSQL.
    pub(crate) fn set_program(&mut self, program: Program) {
        if let Program::Feed(notifications, _) = &program {
            notifications.attach(self.shared.waker());
        }
        self.program = Some(program);
    }

    /// Turns until stopped.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while self.turn(&mut events)? {}
        Ok(())
    }

    /// One turn. False when the bridge has stopped.
    fn turn(&mut self, events: &mut Events) -> io::Result<bool> {
        let timeout = self.timeout();
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let now = Instant::now();
        self.core.begin_turn(!events.is_empty());
        self.dispatch(events, now);
        self.read_backends(now);
        let on_message = match &mut self.program {
            Some(Program::Messages(on_message)) => Some(on_message),
            Some(Program::Feed(..)) | None => None,
        };
        self.clients
            .read(&mut self.core, &mut self.buffer, on_message, now);
        self.accept(now);
        self.take_notifications(now);
        self.clients.write(&mut self.core, now);
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
        }
        self.core.end_turn(now);
        self.clients.carry_out(&mut self.core);
        if self.clients.take_freed() {
            let acceptors = [&mut self.acceptor, &mut self.admin];
            acceptors.into_iter().flatten().for_each(Acceptor::resume);
        }
        self.write_backends(now);
        self.hand_over_requests(now);
        if self.aborted || self.core.is_stopped(now) {
            self.say_goodbye(now);
            return Ok(false);
        }
        Ok(true)
    }

    /// How long the poll may wait: not at all while there is work no event will announce.
    fn timeout(&self) -> Option<Duration> {
        let acceptors = || [&self.acceptor, &self.admin].into_iter().flatten();
        if self.core.has_transmit()
            || self.clients.is_readable()
            || self.backends.is_readable() && !self.core.is_backend_paused()
            || acceptors().any(Acceptor::is_ready)
            || matches!(&self.program, Some(Program::Feed(it, _)) if !it.is_empty())
                && !self.core.is_backend_paused()
        {
            return Some(Duration::ZERO);
        }
        let accepting = acceptors().filter_map(Acceptor::poll_timeout);
        let until = accepting.chain(self.core.poll_timeout()).min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    fn dispatch(&mut self, events: &Events, now: Instant) {
        for event in events {
            match Source::from_token(event.token()) {
                Some(Source::Client(client)) => {
                    self.clients.handle_event(client, event, &mut self.core);
                }
                Some(Source::Backend(role)) => {
                    let registry = self.poll.registry();
                    if let Some(backend) = self.core.backend() {
                        self.backends
                            .handle_event(role, event, backend, registry, now);
                    }
                }
                Some(Source::Listener) => {
                    if let Some(acceptor) = &mut self.acceptor {
                        acceptor.handle_event();
                    }
                }
                Some(Source::AdminListener) => {
                    if let Some(admin) = &mut self.admin {
                        admin.handle_event();
                    }
                }
                Some(Source::Waker) => self.handle_wake(now),
                Some(Source::Signals) => self.handle_signal(now),
                None => debug_assert!(false, "an event of nobody: {event:?}"),
            }
        }
    }

    fn handle_wake(&mut self, now: Instant) {
        if self.shared.is_stop_requested() {
            self.begin_to_leave();
            self.core.stop(now);
        }
        if let Some(backend) = self.core.backend() {
            self.backends
                .handle_wake(backend, self.poll.registry(), now);
        }
    }

    fn handle_signal(&mut self, now: Instant) {
        let Some(signals) = &mut self.signals else {
            return;
        };
        let (hang_ups, stops): (Vec<_>, Vec<_>) =
            signals.pending().partition(|&signal| signal == SIGHUP);
        // Whoever closes a terminal may send several: they begin the end, and never cut it short.
        let is_over = !hang_ups.is_empty() && self.terminal.has_gone();
        if !hang_ups.is_empty() && !is_over {
            self.reread_tokens(now);
        }
        let is_leaving = self.core.is_leaving();
        if !stops.is_empty() || is_over && !is_leaving {
            self.aborted = !stops.is_empty() && is_leaving || stops.len() > 1;
            self.begin_to_leave();
            if self.drain.is_zero() {
                self.core.stop(now);
            } else {
                self.core.drain(self.drain, now);
            }
        }
    }

    /// What cannot be read changes nothing.
    fn reread_tokens(&mut self, now: Instant) {
        match self.token_file.as_mut().map(TokenFile::read) {
            Some(Ok(tokens)) => {
                self.core.handle_tokens(tokens, now);
                tracing::info!("the tokens were read again");
            }
            Some(Err(error)) => tracing::error!("the tokens stay as they were: {error}"),
            None => tracing::info!("SIGHUP: there is no token file to read again"),
        }
    }

    /// What comes once, before the core is told to leave.
    fn begin_to_leave(&mut self) {
        if self.core.is_leaving() {
            return;
        }
        tracing::info!("stopping");
        if let Some(service_manager) = &self.service_manager {
            service_manager.tell_stopping();
        }
        // Whom we do not take, our successor will.
        self.acceptor.take_if(|acceptor| acceptor.has_successor());
    }

    fn read_backends(&mut self, now: Instant) {
        if !self.core.is_backend_paused() {
            if let Some(backend) = self.core.backend() {
                self.backends.read(backend, &mut self.buffer, now);
            }
        }
        self.core.handle_backend(now);
    }

    fn accept(&mut self, now: Instant) {
        if self.core.is_stopping() {
            self.acceptor = None;
        }
        let registry = self.poll.registry();
        if let Some(admin) = &mut self.admin {
            // A probe is answered as ever; the spare comes back soon.
            if let Some(accepted) = admin.accept(&mut self.spare, now) {
                let id = self.core.handle_admin_connected(now);
                self.clients
                    .add(accepted.stream, id, &mut self.core, registry);
            }
        }
        let Some(acceptor) = &mut self.acceptor else {
            return;
        };
        for _ in 0..ACCEPTS_PER_TURN {
            // Without room it stays ready for the next turn, in which there is some.
            if !self.core.has_room(now) {
                return;
            }
            let Some(accepted) = acceptor.accept(&mut self.spare, now) else {
                return;
            };
            let id = if accepted.is_excess {
                self.core.handle_excess(now)
            } else {
                let address = accepted.stream.peer_addr().map(|peer| peer.ip());
                self.core.handle_connected(address.ok(), now)
            };
            // Somebody may have gone for it: no more descriptors are open at a time than may be.
            self.clients.carry_out(&mut self.core);
            self.clients
                .add(accepted.stream, id, &mut self.core, registry);
        }
    }

    /// Takes what the program around a stand-alone server has for its clients.
    fn take_notifications(&mut self, now: Instant) {
        let Some(Program::Feed(notifications, _)) = &self.program else {
            return;
        };
        for _ in 0..FED_PER_TURN {
            if self.core.is_backend_paused() {
                return;
            }
            let Some(fed) = notifications.poll_fed() else {
                return;
            };
            self.core.handle_fed(&fed, now);
        }
    }

    /// Gives the program around a stand-alone server what its clients ask.
    fn hand_over_requests(&mut self, now: Instant) {
        let Some(Program::Feed(_, requests)) = &mut self.program else {
            return;
        };
        while let Some(request) = self.core.feed().and_then(Feed::poll_request) {
            let taken = requests.hand_over(request.incoming);
            if let Some(ticket) = request.ticket {
                self.core.handle_taken(ticket, taken, now);
            }
        }
    }

    fn write_backends(&mut self, now: Instant) {
        let Some(backend) = self.core.backend() else {
            return;
        };
        self.backends.write(backend, now);
        self.core.handle_backend(now);
        if let Some(backend) = self.core.backend() {
            self.backends.carry_out(backend, self.poll.registry(), now);
        }
    }

    /// The sessions end properly, so that PostgreSQL does not log a lost connection.
    fn say_goodbye(&mut self, now: Instant) {
        if let Some(backend) = self.core.backend() {
            backend.terminate();
            self.backends.write(backend, now);
        }
    }
}

/// For every read: as much of PostgreSQL as one turn takes.
const BUFFER_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1_024;
/// Connections taken in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Notifications of a program taken in one turn.
const FED_PER_TURN: usize = 256;
