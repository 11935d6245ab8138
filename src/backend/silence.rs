//! A session that does not answer is waited for, or given up.
//!
//! While the listening session answers, the publishing one waits for a lock of another session, and
//! a new session would wait as well. A session that is given up while its connection stands is
//! asked to end, and a role has one such session at most. Knows no socket: see [`Order`].

use std::time::Instant;

use super::{Backend, Event, FailureKind, Operation, Order, Role, connection::Due};
use crate::pg::session::{Departure, Session};

impl Backend {
    /// The server is not being read for now: its silence says nothing of it.
    pub fn handle_unread(&mut self, now: Instant) {
        for connection in &mut self.connections {
            if let Some(heartbeat) = connection.heartbeat_mut() {
                heartbeat.restart(now);
            }
        }
        self.probe.handle_unread(now);
        self.commits.restart(now);
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub fn poll_timeout(&self) -> Instant {
        let [listening, publishing, authorizing] = &self.connections;
        let sessions = listening.deadline().min(publishing.deadline());
        let is_wanted = self.is_wanted(Role::Authorizing);
        let leaving = self.leaving.iter().filter_map(|it| it.deadline());
        let others = [
            self.probe.deadline(),
            self.commits.deadline(),
            self.opening_deadline(),
            is_wanted.then(|| authorizing.deadline()),
        ];
        leaving
            .chain(others.into_iter().flatten())
            .fold(sessions, Instant::min)
    }

    /// Acts on the deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.probe.deadline().is_some_and(|it| it <= now) {
            self.handle_probe_timeout(now);
        }
        if self.commits.handle_timeout(now) {
            self.note_stall();
            self.find_lock_holder();
        }
        self.handle_opening_timeout(now);
        for role in Role::ALL {
            if self.leaving[role.index()].handle_timeout(now) {
                self.orders.push_back(Order::Cancel(role));
            }
            if !self.is_wanted(role) {
                continue;
            }
            match self.connection_mut(role).handle_timeout(now) {
                Some(Due::Resolve) => self.orders.push_back(Order::Resolve(role)),
                Some(Due::Race) => self.advance_race(role, now),
                Some(Due::Heartbeat) => self.send_heartbeat(role, now),
                Some(Due::Failure(kind)) => self.handle_silence(role, kind, now),
                None => {}
            }
        }
    }

    /// The bytes of [`Order::Leave`] and [`Order::Cancel`], which ask the session that was given up
    /// to end; `None` once it has ended, or is of no interest any more: its socket is to be closed.
    pub fn departure(&self, role: Role) -> Option<&Departure> {
        self.leaving[role.index()].departure()
    }

    /// The connection of the session that was given up has ended.
    pub fn handle_left(&mut self, role: Role) {
        self.leaving[role.index()].handle_left();
    }

    /// The sessions in their place work, so nothing holds up the server: it ends a session of which
    /// the connection is closed, and a relay in between might never tell us of its end.
    pub(super) fn forget_leavers(&mut self) {
        for leaving in &mut self.leaving {
            leaving.handle_left();
        }
    }

    /// The state of publishing changed.
    pub(super) fn note_stall(&mut self) {
        let stall = self.commits.stall();
        match &stall {
            Some(stall) => tracing::warn!(target: "alle::postgres", "{stall}"),
            None => tracing::info!(target: "alle::postgres", "publishes commit again"),
        }
        self.events.push_back(Event::Stalled(stall));
    }

    fn send_heartbeat(&mut self, role: Role, now: Instant) {
        let ticket = Operation::Heartbeat.ticket();
        let Some(session) = self.connection_mut(role).ready_session_mut() else {
            return;
        };
        match role {
            Role::Publishing => session.measure_queue(ticket),
            Role::Authorizing => {
                session.heartbeat(ticket);
                self.check_function();
            }
            Role::Listening => {
                session.heartbeat(ticket);
                self.find_lock_holder();
                self.begin_probe(now);
            }
        }
    }

    /// Asks the listening session, which waits for no lock, while publishes stall.
    fn find_lock_holder(&mut self) {
        let is_stalled = self.commits.stall().is_some();
        let session = self.connection_mut(Role::Listening).ready_session_mut();
        if let Some(session) = session.filter(|_| is_stalled) {
            session.find_lock_holder(Operation::LockHolder.ticket());
        }
    }

    fn handle_silence(&mut self, role: Role, kind: FailureKind, now: Instant) {
        let is_same_way = self.are_both_ready() && self.go_the_same_way();
        match role {
            Role::Publishing if is_same_way => {
                let heartbeat = self.connection_mut(role).heartbeat_mut();
                match heartbeat.filter(|it| !it.is_exhausted(now)) {
                    Some(heartbeat) => heartbeat.postpone(now),
                    None => self.give_up(role, kind, now),
                }
            }
            Role::Listening if is_same_way => {
                self.give_up(role, kind.clone(), now);
                if !self.are_both_ready() {
                    self.give_up(Role::Publishing, kind, now);
                }
            }
            Role::Publishing | Role::Listening | Role::Authorizing => {
                self.give_up(role, kind, now);
            }
        }
    }

    /// Fails a session that is silent on a connection that stands, once the one given up before has
    /// ended.
    fn give_up(&mut self, role: Role, kind: FailureKind, now: Instant) {
        let leaving = &mut self.leaving[role.index()];
        match self.connections[role.index()]
            .session()
            .and_then(Session::departure)
        {
            None => self.fail(role, kind, now),
            Some(_) if leaving.departure().is_some() => self.connection_mut(role).wait_on(now),
            Some(departure) => {
                leaving.begin(departure, now);
                self.orders
                    .extend([Order::Leave(role), Order::Cancel(role)]);
                self.end(role, kind, now);
            }
        }
    }

    fn are_both_ready(&mut self) -> bool {
        let mut connections = self.connections[..Role::PAIR.len()].iter_mut();
        connections.all(|it| it.heartbeat_mut().is_some())
    }

    /// Whether one session's answers say something of the other's silence.
    fn go_the_same_way(&self) -> bool {
        let [listening, publishing, _] = &self.connections;
        let is_relayed = |role| self.session(role).is_some_and(Session::is_relayed);
        listening.server().is_at(publishing.server())
            && listening.config().database == publishing.config().database
            && !Role::PAIR.into_iter().any(is_relayed)
    }
}
