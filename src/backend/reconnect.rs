//! What follows when a session fails: another way, or another time.
//!
//! Knows how often and how long; the order of the servers is `route`'s.

use std::time::{Duration, Instant};

use super::{Backend, Event, Order, Purpose, Role, Route, connection::State, failure::Cause};
use crate::pg::session::{Session, SessionError};

impl Backend {
    pub(super) fn fail_session(&mut self, role: Role, error: &SessionError, now: Instant) {
        let connection = &self.connections[role.index()];
        let is_secure = matches!(
            connection.state,
            State::Starting {
                is_secure: true,
                ..
            }
        );
        let cause = Cause::Session {
            error,
            is_admitted: connection.session().is_some_and(Session::is_admitted),
            is_secure,
            password_file: error
                .is_password_refused()
                .then(|| self.server(role).password_file.clone())
                .flatten(),
        };
        self.fail(role, &cause, now);
    }

    /// The session, whatever state it is in, is over: what it was asked is settled, the next
    /// attempt is planned: at once where another way is left, else after a while.
    pub(super) fn fail(&mut self, role: Role, cause: &Cause<'_>, now: Instant) {
        self.orders.push_back(Order::Disconnect(role));
        let timeout = self.connect_timeout(role);
        let random = self.random.bits();
        let connection = &mut self.connections[role.index()];
        connection.derivation = None;
        let config = &self.configs[role.index()];
        let address = config.servers[connection.route.server].to_string();
        connection.complaints.push(cause.complaint(&address));
        connection.is_misconfigured |= cause.is_configuration();
        let was_up = matches!(connection.state, State::Ready { is_up: true, .. });
        let next = connection.route.next(cause.reached(), config);
        if role == Role::Listening {
            self.events.push_back(Event::Unfit(cause.unfit()));
            self.probe.handle_lost();
        }
        if let Some(next) = next.filter(|_| !was_up) {
            connection.route = next;
            connection.state = State::Locating {
                deadline: now + timeout,
            };
            self.orders.push_back(Order::Connect(role));
            return;
        }
        connection.route = Route::first(config, random);
        connection.failure = Some(cause.failure(address));
        let complaint = connection.complaints.join("; ");
        connection.complaints.clear();
        if matches!(connection.state, State::Ready { since, .. } if now - since >= PROVEN_AFTER) {
            connection.failures = 0;
        }
        let delay = self.delay(role);
        let connection = &mut self.connections[role.index()];
        connection.is_misconfigured = false;
        connection.failures += 1;
        if connection.complaint.as_ref() != Some(&complaint) {
            tracing::warn!("{role} session: {complaint}; retrying");
            connection.complaint = Some(complaint);
        }
        let before =
            std::mem::replace(&mut connection.state, State::Waiting { until: now + delay });
        if let State::Ready { mut session, .. } = before {
            if role == Role::Publishing {
                let transactions = session.unanswered().filter_map(|(ticket, handed_over)| {
                    let publishes = matches!(Purpose::from_ticket(ticket), Purpose::Publish);
                    publishes.then_some(handed_over)
                });
                let events = &mut self.events;
                self.transactions
                    .handle_lost(transactions, |number, published| {
                        events.push_back(Event::Published(number, published));
                    });
            }
            if was_up {
                self.events.push_back(Event::Down(role));
            }
        }
        if role == Role::Publishing {
            self.probe.give_up();
            self.note_missing_voice();
        }
    }

    /// At once after a session that worked; then 100 ms doubling to 2 s; 30 s where only a person
    /// can help. Between half and nine tenths of it: many bridges do not come at the same time, and
    /// there is time left to listen again within two seconds of the server's return.
    fn delay(&mut self, role: Role) -> Duration {
        let connection = &self.connections[role.index()];
        let whole = if connection.is_misconfigured {
            RETRY_CONFIGURATION
        } else if connection.failures == 0 && matches!(connection.state, State::Ready { .. }) {
            return Duration::ZERO;
        } else {
            RETRY_MIN
                .saturating_mul(1 << connection.failures.min(10))
                .min(RETRY_MAX)
        };
        whole.mul_f64(0.5 + 0.4 * self.random.fraction())
    }
}

/// A session that lived for this long was a good one: the next is tried at once. Much less, and
/// whatever ends each session as soon as it is there would be asked again without a pause.
const PROVEN_AFTER: Duration = Duration::from_secs(1);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A wrong password or an unknown database does not mend itself.
const RETRY_CONFIGURATION: Duration = Duration::from_secs(30);
