//! Two sessions to PostgreSQL, kept alive for ever: one hears, one speaks.
//!
//! Owns when to connect, how long to wait for it, the heartbeat, and which request is whose. The
//! publishing session is apart because a backend that waits for the commit lock of a NOTIFY
//! delivers nothing meanwhile. Knows no client and no socket: the reactor carries out
//! [`Order`]s and reports what became of them.
//!
//! After each `handle_*` or [`Backend::push`]: [`Backend::drain_events`], then [`Backend::poll_order`],
//! [`Backend::poll_transmit`] and [`Backend::poll_timeout`].

mod asked;
mod cause;

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use self::{asked::Asked, cause::Cause};
use super::{hub::Command, publishing::Published};
use crate::{
    channel::{ChannelKey, Measure},
    pg::{
        config::Config,
        session::{self, HandedOver, ServerError, Session, Ticket},
    },
};

/// Which of the two sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// LISTENs and hears; does nothing else, so that nothing delays what it hears.
    Listening,
    /// NOTIFYs.
    Publishing,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Listening, Self::Publishing];

    /// The number, for arrays by role.
    pub fn index(self) -> usize {
        match self {
            Self::Listening => 0,
            Self::Publishing => 1,
        }
    }

    fn application_name(self) -> &'static str {
        match self {
            Self::Listening => "alle",
            Self::Publishing => "alle publish",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listening => "listening",
            Self::Publishing => "publishing",
        })
    }
}

/// What the reactor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Resolve and connect; report `handle_connected` or `handle_lost`.
    Connect(Role),
    /// Let the socket go; nothing is reported.
    Disconnect(Role),
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The session takes commands, of a server that counts so.
    Up(Role, Measure),
    /// The session is gone.
    Down(Role),
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
    config: Config,
    links: [Link; 2],
    random: u64,
    orders: VecDeque<Order>,
    events: VecDeque<Event<'static>>,
}

#[derive(Debug)]
struct Link {
    state: State,
    /// Not yet given to the session.
    commands: VecDeque<Command>,
    /// Failures since the session was last ready.
    failures: u32,
    /// What was last logged against it, so that it is logged once.
    complaint: Option<String>,
}

enum State {
    Waiting {
        until: Instant,
    },
    Connecting {
        deadline: Instant,
    },
    Starting {
        session: Box<Session>,
        deadline: Instant,
    },
    Ready {
        session: Box<Session>,
        heartbeat: Heartbeat,
        since: Instant,
    },
}

enum Heartbeat {
    Due(Instant),
    Asked { deadline: Instant },
}

