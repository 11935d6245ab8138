//! From the end of start-up to being up: whether the server will do, and whether it delivers.
//!
//! The probe itself is [`Probe`](super::probe::Probe); here is who says it, who hears it, and what
//! becomes of a session that does not.

use std::{io, time::Instant};

use super::{
    Backend, Event, HEARTBEAT_INTERVAL, Purpose, Role, Unfit,
    connection::{Connection, Heartbeat, State},
    failure::Cause,
    probe::Proof,
};
use crate::{
    channel::LengthUnit,
    pg::session::{ServerError, Session},
};

impl Backend {
    pub(super) fn ready(&mut self, role: Role, now: Instant) {
        let connection = &mut self.connections[role.index()];
        let State::Starting { session, .. } = &connection.state else {
            return;
        };
        let target = connection.route.target(&self.configs[role.index()]);
        if !target.accept(session.in_hot_standby(), session.is_read_only()) {
            self.fail(role, &Cause::OtherKind(target.description()), now);
            return;
        }
        if session.in_hot_standby() {
            self.fail(role, &Cause::Unfit(Unfit::Standby), now);
            return;
        }
        let waiting = State::Waiting { until: now };
        if let State::Starting {
            session, is_secure, ..
        } = std::mem::replace(&mut connection.state, waiting)
        {
            connection.state = State::Ready {
                session,
                heartbeat: Heartbeat::Due(now + HEARTBEAT_INTERVAL),
                since: now,
                is_secure,
                is_up: false,
            };
        }
        match (role, &mut connection.state) {
            (Role::Listening, State::Ready { session, .. }) => {
                // An entry left behind in the queue would make each LISTEN fail.
                session.measure_queue(Purpose::Heartbeat.ticket());
                session.listen(self.probe.channel(), Purpose::Probe(0).ticket());
            }
            _ => {
                self.rise(role);
                self.begin_probe(now);
            }
        }
    }

    /// Why the session that is up has no TLS, where it was asked for and might have been had.
    pub fn tls_given_up(&self, role: Role) -> Option<&str> {
        let connection = &self.connections[role.index()];
        let is_ready = matches!(connection.state, State::Ready { .. });
        connection.in_the_clear.as_deref().filter(|_| is_ready)
    }

    /// The session is one to work with.
    fn rise(&mut self, role: Role) {
        let connection = &mut self.connections[role.index()];
        let State::Ready {
            session,
            is_secure,
            is_up,
            ..
        } = &mut connection.state
        else {
            return;
        };
        *is_up = true;
        let is_secure = *is_secure;
        let measure = LengthUnit::of(session.server_encoding());
        let version = session.server_version();
        let version = version.unwrap_or("of unknown version").to_owned();
        let config = &self.configs[role.index()];
        connection.note_encryption(role, is_secure, config);
        tracing::info!(
            "{role} session connected to PostgreSQL {version} at {}{}",
            config.servers[connection.route.server],
            if is_secure { " over TLS" } else { "" },
        );
        let is_tls_given_up = connection.in_the_clear.is_some();
        connection.complaints.clear();
        connection.is_misconfigured = false;
        connection.complaint = None;
        connection.failure = None;
        self.events.push_back(Event::Up(role, measure));
        if is_tls_given_up {
            self.events.push_back(Event::TlsGivenUp(role));
        }
    }

    /// The publishing session says something that the listening one must hear.
    pub(super) fn begin_probe(&mut self, now: Instant) {
        if !self.is_up(Role::Publishing) {
            return;
        }
        let random = self.random.bits();
        let session = self.connections[Role::Publishing.index()].session_mut();
        if let (Some(session), Some((number, token))) = (session, self.probe.begin(random, now)) {
            session.notify(
                [(self.probe.channel(), &token)],
                Purpose::Probe(number).ticket(),
            );
        }
    }

    /// The listening session counts as up when it is proved to hear, or when nothing can prove it
    /// for want of a publishing session.
    pub(super) fn note_proof(&mut self) {
        let was_up = self.is_up(Role::Listening);
        match self.probe.proof() {
            Proof::Pending => return,
            Proof::Heard | Proof::Impossible if was_up => {}
            Proof::Heard | Proof::Impossible => self.rise(Role::Listening),
        }
        let proved = self.probe.proof() == Proof::Heard;
        self.events.push_back(Event::Proved(proved));
    }

    /// An answer of the listening session to the LISTEN for the probe, or of the publishing one to
    /// its NOTIFY.
    pub(super) fn handle_probe_answered(
        &mut self,
        role: Role,
        number: u32,
        result: Result<(), ServerError>,
        now: Instant,
    ) {
        match (role, result) {
            (Role::Listening, Ok(())) => {
                self.probe.handle_listening();
                self.begin_probe(now);
                self.note_missing_voice();
            }
            (Role::Publishing, Ok(())) => self.probe.handle_committed(number, now),
            (_, Err(error)) if error.sqlstate == READ_ONLY_TRANSACTION => {
                self.fail(role, &Cause::Unfit(Unfit::Standby), now);
            }
            (Role::Listening, Err(error)) => {
                let refused = format!("cannot listen: {error}");
                self.fail(
                    role,
                    &Cause::Connection(&refused, io::ErrorKind::Other),
                    now,
                );
            }
            (Role::Publishing, Err(error)) => {
                tracing::warn!("whether notifications are heard could not be tested: {error}");
                self.probe.handle_refused(number);
                self.note_proof();
            }
        }
    }

    /// The probe's time has come.
    pub(super) fn handle_probe_timeout(&mut self, now: Instant) {
        if self.probe.handle_timeout() {
            self.fail_as_deaf(now);
        } else {
            self.note_proof();
        }
    }

    /// Without a publishing session, and none in sight, the listening one has to do unproved.
    pub(super) fn note_missing_voice(&mut self) {
        let is_listening = matches!(
            self.connections[Role::Listening.index()].state,
            State::Ready { is_up: false, .. }
        );
        if is_listening && self.probe.is_listening() && self.failure(Role::Publishing).is_some() {
            self.probe.handle_impossible();
            self.note_proof();
        }
    }

    fn fail_as_deaf(&mut self, now: Instant) {
        let is_relayed =
            |connection: &Connection| connection.session().is_some_and(Session::is_relayed);
        let unfit = if self.connections.iter().any(is_relayed) {
            Unfit::Pooler
        } else {
            Unfit::Deaf
        };
        self.fail(Role::Listening, &Cause::Unfit(unfit), now);
    }
}

/// `read_only_sql_transaction`: also what a standby says to LISTEN and NOTIFY.
const READ_ONLY_TRANSACTION: &str = "25006";
