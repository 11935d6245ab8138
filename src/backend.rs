//! Two sessions to PostgreSQL, kept alive for ever: one hears, one speaks.
//!
//! Owns when to connect, how long to wait for it, the heartbeat, and which request is whose. The
//! publishing session is apart because a backend that waits for the commit lock of a NOTIFY
//! delivers nothing meanwhile, and because only what somebody else said proves that we hear: the
//! listening session counts as up once it heard a token of the other (`probe`). Knows no client
//! and no socket: the reactor carries out [`Order`]s and reports what became of them.
//!
//! After each `handle_*` or [`Backend::push`]: [`Backend::drain_events`], then
//! [`Backend::poll_order`], [`Backend::poll_transmit`] and [`Backend::poll_timeout`].

mod bring_up;
pub mod command;
mod connection;
mod failure;
mod fair_queue;
pub mod interest;
pub mod interests;
mod probe;
mod reconnect;
mod resolving;
mod role;
mod route;
mod ticket;
mod transactions;

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use self::command::{Command, Notify, Published, Verb};
use self::{
    connection::{Connection, Heartbeat, State},
    failure::{Cause, TIMED_OUT},
    probe::Probe,
    ticket::Purpose,
    transactions::Transactions,
};
pub use self::{
    failure::{Failure, FailureError, Unfit},
    resolving::Configs,
    role::Role,
    route::{Encryption, Route},
};
use super::random::Random;
use crate::{
    channel::{ChannelKey, LengthUnit},
    pg::{
        config::{Config, ConfigError, Server, Warning},
        session::{self, Protection, ServerError, Session, Ticket},
    },
};

/// What the reactor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Resolve the [`Backend::connection_string`] anew; report `handle_resolved` or
    /// `handle_unresolved`.
    Resolve(Role),
    /// Connect to the [`Backend::server`] by the [`Backend::route`]; report `handle_located` and then
    /// `handle_connected` or `handle_secured`, or `handle_tls_failed` or `handle_lost`.
    Connect(Role),
    /// Run the [`Backend::take_key_derivation`], off the loop; report `handle_key`.
    DeriveKey(Role),
    /// Let the socket go, and whatever else was ordered; nothing is reported.
    Disconnect(Role),
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The session takes commands, of a server that counts so.
    Up(Role, LengthUnit),
    /// The session is gone.
    Down(Role),
    /// Whether the listening session, which is up, is known to hear what the publishing one says.
    Proved(bool),
    /// One transaction of so many publishes was committed.
    Committed(u64),
    /// PostgreSQL's queue of notifications is so full, from 0 to 1.
    QueueUsage(f64),
    /// There can be no listening session now; why, where the server lets us in and is of no use.
    Unfit(Option<Unfit>),
    /// LISTEN was answered.
    Listened(ChannelKey, Result<(), ServerError>),
    /// UNLISTEN was answered.
    Unlistened(ChannelKey),
    /// Somebody notified a channel; the bytes may be anything.
    Notification {
        /// The channel.
        channel: &'a [u8],
        /// What it carries.
        payload: &'a [u8],
    },
    /// The publish of this number ended.
    Published(u32, Published),
}

/// Both sessions.
#[derive(Debug)]
pub struct Backend {
    /// By role.
    configs: [Config; 2],
    connections: [Connection; 2],
    probe: Probe,
    /// What the publishing session is asked; empty while it is not up.
    transactions: Transactions,
    /// What was said of the surroundings, and still holds.
    warned: Vec<Warning>,
    random: Random,
    orders: VecDeque<Order>,
    events: VecDeque<Event<'static>>,
}