impl Backend {
    /// Both sessions are wanted at once. `seed` spreads the retries of many bridges.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let link = || Link {
            state: State::Waiting { until: now },
            commands: VecDeque::new(),
            failures: 0,
            complaint: None,
        };
        Self {
            config,
            links: [link(), link()],
            random: seed,
            orders: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Where to connect to.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the session takes commands.
    pub fn is_up(&self, role: Role) -> bool {
        matches!(self.links[role.index()].state, State::Ready { .. })
    }

    /// The socket is connected.
    pub fn handle_connected(&mut self, role: Role) {
        let link = &mut self.links[role.index()];
        if let State::Connecting { deadline } = link.state {
            let session = Box::new(Session::new(&self.config, role.application_name()));
            link.state = State::Starting { session, deadline };
        }
    }

    /// The socket could not be connected, or ended; `why` completes the sentence "connection ...".
    pub fn handle_lost(&mut self, role: Role, why: &str, now: Instant) {
        if !matches!(self.links[role.index()].state, State::Waiting { .. }) {
            self.fail(role, &Cause::Connection(why), now);
        }
    }

    /// Bytes of the server: whoever speaks lives, whatever it says.
    pub fn handle_input(&mut self, role: Role, input: &[u8], now: Instant) {
        self.links[role.index()].note_life(now);
        if let Some(session) = self.links[role.index()].session_mut() {
            session.handle_input(input);
        }
    }

    /// The server is not being read for now: its silence is ours.
    pub fn handle_unread(&mut self, now: Instant) {
        for link in &mut self.links {
            link.note_life(now);
        }
    }

    /// Reports everything that happened, in order, to `report`: a notification borrows the bytes
    /// it came in, which rules out returning it across the session's own bookkeeping.
    pub fn drain_events(&mut self, now: Instant, mut report: impl FnMut(Event<'_>)) {
        for role in Role::ALL {
            while let Some(session) = self.links[role.index()].session_mut() {
                match session.poll_event() {
                    Some(session::Event::Notification { channel, payload }) => {
                        report(Event::Notification { channel, payload });
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
                        self.fail(role, &Cause::Session(&error), now);
                    }
                    None => break,
                }
                while let Some(event) = self.events.pop_front() {
                    report(event);
                }
            }
            self.give_commands(role);
        }
        while let Some(event) = self.events.pop_front() {
            report(event);
        }
    }

    /// Asks something of PostgreSQL. Without a session a publish fails at once and the rest is
    /// forgotten: whoever listens asks again when the session is up.
    pub fn push(&mut self, command: Command) {
        let role = match command {
            Command::Listen(..) | Command::Unlisten(..) => Role::Listening,
            Command::Notify(..) => Role::Publishing,
        };
        if self.is_up(role) {
            self.links[role.index()].commands.push_back(command);
            self.give_commands(role);
        } else if let Command::Notify(number, ..) = command {
            self.events
                .push_back(Event::Published(number, Published::NotSent));
        }
    }

    /// What the reactor is to do next.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Bytes for the server.
    pub fn poll_transmit(&self, role: Role) -> Option<&[u8]> {
        self.links[role.index()].session()?.poll_transmit()
    }

    /// So many of them were written.
    pub fn handle_transmitted(&mut self, role: Role, bytes: usize) {
        if let Some(session) = self.links[role.index()].session_mut() {
            session.handle_transmitted(bytes);
        }
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub fn poll_timeout(&self) -> Instant {
        let [listening, publishing] = &self.links;
        listening.deadline().min(publishing.deadline())
    }

    /// The time has come for whatever was due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for role in Role::ALL {
            let link = &mut self.links[role.index()];
            if link.deadline() > now {
                continue;
            }
            match &mut link.state {
                State::Waiting { .. } => {
                    link.state = State::Connecting {
                        deadline: now + CONNECT_TIMEOUT,
                    };
                    self.orders.push_back(Order::Connect(role));
                }
                State::Connecting { .. } | State::Starting { .. } => {
                    self.fail(role, &Cause::Connection("timed out"), now);
                }
                State::Ready {
                    session, heartbeat, ..
                } => match heartbeat {
                    Heartbeat::Due(_) => {
                        session.heartbeat(Asked::Heartbeat.ticket());
                        *heartbeat = Heartbeat::Asked {
                            deadline: now + HEARTBEAT_TIMEOUT,
                        };
                    }
                    Heartbeat::Asked { .. } => {
                        self.fail(role, &Cause::Connection("went silent"), now);
                    }
                },
            }
        }
    }

    /// Says goodbye; the reactor writes it and closes.
    pub fn terminate(&mut self) {
        for link in &mut self.links {
            if let State::Ready { session, .. } = &mut link.state {
                session.terminate();
            }
        }
    }

    fn ready(&mut self, role: Role, now: Instant) {
        let link = &mut self.links[role.index()];
        let waiting = State::Waiting { until: now };
        if let State::Starting { session, .. } = std::mem::replace(&mut link.state, waiting) {
            tracing::info!(
                "{role} session connected to PostgreSQL {} at {}",
                session.server_version().unwrap_or("of unknown version"),
                self.config.address(),
            );
            let measure = Measure::of(session.server_encoding());
            let heartbeat = Heartbeat::Due(now + HEARTBEAT_INTERVAL);
            link.state = State::Ready {
                session,
                heartbeat,
                since: now,
            };
            link.complaint = None;
            self.events.push_back(Event::Up(role, measure));
        }
    }

    fn completed(
        &mut self,
        role: Role,
        ticket: Ticket,
        result: Result<(), ServerError>,
        now: Instant,
    ) -> Option<Event<'static>> {
        match Asked::from_ticket(ticket) {
            Asked::Listen(key) => Some(Event::Listened(key, result)),
            Asked::Unlisten(key) => {
                if let Err(error) = result {
                    tracing::warn!("PostgreSQL refused to UNLISTEN: {error}");
                }
                Some(Event::Unlistened(key))
            }
            Asked::Notify(number) => {
                let published = match result {
                    Ok(()) => Published::Committed,
                    Err(error) => Published::Refused(error),
                };
                Some(Event::Published(number, published))
            }
            Asked::Heartbeat => {
                if let State::Ready { heartbeat, .. } = &mut self.links[role.index()].state {
                    *heartbeat = Heartbeat::Due(now + HEARTBEAT_INTERVAL);
                }
                None
            }
        }
    }

    fn give_commands(&mut self, role: Role) {
        let Link {
            state: State::Ready { session, .. },
            commands,
            ..
        } = &mut self.links[role.index()]
        else {
            return;
        };
        while session.in_flight() < WINDOW {
            match commands.pop_front() {
                Some(Command::Listen(key, channel)) => {
                    session.listen(&channel, Asked::Listen(key).ticket());
                }
                Some(Command::Unlisten(key, channel)) => {
                    session.unlisten(&channel, Asked::Unlisten(key).ticket());
                }
                Some(Command::Notify(number, channel, payload)) => {
                    session.notify(&channel, &payload, Asked::Notify(number).ticket());
                }
                None => return,
            }
        }
    }

    /// The session, whatever state it is in, is over: what it was asked is settled, the next
    /// attempt is planned.
    fn fail(&mut self, role: Role, cause: &Cause<'_>, now: Instant) {
        self.orders.push_back(Order::Disconnect(role));
        let link = &mut self.links[role.index()];
        if matches!(link.state, State::Ready { since, .. } if now - since >= PROVEN_AFTER) {
            link.failures = 0;
        }
        let delay = self.delay(role, cause);
        let link = &mut self.links[role.index()];
        link.failures += 1;
        let complaint = cause.complaint(role, &self.config);
        if link.complaint.as_ref() != Some(&complaint) {
            tracing::warn!("{complaint}");
            link.complaint = Some(complaint);
        }
        let before = std::mem::replace(&mut link.state, State::Waiting { until: now + delay });
        if let State::Ready { mut session, .. } = before {
            for (ticket, handed_over) in session.unanswered() {
                if let Asked::Notify(number) = Asked::from_ticket(ticket) {
                    let published = match handed_over {
                        HandedOver::Yes => Published::Unknown,
                        HandedOver::No => Published::NotSent,
                    };
                    self.events.push_back(Event::Published(number, published));
                }
            }
            for command in link.commands.drain(..) {
                if let Command::Notify(number, ..) = command {
                    self.events
                        .push_back(Event::Published(number, Published::NotSent));
                }
            }
            self.events.push_back(Event::Down(role));
        }
    }

    /// At once after a session that worked; then 100 ms doubling to 2 s; 30 s where only a person
    /// can help. Between half and all of it, so that many bridges do not come at the same time.
    fn delay(&mut self, role: Role, cause: &Cause<'_>) -> Duration {
        let link = &self.links[role.index()];
        let whole = match cause {
            Cause::Session(error) if error.is_configuration() => RETRY_CONFIGURATION,
            Cause::Connection(_) | Cause::Session(_)
                if link.failures == 0 && matches!(link.state, State::Ready { .. }) =>
            {
                return Duration::ZERO;
            }
            Cause::Connection(_) | Cause::Session(_) => RETRY_MIN
                .saturating_mul(1 << link.failures.min(10))
                .min(RETRY_MAX),
        };
        whole.mul_f64(0.5 + 0.5 * self.fraction())
    }

    /// The next of a sequence that looks random, in 0..1 (SplitMix64).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let top = u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or(0);
        f64::from(top) / f64::from(u32::MAX)
    }
}

