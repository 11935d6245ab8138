//! From the start of a session to its being up: whether the server will do, and whether the
//! listening session receives what the publishing one notifies.
//!
//! The proof is [`Probe`](super::probe::Probe)'s. Here the two sessions carry it out, and a
//! listening session that does not receive is failed.

use std::{io, time::Instant};

use super::{Backend, Event, FailureKind, Operation, Role, Unfit, probe::Proof};
use crate::pg::session::{ServerError, Session};

impl Backend {
    /// The session takes requests, if the server will do.
    pub(super) fn handle_started(&mut self, role: Role, now: Instant) {
        if let Err(kind) = self.connection_mut(role).handle_started(now) {
            self.fail(role, kind, now);
            return;
        }
        match role {
            Role::Listening => {
                let session = self.connections[role.index()].ready_session_mut();
                if let Some(session) = session {
                    // An entry left behind in the queue would make each LISTEN fail.
                    session.measure_queue(Operation::Heartbeat.ticket());
                    session.listen(self.probe.channel(), Operation::Probe(0).ticket());
                }
            }
            Role::Publishing => {
                self.bring_up(role);
                self.begin_probe(now);
            }
        }
    }

    /// The publishing session notifies the channel of the probe, if it is up.
    pub(super) fn begin_probe(&mut self, now: Instant) {
        if !self.is_up(Role::Publishing) {
            return;
        }
        let random = self.random.bits();
        let session = self.connections[Role::Publishing.index()].session_mut();
        if let (Some(session), Some((number, nonce))) = (session, self.probe.begin(random, now)) {
            session.notify(
                [(self.probe.channel(), &nonce)],
                Operation::Probe(number).ticket(),
            );
            self.commits.expect(now);
        }
    }

    /// The proof may have changed. The listening session counts as up once it has received a
    /// probe, or once nothing can prove that it would.
    pub(super) fn note_proof(&mut self) {
        let proof = self.probe.proof();
        if proof == Proof::Pending {
            return;
        }
        if !self.is_up(Role::Listening) {
            self.bring_up(Role::Listening);
        }
        let is_proved = proof == Proof::Received;
        self.events.push_back(Event::Proved(is_proved));
    }

    /// The listening session answered the LISTEN of the probe, or the publishing one its NOTIFY.
    pub(super) fn handle_probe_answer(
        &mut self,
        role: Role,
        number: u32,
        result: Result<(), ServerError>,
        now: Instant,
    ) {
        if role == Role::Publishing && self.commits.handle_answer() {
            self.note_stall();
        }
        match (role, result) {
            (Role::Listening, Ok(())) => {
                self.probe.handle_listening();
                self.begin_probe(now);
                self.note_publisher_missing();
            }
            (Role::Publishing, Ok(())) => self.probe.handle_committed(number, now),
            (_, Err(error)) if error.sqlstate == READ_ONLY_TRANSACTION => {
                self.fail(role, FailureKind::Unfit(Unfit::Standby), now);
            }
            (Role::Listening, Err(error)) => {
                let text = format!("cannot listen: {error}");
                let kind = FailureKind::Connection(io::ErrorKind::Other, text);
                self.fail(role, kind, now);
            }
            (Role::Publishing, Err(error)) => {
                tracing::warn!("whether notifications are heard could not be tested: {error}");
                self.probe.handle_refused(number);
                self.note_proof();
            }
        }
    }

    /// The deadline of the probe has passed.
    pub(super) fn handle_probe_timeout(&mut self, now: Instant) {
        if self.probe.handle_timeout() {
            self.fail_as_deaf(now);
        } else {
            self.note_proof();
        }
    }

    /// While no publishing session is to be had, the listening one is used unproved.
    pub(super) fn note_publisher_missing(&mut self) {
        let is_unproved = self.connection(Role::Listening).is_unproved();
        if is_unproved && self.probe.is_listening() && self.failure(Role::Publishing).is_some() {
            self.probe.handle_impossible();
            self.note_proof();
        }
    }

    fn bring_up(&mut self, role: Role) {
        if let Some(unit) = self.connection_mut(role).bring_up() {
            self.events.push_back(Event::Up(role, unit));
            if self.tls_given_up(role).is_some() {
                self.events.push_back(Event::TlsGivenUp(role));
            }
        }
    }

    fn fail_as_deaf(&mut self, now: Instant) {
        let is_relayed = |role| self.session(role).is_some_and(Session::is_relayed);
        let unfit = if Role::ALL.into_iter().any(is_relayed) {
            Unfit::Pooler
        } else {
            Unfit::Deaf
        };
        self.fail(Role::Listening, FailureKind::Unfit(unfit), now);
    }
}

/// `read_only_sql_transaction`: also the answer of a standby to LISTEN and NOTIFY.
const READ_ONLY_TRANSACTION: &str = "25006";
