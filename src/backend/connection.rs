//! The connection of one session over time: waiting, resolving, connecting, starting, ready.
//!
//! Owns the state, the route, the heartbeat, and what one attempt leaves to the next. Answers with
//! values and carries nothing out; knows neither the other session nor the purpose of a request.

mod addresses;
mod connecting;
mod state;
#[cfg(test)]
mod tests;

use std::{
    io,
    time::{Duration, Instant},
};

pub(super) use self::connecting::Step;
use self::{addresses::Addresses, state::State};
use super::{
    downgrade::Downgrade,
    failure::{Failure, FailureClass, FailureKind, Unfit, address_behind},
    heartbeat::{Heartbeat, Pulse},
    reconnect::Reconnect,
    role::Role,
    route::{Reached, Route},
};
use crate::{
    channel::LengthUnit,
    pg::{
        config::{Config, ConfigError, Server, SslMode},
        session::{AuthenticationError, KeyDerivation, Protection, Session},
    },
    random::Random,
};

/// One session's connection.
///
/// A round of attempts begins with the settings, which are read anew, and follows the routes, one
/// after the other, until one leads to a session that is of use or none is left; then it waits.
/// [`Self::handle_timeout`] says when the settings are to be resolved, [`Self::handle_resolved`]
/// and [`Self::fail`] when the reactor has to connect; a session is ready after
/// [`Self::handle_started`], and up after [`Self::bring_up`].
#[derive(Debug)]
pub(super) struct Connection {
    role: Role,
    config: Config,
    state: State,
    /// When the next round begins, or earlier if the settings change.
    round_at: Instant,
    /// Where this attempt leads, or the next one.
    route: Route,
    addresses: Addresses,
    /// The failures of this round, in order; empty while the session is up.
    round: Vec<Failure>,
    /// The last failure of the last round; `None` while there was none, and while the session is
    /// up.
    failure: Option<Failure>,
    /// The condition for the next round to succeed.
    class: FailureClass,
    /// The gist of the last log line about a round: an equal one is not written again.
    logged: Option<String>,
    reconnect: Reconnect,
    downgrade: Downgrade,
}

/// The action that a deadline asks for.
#[derive(Debug)]
pub(super) enum Due {
    /// The settings are to be resolved; a round begins with them.
    Resolve,
    /// The race of the addresses goes on: see [`Connection::poll_race`].
    Race,
    /// A heartbeat is to be sent.
    Heartbeat,
    /// The connection is to be failed.
    Failure(FailureKind),
}

/// What a connection does after a failure.
pub(super) enum Aftermath {
    /// It follows the next route: the reactor has to connect.
    NextRoute,
    /// It waits for the next round.
    NextRound {
        /// The session that ended, if it was up: its requests are to be settled.
        ended: Option<Box<Session>>,
    },
}