impl Backend {
    /// Both sessions are wanted at once. `seed` spreads the retries of many bridges.
    pub fn new(configs: impl Into<Configs>, seed: u64, now: Instant) -> Self {
        let configs = configs.into();
        let configs = [configs.listening, configs.publishing];
        let connection = |config| Connection::new(Route::first(config, seed), now);
        Self {
            connections: [connection(&configs[0]), connection(&configs[1])],
            configs,
            probe: Probe::new(seed),
            transactions: Transactions::default(),
            warned: Vec::new(),
            random: Random::new(seed),
            orders: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Where to connect to.
    pub fn config(&self, role: Role) -> &Config {
        &self.configs[role.index()]
    }

    /// Whether the session takes commands.
    pub fn is_up(&self, role: Role) -> bool {
        matches!(
            self.connections[role.index()].state,
            State::Ready { is_up: true, .. }
        )
    }

    /// The session, from its first byte to its last.
    pub fn session(&self, role: Role) -> Option<&Session> {
        self.connections[role.index()].session()
    }

    /// Whether TLS carries the session.
    pub fn is_secure(&self, role: Role) -> bool {
        match self.connections[role.index()].state {
            State::Starting { is_secure, .. } | State::Ready { is_secure, .. } => is_secure,
            State::Waiting { .. }
            | State::Resolving { .. }
            | State::Locating { .. }
            | State::Connecting { .. } => false,
        }
    }

    /// How to connect now.
    pub fn route(&self, role: Role) -> Route {
        self.connections[role.index()].route
    }

    /// The server to connect to now.
    pub fn server(&self, role: Role) -> &Server {
        &self.config(role).servers[self.route(role).server]
    }

    /// What a round of attempts may take: each server may be tried with TLS and without, and once
    /// more for the second best.
    pub fn round_timeout(&self) -> Duration {
        let rounds = Role::ALL.into_iter().map(|role| {
            let servers = u32::try_from(self.config(role).servers.len()).unwrap_or(1);
            let attempts = servers.saturating_mul(ATTEMPTS_A_SERVER);
            self.connect_timeout(role).saturating_mul(attempts)
        });
        rounds.max().unwrap_or(CONNECT_TIMEOUT)
    }

    /// Why a session could not be had from any server, until it can.
    pub fn failure(&self, role: Role) -> Option<&Failure> {
        self.connections[role.index()].failure.as_ref()
    }

    /// For connecting to one server and starting up together.
    pub fn connect_timeout(&self, role: Role) -> Duration {
        self.config(role).connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }

    /// The socket is connected, and without TLS.
    pub fn handle_connected(&mut self, role: Role) {
        self.begin(role, Protection::None);
    }

    /// The socket is connected, and TLS is established with whom the configuration lets us trust.
    /// `end_point` is the hash of the server's certificate (RFC 5929, 4.1).
    pub fn handle_secured(&mut self, role: Role, end_point: Option<Vec<u8>>) {
        self.begin(role, Protection::Tls { end_point });
    }

    fn begin(&mut self, role: Role, protection: Protection) {
        let connection = &mut self.connections[role.index()];
        if let State::Locating { deadline } | State::Connecting { deadline } = connection.state {
            let is_secure = protection != Protection::None;
            let config = &self.configs[role.index()];
            let server = &config.servers[connection.route.server];
            let name = role.application_name();
            connection.state = State::Starting {
                session: Box::new(Session::begin(config, server, protection, name)),
                is_secure,
                deadline,
            };
        }
    }

    /// The socket could not be connected, or ended; `why` completes the sentence "connection ...".
    pub fn handle_lost(&mut self, role: Role, why: &str, now: Instant) {
        self.handle_unreachable(role, why, io::ErrorKind::ConnectionReset, now);
    }

    /// The same, where the kind of error is known.
    pub fn handle_unreachable(&mut self, role: Role, why: &str, kind: io::ErrorKind, now: Instant) {
        if !matches!(self.connections[role.index()].state, State::Waiting { .. }) {
            self.fail(role, &Cause::Connection(why, kind), now);
        }
    }

    /// There is no TLS with this server; `why` completes the sentence "connection ...".
    pub fn handle_tls_failed(&mut self, role: Role, why: &str, now: Instant) {
        if !matches!(self.connections[role.index()].state, State::Waiting { .. }) {
            self.fail(role, &Cause::Tls(why), now);
        }
    }

    /// Bytes of the server: whoever speaks lives, whatever it says.
    pub fn handle_input(&mut self, role: Role, input: &[u8], now: Instant) {
        self.connections[role.index()].note_life(now);
        if let Some(session) = self.connections[role.index()].session_mut() {
            session.handle_input(input);
        }
    }

    /// The server is not being read for now: its silence is ours.
    pub fn handle_unread(&mut self, now: Instant) {
        for connection in &mut self.connections {
            connection.note_life(now);
        }
        self.probe.put_off(now);
    }

    /// Reports everything that happened, in order, to `report`: a notification borrows the bytes
    /// it came in, which rules out returning it across the session's own bookkeeping.
    pub fn drain_events(&mut self, now: Instant, mut report: impl FnMut(Event<'_>)) {
        for role in Role::ALL {
            while let Some(session) = self.connections[role.index()].session_mut() {
                match session.poll_event() {
                    // It listens to nothing: a pooler mixed the two up.
                    Some(session::Event::Notification { .. }) if role == Role::Publishing => {}
                    Some(session::Event::Notification { channel, payload }) => {
                        if channel == self.probe.channel().as_str().as_bytes() {
                            self.probe.handle_heard(payload);
                            self.note_proof();
                        } else {
                            self.probe.note_life(now);
                            report(Event::Notification { channel, payload });
                        }
                    }
                    Some(session::Event::Completed { ticket, result }) => {
                        if let Some(event) = self.completed(role, ticket, result, now) {
                            report(event);
                        }
                    }
                    Some(session::Event::Ready) => self.ready(role, now),
                    Some(session::Event::Notice(notice)) => {
                        tracing::debug!("PostgreSQL says: {notice}");
                    }
                    Some(session::Event::Failed(error)) => {
                        self.fail_session(role, &error, now);
                    }
                    None => break,
                }
                while let Some(event) = self.events.pop_front() {
                    report(event);
                }
            }
            self.order_key(role);
        }
        while let Some(event) = self.events.pop_front() {
            report(event);
        }
    }

    /// Whether the listening session takes another command.
    pub fn can_ask(&self) -> bool {
        let session = self.session(Role::Listening);
        self.is_up(Role::Listening) && session.is_some_and(|it| it.in_flight() < WINDOW)
    }

    /// Asks something of the listening session, which must [take it](Self::can_ask).
    pub fn ask(&mut self, command: Command<'_>) {
        let Command { verb, key, channel } = command;
        if channel == self.probe.channel() {
            // Its name was found out: it is being listened to, and stays so.
            self.events.push_back(match verb {
                Verb::Listen => Event::Listened(key, Ok(())),
                Verb::Unlisten => Event::Unlistened(key),
            });
            return;
        }
        debug_assert!(self.can_ask(), "a session that takes commands");
        let session = self.connections[Role::Listening.index()].session_mut();
        match (session, verb) {
            (None, _) => {}
            (Some(session), Verb::Listen) => session.listen(channel, Purpose::Listen(key).ticket()),
            (Some(session), Verb::Unlisten) => {
                session.unlisten(channel, Purpose::Unlisten(key).ticket());
            }
        }
    }

    /// Asks the publishing session for a publish. Without a session it fails at once.
    pub fn publish(&mut self, notify: Notify) {
        if self.is_up(Role::Publishing) {
            self.transactions.push(notify);
        } else {
            let event = Event::Published(notify.number, Published::NotSent);
            self.events.push_back(event);
        }
    }

    /// What the reactor is to do next.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Bytes for the server. What was pushed becomes bytes here and not before: until the socket
    /// takes them, publishes gather.
    pub fn poll_transmit(&mut self, role: Role) -> Option<&[u8]> {
        if let State::Ready { session, .. } = &mut self.connections[role.index()].state {
            if role == Role::Publishing {
                give_publishes(&mut self.transactions, session);
            }
        }
        self.connections[role.index()].session()?.poll_transmit()
    }

    /// So many of them were written.
    pub fn handle_transmitted(&mut self, role: Role, bytes: usize) {
        if let Some(session) = self.connections[role.index()].session_mut() {
            session.handle_transmitted(bytes);
        }
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub fn poll_timeout(&self) -> Instant {
        let [listening, publishing] = &self.connections;
        let sessions = listening.deadline().min(publishing.deadline());
        self.probe
            .deadline()
            .map_or(sessions, |it| it.min(sessions))
    }

    /// The time has come for whatever was due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.probe.deadline().is_some_and(|it| it <= now) {
            self.handle_probe_timeout(now);
        }
        for role in Role::ALL {
            let connection = &mut self.connections[role.index()];
            if connection.deadline() > now {
                continue;
            }
            match &mut connection.state {
                State::Waiting { .. } => self.begin_round(role, now),
                State::Resolving { .. } | State::Locating { .. } => {
                    self.fail(role, &Cause::Settings(&ConfigError::LookupHangs), now);
                }
                State::Connecting { .. } => self.fail(role, &TIMED_OUT, now),
                State::Starting { .. } => self.time_out_start(role, now),
                State::Ready {
                    session, heartbeat, ..
                } => match heartbeat {
                    Heartbeat::Due(_) => {
                        *heartbeat = Heartbeat::Purpose {
                            deadline: now + HEARTBEAT_TIMEOUT,
                        };
                        let ticket = Purpose::Heartbeat.ticket();
                        match role {
                            Role::Publishing => session.measure_queue(ticket),
                            Role::Listening => {
                                session.heartbeat(ticket);
                                self.begin_probe(now);
                            }
                        }
                    }
                    Heartbeat::Purpose { .. } => {
                        let silent = Cause::Connection("went silent", io::ErrorKind::TimedOut);
                        self.fail(role, &silent, now);
                    }
                },
            }
        }
    }

    /// Says goodbye; the reactor writes it and closes.
    pub fn terminate(&mut self) {
        for connection in &mut self.connections {
            if let State::Ready { session, .. } = &mut connection.state {
                session.terminate();
            }
        }
    }

    fn completed(
        &mut self,
        role: Role,
        ticket: Ticket,
        result: Result<(), ServerError>,
        now: Instant,
    ) -> Option<Event<'static>> {
        match Purpose::from_ticket(ticket) {
            Purpose::Listen(key) => {
                let is_mendable = |error: &ServerError| error.is_lost_transaction_status();
                let session = self.connections[role.index()].session_mut();
                if let Some(session) = session.filter(|it| {
                    !it.is_measuring_queue() && result.as_ref().is_err_and(is_mendable)
                }) {
                    session.measure_queue(Purpose::Heartbeat.ticket());
                }
                Some(Event::Listened(key, result))
            }
            Purpose::Unlisten(key) => {
                if let Err(error) = result {
                    tracing::warn!("PostgreSQL refused to UNLISTEN: {error}");
                }
                Some(Event::Unlistened(key))
            }
            Purpose::Publish => {
                let events = &mut self.events;
                let members = self
                    .transactions
                    .handle_completed(result, |number, published| {
                        events.push_back(Event::Published(number, published));
                    });
                (members > 0).then_some(Event::Committed(members as u64))
            }
            Purpose::Probe(number) => {
                self.handle_probe_answered(role, number, result, now);
                None
            }
            Purpose::Heartbeat => {
                let State::Ready {
                    session, heartbeat, ..
                } = &mut self.connections[role.index()].state
                else {
                    return None;
                };
                *heartbeat = Heartbeat::Due(now + HEARTBEAT_INTERVAL);
                session.queue_usage().map(Event::QueueUsage)
            }
        }
    }
}

fn give_publishes(transactions: &mut Transactions, session: &mut Session) {
    let measure = LengthUnit::of(session.server_encoding());
    while let Some(members) = transactions.poll_transaction(measure) {
        let pairs = members.iter().map(|it| (&it.channel, &it.payload));
        session.notify(pairs, Purpose::Publish.ticket());
    }
}

/// Requests in flight on one session: a server that is written to without being read stalls.
const WINDOW: usize = 256;
/// For connecting and starting up together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS_A_SERVER: u32 = 4;
/// `idle_session_timeout` does not count what the server sends, and a middlebox may forget us.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
