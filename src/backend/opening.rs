//! A session that is being opened, and of which nobody need know that it is not up.
//!
//! While a process begins, and while a session is opened of which the other one works, nothing has
//! failed yet: publishes wait, and no client is told anything. A failure ends that, and so does
//! time. Here are the beginnings and the ends; what clients are told is the hub's.

use std::{
    iter,
    time::{Duration, Instant},
};

use super::{Backend, Event, Order, Role};

/// Of one session.
#[derive(Debug, Default)]
pub(super) struct Opening(Option<Instant>);

impl Opening {
    /// Of the sessions that there always are; one for calls is waited for by nobody but its callers.
    pub(super) fn begin_all(now: Instant) -> [Self; 3] {
        [Self::begin(now), Self::begin(now), Self::default()]
    }

    /// From now on the session has [`OPENING_TIMEOUT`].
    pub(super) fn begin(now: Instant) -> Self {
        Self(Some(now + OPENING_TIMEOUT))
    }

    /// Returns whether it was under way.
    fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

impl Backend {
    /// Whether a publish is taken: the session is up, or is being opened and has not failed yet.
    pub fn can_publish(&self) -> bool {
        self.is_up(Role::Publishing) || self.opening[Role::Publishing.index()].0.is_some()
    }

    /// When a session that is being opened counts as down.
    pub(super) fn opening_deadline(&self) -> Option<Instant> {
        self.opening.iter().filter_map(|opening| opening.0).min()
    }

    pub(super) fn handle_opening_timeout(&mut self, now: Instant) {
        for role in Role::ALL {
            let deadline = self.opening[role.index()].0;
            if deadline.is_some_and(|it| it <= now) {
                self.give_up_opening(role);
            }
        }
    }

    /// The session is up.
    pub(super) fn end_opening(&mut self, role: Role) {
        self.opening[role.index()].end();
    }

    /// The session counts as down from now on.
    pub(super) fn give_up_opening(&mut self, role: Role) {
        if !self.opening[role.index()].end() {
            return;
        }
        if role == Role::Publishing {
            let events = &mut self.events;
            let report = |number, published| {
                events.push_back(Event::Published(number, published));
            };
            self.transactions.handle_lost(iter::empty(), report);
        }
        self.events.push_back(Event::Absent(role));
    }

    /// The listening session works: the publishing one, of the same server, is waited for where an
    /// attempt at it is under way.
    pub(super) fn await_publisher(&mut self, now: Instant) {
        let is_listening = self.is_up(Role::Listening);
        let publishing = self.connection(Role::Publishing);
        if is_listening && publishing.is_attempting(now) {
            let opening = &mut self.opening[Role::Publishing.index()];
            *opening = Opening::begin(now);
        }
    }

    /// The session got through, so the others try at once where they go to the same server.
    pub(super) fn hurry_others(&mut self, role: Role, now: Instant) {
        let server = self.connection(role).server().clone();
        for other in Role::ALL {
            if other == role || !self.is_wanted(other) {
                continue;
            }
            if self.connection_mut(other).hurry(&server, now) {
                let orders = [Order::Disconnect(other), Order::Connect(other)];
                self.orders.extend(orders);
            }
        }
    }
}

/// Longer than a sound server takes, and shorter than a client is content to wait.
const OPENING_TIMEOUT: Duration = Duration::from_secs(5);