impl Link {
    fn note_life(&mut self, now: Instant) {
        if let State::Ready {
            heartbeat: Heartbeat::Asked { deadline },
            ..
        } = &mut self.state
        {
            *deadline = now + HEARTBEAT_TIMEOUT;
        }
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Starting { session, .. } | State::Ready { session, .. } => Some(session),
            State::Waiting { .. } | State::Connecting { .. } => None,
        }
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Starting { session, .. } | State::Ready { session, .. } => Some(session),
            State::Waiting { .. } | State::Connecting { .. } => None,
        }
    }

    fn deadline(&self) -> Instant {
        match &self.state {
            State::Waiting { until } => *until,
            State::Connecting { deadline } | State::Starting { deadline, .. } => *deadline,
            State::Ready {
                heartbeat: Heartbeat::Due(at),
                ..
            } => *at,
            State::Ready {
                heartbeat: Heartbeat::Asked { deadline },
                ..
            } => *deadline,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting { .. } => "Waiting",
            Self::Connecting { .. } => "Connecting",
            Self::Starting { .. } => "Starting",
            Self::Ready { .. } => "Ready",
        })
    }
}

/// Requests in flight on one session: a server that is written to without being read stalls.
const WINDOW: usize = 256;
/// For connecting and starting up together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A session that lived for this long was a good one: the next is tried at once.
const PROVEN_AFTER: Duration = Duration::from_secs(10);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A wrong password or an unknown database does not mend itself.
const RETRY_CONFIGURATION: Duration = Duration::from_secs(30);
/// `idle_session_timeout` does not count what the server sends, and a middlebox may forget us.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
