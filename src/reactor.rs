//! The shell: every socket, the only clock, and the loop that turns them into calls of the hub.
//!
//! Knows no JSON, no SQL, no channel and no close code. One [`Reactor::turn`] does everything in a
//! fixed order; only its first step waits.

#![expect(
    clippy::disallowed_methods,
    reason = "the reactor reads the clock, once a turn"
)]

mod accept;
mod backend;
mod backend_reactor;
#[cfg_attr(not(feature = "tls"), path = "reactor/client_tls/absent.rs")]
pub(crate) mod client_tls;
mod clients;
mod orders;
mod passed;
mod resolve;
mod signals;
mod socket;
mod source;
#[cfg_attr(not(feature = "tls"), path = "reactor/tls/absent.rs")]
mod tls;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use mio::{Events, Poll, Waker};
use signal_hook_mio::v1_0::Signals;

pub(crate) use self::{
    accept::Listener, backend_reactor::BackendReactor, client_tls::TlsSource,
    passed::PassedListeners,
};
use self::{
    accept::{Acceptor, Spare},
    backend::BackendSockets,
    clients::ClientSockets,
    orders::Surrounding,
    source::Source,
};
use crate::{
    handle::Shared,
    hub::{Action, Hub, custom_protocol::RawMessage, feed::Request},
    id::ClientId,
    queue::{notifications::Notifications, requests::RequestSender},
    service_manager::ServiceManager,
    terminal::Terminal,
    token_file::CredentialFiles,
};

/// The program around a stand-alone server, in place of PostgreSQL.
pub(crate) enum Program {
    /// The source of notifications, and the receiver of the clients' requests.
    Feed(Notifications, RequestSender),
    /// The function that is called with each message and returns the reply.
    Messages(OnMessage),
}

pub(crate) type OnMessage = Box<dyn FnMut(ClientId, RawMessage) -> Option<RawMessage> + Send>;

/// Runs a [`Hub`].
pub(crate) struct Reactor {
    poll: Poll,
    hub: Hub,
    acceptor: Option<Acceptor>,
    admin: Option<Acceptor>,
    spare: Spare,
    clients: ClientSockets,
    backends: BackendSockets,
    signals: Option<Signals>,
    terminal: Terminal,
    /// Read again at SIGHUP.
    credential_files: Option<CredentialFiles>,
    /// The time over which clients are closed after a signal.
    drain: Duration,
    service_manager: Option<ServiceManager>,
    shared: Arc<Shared>,
    /// The program around a stand-alone server.
    program: Option<Program>,
    /// The program around any server.
    surrounding: Surrounding,
    /// For every read: nothing is buffered per connection.
    buffer: Box<[u8]>,
    /// A signal demands an immediate end.
    aborted: bool,
    /// The log says what SIGHUP does not read again.
    has_told_reload: bool,
    /// When the turn began whose time was not taken yet.
    turn_began: Option<Instant>,
}