impl Connection {
    /// A connection that is wanted at once. `random` picks the first server where chance decides.
    pub(super) fn new(role: Role, config: Config, random: u64, now: Instant) -> Self {
        Self {
            role,
            route: Route::first(&config, random),
            config,
            state: State::Waiting { until: now },
            round_at: now,
            addresses: Addresses::default(),
            round: Vec::new(),
            failure: None,
            class: FailureClass::default(),
            logged: None,
            reconnect: Reconnect::default(),
            downgrade: Downgrade::default(),
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn route(&self) -> Route {
        self.route
    }

    /// The server that the route leads to.
    pub(super) fn server(&self) -> &Server {
        &self.config.servers[self.route.server]
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The session, from its first byte to its last.
    pub(super) fn session(&self) -> Option<&Session> {
        self.state.session()
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        self.state.session_mut()
    }

    /// The session, if it takes requests.
    pub(super) fn ready_session_mut(&mut self) -> Option<&mut Session> {
        let is_ready = matches!(self.state, State::Ready { .. });
        self.session_mut().filter(|_| is_ready)
    }

    /// Whether an attempt is under way, or begins now.
    pub(super) fn is_attempting(&self, now: Instant) -> bool {
        match self.state {
            State::Waiting { until } => until <= now,
            State::Resolving { .. }
            | State::Locating { .. }
            | State::Connecting { .. }
            | State::Securing { .. }
            | State::Starting { .. } => true,
            State::Ready { .. } => false,
        }
    }

    /// Whether there is neither a session nor an attempt at one.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Whether the session takes requests, and is known to work as far as that can be known.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Ready { is_up: true, .. })
    }

    /// Whether the session takes requests, and is not known to work.
    pub(super) fn is_unproved(&self) -> bool {
        matches!(self.state, State::Ready { is_up: false, .. })
    }

    /// Whether TLS carries the session.
    pub(super) fn is_secure(&self) -> bool {
        self.state.is_secure()
    }

    /// Why the session that takes requests has no TLS, where TLS was given up for it.
    pub(super) fn tls_given_up(&self) -> Option<&str> {
        let is_ready = matches!(self.state, State::Ready { .. });
        self.downgrade.reason().filter(|_| is_ready)
    }

    /// The longest that a round of attempts may take: the settings are looked up; each server may be
    /// tried with TLS and without, and both ways again where any kind of server will do in the end,
    /// each time looked up and connected to, at each of its addresses as far as they are known.
    pub(super) fn round_timeout(&self) -> Duration {
        let servers = u32::try_from(self.config.servers.len()).unwrap_or(1);
        let attempts = servers.saturating_mul(ATTEMPTS_PER_SERVER);
        let per_attempt = self.addresses.found_max().saturating_mul(2);
        let steps = attempts.saturating_mul(per_attempt).saturating_add(1);
        self.connect_timeout().saturating_mul(steps)
    }

    /// Whether the settings of a round are being read.
    pub(super) fn is_resolving(&self) -> bool {
        matches!(self.state, State::Resolving { .. })
    }

    /// The settings, as they are now. `random` is that of [`Self::new`]. Returns whether the
    /// reactor has to connect: not while a round that failed for good waits and nothing changed.
    pub(super) fn handle_resolved(&mut self, config: Config, random: u64, now: Instant) -> bool {
        debug_assert!(self.is_resolving(), "settings that were asked for");
        let begins = now >= self.round_at || config != self.config;
        if begins {
            self.route = Route::first(&config, random);
            self.config = config;
            self.locate(now);
        } else {
            self.wait_for_change(now);
        }
        begins
    }

    /// The socket is connected, by TLS or without.
    pub(super) fn handle_connected(&mut self, protection: Protection) {
        let (State::Locating { deadline } | State::Securing { deadline, .. }) = self.state else {
            return;
        };
        let is_secure = protection != Protection::None;
        let name = self.role.application_name();
        let session = Session::begin(&self.config, self.server(), protection, name);
        self.state = State::Starting {
            session: Box::new(session),
            is_secure,
            deadline,
            derivation: None,
        };
    }

    /// Returns whether the session, whose events are drained, wants a key that it did not want
    /// before.
    pub(super) fn note_derivation(&mut self) -> bool {
        self.state.note_derivation()
    }

    /// The key to be derived, once; `None` if the session is gone.
    pub(super) fn take_key_derivation(&mut self) -> Option<KeyDerivation> {
        self.state.take_derivation()
    }

    /// Bytes from the server: any input is a sign of life.
    pub(super) fn handle_input(&mut self, input: &[u8], now: Instant) {
        if let Some(heartbeat) = self.heartbeat_mut() {
            heartbeat.postpone(now);
        }
        if let Some(session) = self.session_mut() {
            session.handle_input(input);
        }
    }

    /// The heartbeat of the session that is ready.
    pub(super) fn heartbeat_mut(&mut self) -> Option<&mut Heartbeat> {
        self.state.heartbeat_mut()
    }

    /// The session is silent, and cannot be given up yet.
    pub(super) fn wait_on(&mut self, now: Instant) {
        self.state.wait_on(now);
    }

    /// The session has started: it is ready from now on, unless the server will not do.
    pub(super) fn handle_started(&mut self, now: Instant) -> Result<(), FailureKind> {
        let State::Starting { session, .. } = &self.state else {
            debug_assert!(false, "a session starts once");
            return Ok(());
        };
        let target = self.route.target(&self.config);
        if !target.accept(session.in_hot_standby(), session.is_read_only()) {
            return Err(FailureKind::TargetMismatch(target.description()));
        }
        if session.in_hot_standby() {
            return Err(FailureKind::Unfit(Unfit::Standby));
        }
        let waiting = State::Waiting { until: now };
        if let State::Starting {
            session, is_secure, ..
        } = std::mem::replace(&mut self.state, waiting)
        {
            self.state = State::Ready {
                session,
                heartbeat: Heartbeat::new(now),
                ready_at: now,
                is_secure,
                is_up: false,
            };
        }
        Ok(())
    }

    /// The session that is ready is up from now on. Returns the unit in which its server counts;
    /// `None` if no session is ready.
    pub(super) fn bring_up(&mut self) -> Option<LengthUnit> {
        let State::Ready {
            session,
            is_secure,
            is_up,
            ..
        } = &mut self.state
        else {
            return None;
        };
        *is_up = true;
        let server = &self.config.servers[self.route.server];
        let is_offered =
            self.config.tls.mode == SslMode::Prefer && server.unix_socket_path().is_none();
        self.downgrade.handle_up(self.role, *is_secure, is_offered);
        tracing::info!(
            target: "alle::postgres",
            "{} session connected to PostgreSQL {} at {}{}",
            self.role,
            session.server_version().unwrap_or("of unknown version"),
            server,
            if *is_secure { " over TLS" } else { "" },
        );
        self.addresses.handle_up();
        self.round.clear();
        self.failure = None;
        self.logged = None;
        Some(LengthUnit::of(session.server_encoding()))
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn deadline(&self) -> Instant {
        self.state.deadline()
    }

    /// Returns the action that is due, if the deadline has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.deadline() > now {
            return None;
        }
        let step = self.state.step();
        let timeout = self.connect_timeout();
        Some(match &mut self.state {
            State::Waiting { .. } => {
                let deadline = now + timeout;
                self.state = State::Resolving { deadline };
                Due::Resolve
            }
            State::Resolving { .. } | State::Locating { .. } => {
                Due::Failure(FailureKind::Settings(ConfigError::LookupHangs))
            }
            State::Connecting { .. } => Due::Race,
            State::Securing { .. } | State::Starting { .. } => {
                let iterations = self.session().and_then(Session::key_iterations);
                Due::Failure(match (iterations, step) {
                    (Some(iterations), _) => {
                        let error = AuthenticationError::IterationsTooMany { iterations };
                        FailureKind::Session(Box::new(error.into()))
                    }
                    (None, Some(step)) => FailureKind::Unanswered(step, timeout),
                    (None, None) => FailureKind::connection(io::ErrorKind::TimedOut, "timed out"),
                })
            }
            State::Ready { heartbeat, .. } => match heartbeat.handle_timeout(now) {
                Pulse::Send => Due::Heartbeat,
                Pulse::Silent => Due::Failure(FailureKind::connection(
                    io::ErrorKind::TimedOut,
                    "went silent",
                )),
            },
        })
    }

    /// Ends the attempt, or the session. The next attempt is made at once where another route is
    /// left, and else in the next round.
    pub(super) fn fail(
        &mut self,
        kind: FailureKind,
        random: &mut Random,
        now: Instant,
    ) -> Aftermath {
        let is_admitted = self.session().is_some_and(Session::is_admitted);
        let reached = kind.reached(is_admitted, self.is_secure());
        let kind = kind.at_step(self.state.step());
        let server = self.server();
        let (address, taken) = (server.to_string(), self.addresses.taken());
        let taken_at = address_behind(server, taken);
        let reason = kind.reason_against_tls();
        let password_file = self.server().password_file.clone();
        self.round.push(Failure {
            address,
            taken_at,
            password_file: password_file.filter(|_| kind.is_password_refused()),
            kind,
        });
        let is_silent = reached == Reached::Nobody && !self.is_up();
        if is_silent && self.addresses.pass_over() {
            self.locate(now);
            return Aftermath::NextRoute;
        }
        match self.route.next(reached, &self.config) {
            Some(next) if !self.is_up() => {
                let gives_up = self.route.gives_up_tls(next);
                self.downgrade.handle_attempt(gives_up.then_some(reason));
                if next.server != self.route.server {
                    self.addresses.leave();
                }
                self.route = next;
                self.locate(now);
                Aftermath::NextRoute
            }
            Some(_) | None => Aftermath::NextRound {
                ended: self.end_round(random, now),
            },
        }
    }

    fn locate(&mut self, now: Instant) {
        self.addresses.handle_ended();
        self.state = State::Locating {
            deadline: now + self.connect_timeout(),
        };
    }

    /// For connecting to one address and starting a session there, together; and for a look-up.
    fn connect_timeout(&self) -> Duration {
        self.config.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }

    /// Waits for the next round. Returns the session if it was up.
    fn end_round(&mut self, random: &mut Random, now: Instant) -> Option<Box<Session>> {
        self.log_round();
        let classes = self.round.iter().map(|failure| failure.kind.class());
        let class = classes.max().unwrap_or(FailureClass::Passing);
        self.class = class;
        self.failure = self.round.pop();
        self.round.clear();
        self.addresses.leave();
        self.route = Route::first(&self.config, random.bits());
        self.downgrade.handle_attempt(None);
        let ready_for = self.state.ready_at().map(|ready_at| now - ready_at);
        self.round_at = now + self.reconnect.delay(class, ready_for, random);
        let until = self.round_at;
        let before = std::mem::replace(&mut self.state, State::Waiting { until });
        if class == FailureClass::Hopeless {
            self.wait_for_change(now);
        }
        before.into_session_up()
    }

    /// A person has to act, in the settings perhaps: until the round begins they are looked at.
    fn wait_for_change(&mut self, now: Instant) {
        let until = self.round_at.min(now + SETTINGS_INTERVAL);
        self.state = State::Waiting { until };
    }

    /// A server that is away for hours is worth one line, not one each two seconds.
    fn log_round(&mut self) {
        let join = |text: fn(&Failure) -> String| {
            let texts: Vec<_> = self.round.iter().map(text).collect();
            texts.join("; ")
        };
        let gist = join(Failure::gist);
        if self.logged.as_ref() != Some(&gist) {
            tracing::warn!(
                target: "alle::postgres",
                "{} session: {}; retrying",
                self.role,
                join(Failure::log_text)
            );
            self.logged = Some(gist);
        }
    }
}

/// Unless the configuration says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS_PER_SERVER: u32 = 4;
/// Between two looks at settings that were refused: files are read, no server is asked.
const SETTINGS_INTERVAL: Duration = Duration::from_secs(2);
