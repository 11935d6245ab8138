//! From the start of a session to its being up: whether the server will do, and whether the
//! listening session receives what the publishing one notifies.
//!
//! The proof is [`Probe`](super::probe::Probe)'s. Here the two sessions carry it out, and a
//! listening session that does not receive is failed.

use std::{io, time::Instant};

use super::{
    Backend, Event, FailureKind, Operation, Role, Unfit,
    notifying::{INSUFFICIENT_PRIVILEGE, retry_by_command},
    probe::Proof,
};
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
                }
                // Before the probe: it is heard once the session is up.
                self.listen_to_control();
                let session = self.connections[role.index()].ready_session_mut();
                if let Some(session) = session {
                    session.listen(self.probe.channel(), Operation::Probe(0).ticket());
                }
            }
            Role::Publishing => {
                self.bring_up(role, now);
                self.begin_probe(now);
            }
            Role::Authorizing => {
                self.prepare_calls();
                self.bring_up(role, now);
                self.check_function();
            }
        }
        self.hurry_others(role, now);
    }

    /// The publishing session notifies the channel of the probe, if it is up.
    pub(super) fn begin_probe(&mut self, now: Instant) {
        if !self.is_up(Role::Publishing) {
            return;
        }
        let random = self.random.bits();
        let session = self.connections[Role::Publishing.index()].session_mut();
        if let (Some(session), Some((number, nonce))) = (session, self.probe.begin(random, now)) {
            self.is_probing_by_command = session.notifies_by_command();
            session.notify(
                [(self.probe.channel(), &nonce)],
                Operation::Probe(number).ticket(),
            );
            self.commits.expect(now);
        }
    }

    /// The proof may have changed. The listening session counts as up once it has received a
    /// probe, or once nothing can prove that it would.
    pub(super) fn note_proof(&mut self, now: Instant) {
        let proof = self.probe.proof();
        if proof == Proof::Pending {
            return;
        }
        if !self.is_up(Role::Listening) {
            self.bring_up(Role::Listening, now);
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
                self.note_publisher_missing(now);
            }
            (Role::Publishing, Ok(())) => self.probe.handle_committed(number, now),
            (Role::Authorizing, _) => debug_assert!(false, "it has no part in a probe"),
            (_, Err(error)) if error.sqlstate == READ_ONLY_TRANSACTION => {
                self.fail(role, FailureKind::Unfit(Unfit::Standby), now);
            }
            (Role::Listening, Err(error)) => {
                let text = format!("cannot listen: {error}");
                let kind = FailureKind::Connection(io::ErrorKind::Other, text);
                self.fail(role, kind, now);
            }
            (Role::Publishing, Err(error)) if self.is_probe_retried(&error) => {
                if self.probe.handle_retried(number) {
                    self.begin_probe(now);
                }
            }
            (Role::Publishing, Err(error)) => {
                if self.probe.handle_refused(number) {
                    self.look_at_queue(&error.sqlstate);
                    self.note_refusal(Some(error));
                    self.note_proof(now);
                }
            }
        }
    }

    /// The probe was refused. Whether it is to be sent again by the command, also where that was sent
    /// before a publish was refused.
    fn is_probe_retried(&mut self, error: &ServerError) -> bool {
        let session = self.session(Role::Publishing);
        let is_by_command = session.is_some_and(|it| it.notifies_by_command());
        let was_by_function = is_by_command && !self.is_probing_by_command;
        let publishing = &mut self.connections[Role::Publishing.index()];
        retry_by_command(publishing, &mut self.transactions, error)
            || error.sqlstate == INSUFFICIENT_PRIVILEGE && was_by_function
    }

    /// The deadline of the probe has passed.
    pub(super) fn handle_probe_timeout(&mut self, now: Instant) {
        if self.probe.handle_timeout() {
            self.fail_as_deaf(now);
        } else {
            self.note_proof(now);
        }
    }

    /// While no publishing session is to be had, the listening one is used unproved.
    pub(super) fn note_publisher_missing(&mut self, now: Instant) {
        let is_unproved = self.connection(Role::Listening).is_unproved();
        if is_unproved && self.probe.is_listening() && self.failure(Role::Publishing).is_some() {
            self.probe.handle_impossible();
            self.note_proof(now);
        }
    }

    /// PostgreSQL refused a publish. If no probe would get through either, that is to be known now
    /// and not after a heartbeat.
    pub(super) fn handle_publish_refused(&mut self, sqlstate: &str, now: Instant) {
        self.look_at_queue(sqlstate);
        let is_for_all = [INSUFFICIENT_PRIVILEGE, QUEUE_FULL].contains(&sqlstate);
        if is_for_all && self.probe.proof() == Proof::Received {
            self.begin_probe(now);
        }
    }

    /// A queue that is full is measured at once: that makes the server forget what every listener
    /// has read.
    fn look_at_queue(&mut self, sqlstate: &str) {
        let publishing = &mut self.connections[Role::Publishing.index()];
        let session = publishing.ready_session_mut();
        if let Some(session) =
            session.filter(|it| sqlstate == QUEUE_FULL && !it.is_measuring_queue())
        {
            session.measure_queue(Operation::Heartbeat.ticket());
        }
    }

    /// PostgreSQL refuses to notify, or no longer does.
    pub(super) fn note_refusal(&mut self, refusal: Option<ServerError>) {
        if self.refusal == refusal {
            return;
        }
        match &refusal {
            Some(error) => tracing::warn!(
                target: "alle::postgres",
                "PostgreSQL refuses to notify: {error}"
            ),
            None => tracing::info!(target: "alle::postgres", "PostgreSQL notifies again"),
        }
        self.refusal.clone_from(&refusal);
        self.events.push_back(Event::Refused(refusal));
    }

    fn bring_up(&mut self, role: Role, now: Instant) {
        if let Some(unit) = self.connection_mut(role).bring_up() {
            self.end_opening(role);
            self.note_serving(role);
            self.events.push_back(Event::Up(role, unit));
            if role == Role::Listening {
                self.await_publisher(now);
            }
            if self.tls_given_up(role).is_some() {
                self.events.push_back(Event::TlsGivenUp(role));
            }
        }
    }

    fn fail_as_deaf(&mut self, now: Instant) {
        let is_relayed = |role| self.session(role).is_some_and(Session::is_relayed);
        let unfit = if Role::PAIR.into_iter().any(is_relayed) {
            Unfit::Pooler
        } else {
            Unfit::Deaf
        };
        self.fail(Role::Listening, FailureKind::Unfit(unfit), now);
    }
}

/// `program_limit_exceeded`: of a NOTIFY, the queue is full.
const QUEUE_FULL: &str = "54000";
/// `read_only_sql_transaction`: also the answer of a standby to LISTEN and NOTIFY.
const READ_ONLY_TRANSACTION: &str = "25006";