impl Reactor {
    /// Accepts clients from `listener` and makes `shared` able to wake the loop.
    pub(crate) fn new(hub: Hub, listener: Listener, shared: Arc<Shared>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token())?);
        shared.attach(Arc::clone(&waker), listener.local_addr()?);
        let acceptor = Acceptor::new(listener, Source::Listener, poll.registry())?;
        Ok(Self {
            poll,
            hub,
            acceptor: Some(acceptor),
            admin: None,
            spare: Spare::new(),
            clients: ClientSockets::default(),
            backends: BackendSockets::new(waker),
            signals: None,
            terminal: Terminal::look(),
            credential_files: None,
            drain: Duration::ZERO,
            service_manager: None,
            shared,
            program: None,
            surrounding: Surrounding::default(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            aborted: false,
            has_told_reload: false,
            turn_began: None,
        })
    }

    /// Serves plain HTTP on `listener`, even while stopping.
    pub(crate) fn set_admin(&mut self, listener: Listener) -> io::Result<()> {
        let admin = Acceptor::new(listener, Source::AdminListener, self.poll.registry())?;
        self.admin = Some(admin);
        Ok(())
    }

    /// Speaks TLS with clients.
    pub(crate) fn set_tls(&mut self, from: TlsSource) -> io::Result<()> {
        let (waker, metrics) = (self.backends.waker(), self.hub.metrics_mut());
        self.clients.set_tls(from, waker, metrics)
    }

    /// Notifies the manager when connections are accepted, and when the shutdown begins.
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

    /// The file of tokens, which the program may order to be read again.
    pub(crate) fn set_credential_files(&mut self, files: Option<CredentialFiles>) {
        self.credential_files = files;
    }

    /// Turns until stopped.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while self.turn(&mut events)? {}
        self.give_up_orders();
        tracing::info!(target: "alle::bridge", "stopped");
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
        if let Some(began) = self.turn_began.replace(now) {
            // It did not wait in between.
            self.hub.handle_turn_time(now - began);
        }
        self.hub.begin_turn(now, !events.is_empty());
        if self.hub.wants_since_1970() {
            self.hub.set_since_1970(since_1970());
        }
        self.dispatch(events, now);
        self.read_backends(now);
        self.read_clients(now);
        self.shake_hands(now);
        self.accept(now);
        self.take_notifications();
        self.clients.write(&mut self.hub);
        if self.hub.poll_timeout().is_some_and(|at| at <= now) {
            self.hub.handle_timeout();
        }
        self.hub.end_turn();
        self.carry_out(now);
        if self.clients.take_freed() {
            let acceptors = [&mut self.acceptor, &mut self.admin];
            acceptors.into_iter().flatten().for_each(Acceptor::resume);
        }
        self.write_backends(now);
        if self.aborted || self.hub.is_stopped() {
            self.terminate_sessions(now);
            return Ok(false);
        }
        Ok(true)
    }

    /// How long the poll may wait: not at all while there is work that no event announces.
    fn timeout(&mut self) -> Option<Duration> {
        let acceptors = || [&self.acceptor, &self.admin].into_iter().flatten();
        if self.hub.has_transmit()
            || self.clients.readable_count() > 0
            || self.clients.shaking_count() > 0
            || self.backends.is_readable() && !self.hub.is_backend_paused()
            || acceptors().any(Acceptor::is_ready)
            || matches!(&self.program, Some(Program::Feed(it, _)) if !it.is_empty())
                && !self.hub.is_backend_paused()
        {
            return Some(Duration::ZERO);
        }
        let accepting = acceptors().filter_map(Acceptor::poll_timeout);
        let until = accepting.chain(self.hub.poll_timeout()).min();
        let now = Instant::now();
        if let Some(began) = self.turn_began.take() {
            self.hub.handle_turn_time(now - began);
        }
        until.map(|until| until.saturating_duration_since(now))
    }

    fn dispatch(&mut self, events: &Events, now: Instant) {
        for event in events {
            match Source::from_token(event.token()) {
                Some(Source::Client(client)) => {
                    self.clients.handle_event(client, event, &mut self.hub);
                }
                Some(Source::Backend(role)) => {
                    if let Some(backend) = self.hub.backend() {
                        self.backends.handle_event(role, event, backend, now);
                    }
                }
                Some(Source::Leaving(role)) => self.backends.handle_leaving(role),
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
                Some(Source::Signals) => self.handle_signal(),
                None => debug_assert!(false, "an event without a source: {event:?}"),
            }
        }
    }

    fn handle_wake(&mut self, now: Instant) {
        self.clients.take_renewed_tls(self.hub.metrics_mut());
        self.take_orders();
        if let Some(span) = self.shared.take_drain() {
            self.begin_shutdown("it was asked to");
            self.hub.drain(span);
        }
        if self.shared.is_stop_requested() {
            self.begin_shutdown("it was asked to");
            self.hub.stop();
        }
        if let Some(backend) = self.hub.backend() {
            self.backends.handle_wake(backend, now);
        }
    }

    /// The steps taken once, before the hub is told to shut down.
    fn begin_shutdown(&mut self, why: &str) {
        if self.hub.is_shutting_down() {
            return;
        }
        tracing::info!(target: "alle::bridge", "stopping: {why}");
        if let Some(service_manager) = &self.service_manager {
            service_manager.tell_stopping();
        }
        // Connections that we do not accept are our successor's.
        self.acceptor.take_if(|acceptor| acceptor.has_successor());
    }

    fn read_backends(&mut self, now: Instant) {
        if !self.hub.is_backend_paused()
            && let Some(backend) = self.hub.backend()
        {
            self.backends.read(backend, &mut self.buffer, now);
        }
        self.hub.handle_backend();
    }

    /// Reads once from each client that has something, until the budget is spent.
    fn read_clients(&mut self, now: Instant) {
        let began = Instant::now();
        for turn in 1..=self.clients.readable_count() {
            if self.hub.is_turn_spent() {
                return;
            }
            self.clients.read_next(&mut self.hub, &mut self.buffer);
            self.carry_out(now);
            if turn % READS_PER_LOOK_AT_CLOCK == 0 && began.elapsed() > READ_BUDGET {
                return;
            }
        }
    }

    /// Goes on with TLS handshakes, one step of each, until their budget is spent: a storm of them
    /// leaves most of the turn to the clients that are in.
    fn shake_hands(&mut self, now: Instant) {
        let count = self.clients.shaking_count().min(HANDSHAKE_STEPS_PER_TURN);
        if count == 0 {
            return;
        }
        let began = Instant::now();
        for _ in 0..count {
            self.clients.shake_next(&mut self.hub, &mut self.buffer);
            self.carry_out(now);
            if self.hub.is_turn_spent() || began.elapsed() > HANDSHAKE_BUDGET {
                return;
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        if self.hub.is_stopping() {
            self.acceptor = None;
        }
        if let Some(admin) = &mut self.admin {
            // A probe is answered as usual; it soon returns the spare descriptor.
            if let Some(accepted) = admin.accept(&mut self.spare, now) {
                let endpoints = accepted.endpoints();
                let id = self.hub.handle_admin_connected(endpoints);
                let registry = self.poll.registry();
                self.clients
                    .add(accepted.stream, id, true, &mut self.hub, registry);
            }
        }
        for _ in 0..ACCEPTS_PER_TURN {
            // Without room the acceptor stays ready for the next turn, in which there is some.
            let Some(acceptor) = self.acceptor.as_mut().filter(|_| self.hub.has_room()) else {
                return;
            };
            let Some(accepted) = acceptor.accept(&mut self.spare, now) else {
                return;
            };
            let is_excess = accepted.is_excess;
            let Some(id) = self.hub.handle_accepted(accepted.endpoints(), is_excess) else {
                continue;
            };
            // It may have displaced another client, whose descriptor is closed first, to stay
            // within the limit.
            self.carry_out(now);
            let registry = self.poll.registry();
            self.clients
                .add(accepted.stream, id, false, &mut self.hub, registry);
        }
    }

    /// Carries out the actions of the hub.
    fn carry_out(&mut self, now: Instant) {
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Disconnect(client, how) => self.clients.disconnect(client, how),
                Action::Resume(client) => self.clients.resume(client, &self.hub),
                Action::Watch(client) => self.clients.watch(client, &self.hub),
                Action::Backend(order) => {
                    if let Some(backend) = self.hub.backend() {
                        let registry = self.poll.registry();
                        self.backends.carry_out(order, backend, registry, now);
                    }
                }
                Action::Request(request) => self.hand_over(request),
                Action::Message(client, message) => self.answer(client, message),
                Action::Ask(id, question) => self.surrounding.ask(id, question, &self.shared),
                Action::Tell(event) => self.surrounding.tell(event),
                Action::Published(ticket, published) => {
                    self.surrounding.answer(ticket, published);
                }
            }
        }
    }

    /// Takes the notifications of the program around a stand-alone server.
    fn take_notifications(&mut self) {
        let Some(Program::Feed(notifications, _)) = &self.program else {
            return;
        };
        for _ in 0..FED_PER_TURN {
            if self.hub.is_backend_paused() {
                return;
            }
            let Some(fed) = notifications.poll_fed() else {
                return;
            };
            self.hub.handle_fed(&fed);
        }
    }

    /// Hands a request of the clients to the program around a stand-alone server.
    fn hand_over(&mut self, request: Request) {
        let Some(Program::Feed(_, requests)) = &mut self.program else {
            return;
        };
        let taken = requests.hand_over(request.incoming);
        if let Some(ticket) = request.ticket {
            self.hub.handle_taken(ticket, taken);
        }
    }

    /// Hands a client's message to the program, and the program's reply to the client.
    fn answer(&mut self, client: ClientId, message: RawMessage) {
        let Some(Program::Messages(on_message)) = &mut self.program else {
            return;
        };
        if let Some(reply) = on_message(client, message) {
            self.hub.handle_reply(client, &reply);
        }
    }

    fn write_backends(&mut self, now: Instant) {
        let Some(backend) = self.hub.backend() else {
            return;
        };
        self.backends.write(backend, now);
        self.hub.handle_backend();
        self.carry_out(now);
    }

    /// The sessions end properly, so that PostgreSQL does not log a lost connection.
    fn terminate_sessions(&mut self, now: Instant) {
        if let Some(backend) = self.hub.backend() {
            backend.terminate();
            self.backends.write(backend, now);
        }
    }
}

/// The time of the world, since 1970.
fn since_1970() -> Duration {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.unwrap_or_default()
}

/// For every read: as many bytes as one turn takes of PostgreSQL.
const BUFFER_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1_024;
/// All clients' reads of one turn.
const READ_BUDGET: Duration = Duration::from_millis(1);
const READS_PER_LOOK_AT_CLOCK: usize = 8;
/// All steps of TLS handshakes in one turn, but for the last one of them: a signature takes up to as
/// long.
const HANDSHAKE_BUDGET: Duration = Duration::from_micros(250);
const HANDSHAKE_STEPS_PER_TURN: usize = 16;
/// Connections taken in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Notifications of a program taken in one turn.
const FED_PER_TURN: usize = 256;
