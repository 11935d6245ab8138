//! The sessions to PostgreSQL, kept alive for ever: to listen, to publish, to ask about tokens.
//!
//! Owns both connections, the proof that one session receives what the other notifies, and the
//! publishes under way. The publishing session is apart because a server that waits for the commit
//! lock of a NOTIFY delivers nothing meanwhile, and because only a notification of another session
//! proves that the listening one receives any: it counts as up once it has received a probe of the
//! publishing session. Knows no client and no socket: the reactor carries out [`Order`]s and
//! reports their outcome.
//!
//! After each `handle_*`, [`Backend::ask`] or [`Backend::publish`]: [`Backend::drain_events`], then
//! [`Backend::poll_order`], [`Backend::poll_transmit`] and [`Backend::poll_timeout`].

mod boundary;
mod bring_up;
mod calling;
pub mod command;
mod connection;
mod control;
mod downgrade;
mod failure;
mod fair_queue;
mod heartbeat;
pub mod interest;
pub mod interests;
mod leaving;
mod notifying;
mod opening;
mod probe;
mod reconnect;
mod resolving;
mod role;
mod route;
mod silence;
mod stall;
mod ticket;
mod transactions;
mod warned;

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use self::command::{Command, Notify, Published, Verb};
pub use self::{
    boundary::{Event, Order},
    calling::Called,
    control::Control,
    failure::{Failure, FailureKind, Step, Unfit, Unreached},
    resolving::Configs,
    role::Role,
    route::{Encryption, Route},
    stall::Stall,
};
use self::{
    calling::Calling,
    connection::{Aftermath, Connection},
    leaving::Leaving,
    opening::Opening,
    probe::Probe,
    stall::Commits,
    ticket::Operation,
    transactions::Transactions,
    warned::Warned,
};
use super::random::Random;
use crate::{
    channel::{Channel, LengthUnit},
    pg::{
        config::{Config, Server},
        session::{self, Protection, ServerError, Session, Ticket},
    },
};

/// All sessions.
#[derive(Debug)]
pub struct Backend {
    /// By role.
    connections: [Connection; 3],
    /// Sessions that were given up, by role.
    leaving: [Leaving; 3],
    /// Of sessions of which nobody knows that they are not up, by role.
    opening: [Opening; 3],
    probe: Probe,
    /// The probe under way was sent by the command NOTIFY.
    is_probing_by_command: bool,
    /// Why the last probe was refused, until one is heard.
    refusal: Option<ServerError>,
    /// The channel of a group, where there is one.
    control: Option<Channel>,
    /// What is asked about tokens, where something is.
    calling: Calling,
    commits: Commits,
    /// Publishes that wait or are under way; empty while the publishing session is neither up nor
    /// being opened.
    transactions: Transactions,
    warned: Warned,
    random: Random,
    orders: VecDeque<Order>,
    events: VecDeque<Event<'static>>,
}

