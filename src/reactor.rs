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
mod clients;
mod resolve;
mod socket;
#[cfg_attr(not(feature = "tls"), path = "reactor/tls/absent.rs")]
mod tls;
mod token;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

pub(crate) use self::backend::BackendSockets;
use self::{accept::Acceptor, clients::ClientSockets, token::Source};
use crate::{
    bridge::{Core, feed::Feed},
    control::Shared,
    notifications::Notifications,
    requests::RequestSender,
    shell::TokenFile,
};

/// Runs a [`Core`].
pub(crate) struct Reactor {
    poll: Poll,
    core: Core,
    acceptor: Option<Acceptor>,
    clients: ClientSockets,
    backends: BackendSockets,
    signals: Option<Signals>,
    /// Read again at SIGHUP.
    token_file: Option<TokenFile>,
    shared: Arc<Shared>,
    /// Where a stand-alone server's notifications come from, and where its clients' requests go.
    feed: Option<(Notifications, RequestSender)>,
    /// For every read: nothing is buffered per connection.
    buffer: Box<[u8]>,
    /// A signal asked to end at once.
    aborted: bool,
}

impl Reactor {
    /// Binds `address` and makes `shared` able to wake the loop.
    pub(crate) fn new(core: Core, address: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token())?);
        let acceptor = Acceptor::bind(address, poll.registry())?;
        shared.attach(Arc::clone(&waker), acceptor.local_addr()?);
        Ok(Self {
            poll,
            core,
            acceptor: Some(acceptor),
            clients: ClientSockets::default(),
            backends: BackendSockets::new(waker),
            signals: None,
            token_file: None,
            shared,
            feed: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            aborted: false,
        })
    }

    /// SIGINT and SIGTERM stop the bridge; a second one ends it at once. At SIGHUP the file of
    /// tokens is read again; without one, that signal does what it does to any program.
    pub(crate) fn handle_signals(&mut self, token_file: Option<TokenFile>) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        if token_file.is_some() {
            signals.add_signal(SIGHUP)?;
        }
        self.token_file = token_file;
        let token = Source::Signals.token();
        self.poll
            .registry()
            .register(&mut signals, token, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Notifications come from the program, requests go to it.
    pub(crate) fn set_feed(&mut self, notifications: Notifications, requests: RequestSender) {
        notifications.attach(self.shared.waker());
        self.feed = Some((notifications, requests));
    }

    /// Where clients connect to.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.acceptor {
            Some(acceptor) => acceptor.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
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
        self.dispatch(events, now);
        self.read_backends(now);
        self.clients.read(&mut self.core, &mut self.buffer, now);
        self.accept(now);
        self.take_notifications(now);
        self.clients.write(&mut self.core, now);
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
        }
        self.core.end_turn(now);
        self.clients.carry_out(&mut self.core);
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
        let accepting = self.acceptor.as_ref();
        if self.core.has_transmit()
            || self.clients.is_readable()
            || self.backends.is_readable() && !self.core.is_backend_paused()
            || accepting.is_some_and(Acceptor::is_ready)
            || self.feed.as_ref().is_some_and(|(it, _)| !it.is_empty())
                && !self.core.is_backend_paused()
        {
            return Some(Duration::ZERO);
        }
        let accepting = accepting.and_then(Acceptor::poll_timeout);
        let until = [self.core.poll_timeout(), accepting]
            .into_iter()
            .flatten()
            .min()?;
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
                Some(Source::Waker) => self.handle_wake(now),
                Some(Source::Signals) => self.handle_signal(now),
                None => debug_assert!(false, "an event of nobody: {event:?}"),
            }
        }
    }

    fn handle_wake(&mut self, now: Instant) {
        if self.shared.is_stop_requested() {
            self.stop(now);
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
        let (reread, stops): (Vec<_>, Vec<_>) =
            signals.pending().partition(|&signal| signal == SIGHUP);
        if !reread.is_empty() {
            self.reread_tokens(now);
        }
        let count = stops.len();
        if count > 0 {
            self.aborted = self.acceptor.is_none() || count > 1;
            tracing::info!("stopping");
            self.stop(now);
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
            None => {}
        }
    }

    fn stop(&mut self, now: Instant) {
        self.acceptor = None;
        self.core.stop(now);
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
        let Some(acceptor) = &mut self.acceptor else {
            return;
        };
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.core.has_room() {
                acceptor.pause(now);
                return;
            }
            let Some(stream) = acceptor.accept(now) else {
                return;
            };
            self.clients
                .add(stream, &mut self.core, self.poll.registry(), now);
        }
    }

    /// Takes what the program around a stand-alone server has for its clients.
    fn take_notifications(&mut self, now: Instant) {
        let Some((notifications, _)) = &self.feed else {
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
        let Some((_, requests)) = &mut self.feed else {
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