impl Backend {
    /// Both sessions are wanted at once. `seed` spreads the retries of many bridges.
    pub fn new(configs: impl Into<Configs>, seed: u64, now: Instant) -> Self {
        let Configs {
            listening,
            publishing,
        } = configs.into();
        Self {
            connections: [
                Connection::new(Role::Listening, listening.clone(), seed, now),
                Connection::new(Role::Publishing, publishing, seed, now),
                // Past a pooler, as the first.
                Connection::new(Role::Authorizing, listening, seed, now),
            ],
            leaving: Default::default(),
            opening: Opening::begin_all(now),
            is_probing_by_command: false,
            refusal: None,
            probe: Probe::new(seed),
            control: None,
            calling: Calling::default(),
            commits: Commits::default(),
            transactions: Transactions::default(),
            warned: Warned::default(),
            random: Random::new(seed),
            orders: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The configuration of the session.
    pub fn config(&self, role: Role) -> &Config {
        self.connection(role).config()
    }

    /// Whether the session takes commands.
    pub fn is_up(&self, role: Role) -> bool {
        self.connection(role).is_up()
    }

    /// The session, from its first byte to its last.
    pub fn session(&self, role: Role) -> Option<&Session> {
        self.connection(role).session()
    }

    /// Whether TLS carries the session.
    pub fn is_secure(&self, role: Role) -> bool {
        self.connection(role).is_secure()
    }

    /// Why the session that takes commands has no TLS, where TLS was given up for it.
    pub fn tls_given_up(&self, role: Role) -> Option<&str> {
        self.connection(role).tls_given_up()
    }

    /// How to connect now.
    pub fn route(&self, role: Role) -> Route {
        self.connection(role).route()
    }

    /// The server to connect to now.
    pub fn server(&self, role: Role) -> &Server {
        self.connection(role).server()
    }

    /// The longest that a round of attempts may take.
    pub fn round_timeout(&self) -> Duration {
        let [listening, publishing, _] = &self.connections;
        listening.round_timeout().max(publishing.round_timeout())
    }

    /// Why PostgreSQL refused the last probe, until one is heard.
    pub fn refusal(&self) -> Option<&ServerError> {
        self.refusal.as_ref()
    }

    /// Why the last round of attempts failed, until the session is up.
    pub fn failure(&self, role: Role) -> Option<&Failure> {
        self.connection(role).failure()
    }

    /// The socket is connected, without TLS.
    pub fn handle_connected(&mut self, role: Role) {
        self.connection_mut(role).handle_connected(Protection::None);
    }

    /// The socket is connected, and TLS is established with a server that the configuration
    /// trusts. `end_point` is the hash of the server's certificate (RFC 5929, 4.1).
    pub fn handle_secured(&mut self, role: Role, end_point: Option<Vec<u8>>) {
        let protection = Protection::Tls { end_point };
        self.connection_mut(role).handle_connected(protection);
    }

    /// The socket could not be connected, or ended; `why` completes the sentence "connection ...".
    pub fn handle_lost(&mut self, role: Role, why: &str, now: Instant) {
        self.handle_unreachable(role, why, io::ErrorKind::ConnectionReset, now);
    }

    /// The same, where the kind of error is known.
    pub fn handle_unreachable(&mut self, role: Role, why: &str, kind: io::ErrorKind, now: Instant) {
        if !self.connection(role).is_waiting() {
            self.fail(role, FailureKind::connection(kind, why), now);
        }
    }

    /// TLS could not be established; `why` says what is wrong.
    pub fn handle_tls_failed(&mut self, role: Role, why: &str, now: Instant) {
        if !self.connection(role).is_waiting() {
            self.fail(role, FailureKind::Tls(why.to_owned()), now);
        }
    }

    /// Bytes of the server.
    pub fn handle_input(&mut self, role: Role, input: &[u8], now: Instant) {
        self.connection_mut(role).handle_input(input, now);
    }

    /// Reports everything that happened, in order, to `report`: a notification borrows the bytes
    /// it came in, which rules out returning it across the session's own bookkeeping.
    pub fn drain_events(&mut self, now: Instant, mut report: impl FnMut(Event<'_>)) {
        for role in Role::ALL {
            while let Some(session) = self.connections[role.index()].session_mut() {
                match session.poll_event() {
                    // It listens to nothing: a pooler confused the two.
                    Some(session::Event::Notification { .. }) if role != Role::Listening => {}
                    Some(session::Event::Notification {
                        process_id,
                        channel,
                        payload,
                    }) => {
                        if channel == self.probe.channel().as_str().as_bytes() {
                            if self.probe.handle_received(payload) {
                                self.forget_leavers();
                                self.note_refusal(None);
                            }
                            self.note_proof(now);
                        } else {
                            self.probe.postpone(now);
                            let control = self.control.as_ref();
                            report(match control.map(|it| it.as_str().as_bytes() == channel) {
                                Some(true) => Event::Control(Control::message(process_id, payload)),
                                Some(false) | None => Event::Notification {
                                    process_id,
                                    channel,
                                    payload,
                                },
                            });
                        }
                    }
                    Some(session::Event::Completed { ticket, result }) => {
                        if let Some(event) = self.completed(role, ticket, result, now) {
                            report(event);
                        }
                    }
                    Some(session::Event::Ready) => self.handle_started(role, now),
                    Some(session::Event::Notice(notice)) => {
                        tracing::debug!(target: "alle::postgres", "PostgreSQL says: {notice}");
                    }
                    Some(session::Event::Failed(error)) => {
                        self.fail(role, FailureKind::Session(Box::new(error)), now);
                    }
                    None => break,
                }
                while let Some(event) = self.events.pop_front() {
                    report(event);
                }
            }
            if self.connection_mut(role).note_derivation() {
                self.orders.push_back(Order::DeriveKey(role));
            }
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
            (Some(session), Verb::Listen) => {
                session.listen_along(channel, Operation::Listen(key).ticket());
            }
            (Some(session), Verb::Unlisten) => {
                session.unlisten(channel, Operation::Unlisten(key).ticket());
            }
        }
    }

    /// Asks the publishing session for a publish. It fails at once unless it [can be
    /// taken](Self::can_publish).
    pub fn publish(&mut self, notify: Notify) {
        if self.can_publish() {
            self.transactions.push(notify);
        } else {
            let event = Event::Published(notify.number, Published::NotSent);
            self.events.push_back(event);
        }
    }

    /// The next order to the reactor.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Bytes for the server. Requests become bytes here and not before: while the socket takes
    /// none, publishes gather.
    pub fn poll_transmit(&mut self, role: Role) -> Option<&[u8]> {
        let connection = &mut self.connections[role.index()];
        if role == Role::Publishing
            && let Some(session) = connection.ready_session_mut()
        {
            give_publishes(&mut self.transactions, session);
        }
        connection.session_mut()?.poll_transmit()
    }

    /// This many of them were written.
    pub fn handle_transmitted(&mut self, role: Role, bytes: usize) {
        if let Some(session) = self.connection_mut(role).session_mut() {
            session.handle_transmitted(bytes);
        }
    }

    /// Ends both sessions by Terminate; the reactor writes it and closes.
    pub fn terminate(&mut self) {
        for connection in &mut self.connections {
            if let Some(session) = connection.ready_session_mut() {
                session.terminate();
            }
        }
    }

    fn connection(&self, role: Role) -> &Connection {
        &self.connections[role.index()]
    }

    fn connection_mut(&mut self, role: Role) -> &mut Connection {
        &mut self.connections[role.index()]
    }

    fn completed(
        &mut self,
        role: Role,
        ticket: Ticket,
        result: Result<(), ServerError>,
        now: Instant,
    ) -> Option<Event<'static>> {
        match Operation::from_ticket(ticket) {
            Operation::Listen(key) => {
                let is_mendable = |error: &ServerError| error.is_lost_transaction_status();
                let session = self.connection_mut(role).session_mut();
                if let Some(session) = session.filter(|it| {
                    !it.is_measuring_queue() && result.as_ref().is_err_and(is_mendable)
                }) {
                    session.measure_queue(Operation::Heartbeat.ticket());
                }
                Some(Event::Listened(key, result))
            }
            Operation::Unlisten(key) => {
                if let Err(error) = result {
                    tracing::warn!(target: "alle::postgres", "UNLISTEN was refused: {error}");
                }
                Some(Event::Unlistened(key))
            }
            Operation::Publish => {
                if self.commits.handle_progress(now) {
                    self.note_stall();
                }
                if let Err(error) = &result {
                    let publishing = &mut self.connections[role.index()];
                    if notifying::retry_by_command(publishing, &mut self.transactions, error) {
                        self.transactions.handle_retried();
                        return None;
                    }
                    self.handle_publish_refused(&error.sqlstate, now);
                }
                let events = &mut self.events;
                let members = self
                    .transactions
                    .handle_completed(result, |number, published| {
                        events.extend(control::outcome(number, published));
                    });
                (members > 0).then_some(Event::Committed(members as u64))
            }
            Operation::Probe(number) => {
                self.handle_probe_answer(role, number, result, now);
                None
            }
            Operation::Control if result.is_ok() => None,
            Operation::Control => {
                self.handle_probe_answer(role, 0, result, now);
                None
            }
            Operation::Present => self.found(role, &result, Control::Present),
            Operation::Members => self.found(role, &result, Control::Members),
            Operation::Call(number) => self.called(number, result),
            Operation::Check(form) => self.checked(form, result),
            Operation::LockHolder => {
                let holder = self.session(role)?.lock_holder();
                if self.commits.handle_holder(holder) {
                    self.note_stall();
                }
                None
            }
            Operation::Heartbeat => {
                let connection = self.connection_mut(role);
                if let Some(heartbeat) = connection.heartbeat_mut() {
                    heartbeat.handle_answer(now);
                }
                connection.session()?.queue_usage().map(Event::QueueUsage)
            }
        }
    }

    /// The session, or the attempt at it, is over: its requests are settled, and the next attempt
    /// is planned.
    fn fail(&mut self, role: Role, kind: FailureKind, now: Instant) {
        self.orders.push_back(Order::Disconnect(role));
        if role == Role::Publishing {
            self.commits.abandon();
        }
        self.end(role, kind, now);
    }

    fn end(&mut self, role: Role, kind: FailureKind, now: Instant) {
        if role == Role::Listening {
            self.events.push_back(Event::Unfit(kind.unfit()));
            self.probe.handle_lost();
        }
        match self.connections[role.index()].fail(kind, &mut self.random, now) {
            Aftermath::NextRoute => self.orders.push_back(Order::Connect(role)),
            Aftermath::NextRound { ended } => {
                if let Some(session) = ended {
                    if role == Role::Publishing {
                        self.settle_publishes(*session);
                    }
                    self.events.push_back(Event::Down(role));
                }
                self.give_up_opening(role);
                match role {
                    // PostgreSQL is down, and clients are told so.
                    Role::Listening => self.give_up_opening(Role::Publishing),
                    Role::Publishing => {
                        self.probe.abandon();
                        self.await_publisher(now);
                        self.note_publisher_missing(now);
                    }
                    Role::Authorizing => {}
                }
            }
        }
    }

    /// The publishing session was up and is gone: each publish ends.
    fn settle_publishes(&mut self, mut session: Session) {
        let unanswered = session.unanswered().filter_map(|(ticket, handed_over)| {
            let is_publish = Operation::from_ticket(ticket) == Operation::Publish;
            is_publish.then_some(handed_over)
        });
        let events = &mut self.events;
        self.transactions
            .handle_lost(unanswered, |number, published| {
                events.extend(control::outcome(number, published));
            });
    }
}

fn give_publishes(transactions: &mut Transactions, session: &mut Session) {
    let unit = LengthUnit::of(session.server_encoding());
    while let Some(members) = transactions.poll_transaction(unit) {
        let pairs = members.iter().map(|it| (&it.channel, &it.payload));
        session.notify(pairs, Operation::Publish.ticket());
    }
}

/// Requests under way on one session: a server whose answers nobody reads stops reading.
const WINDOW: usize = 256;
