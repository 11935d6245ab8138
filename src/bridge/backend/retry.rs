//! What follows when a session fails: another way, or another time.
//!
//! Knows how often and how long; the order of the servers is `route`'s.

use std::time::{Duration, Instant};

use super::{Asked, Backend, Event, Order, Role, Route, cause::Cause, lane::State};
use crate::pg::session::{Session, SessionError};

impl Backend {
    pub(super) fn fail_session(&mut self, role: Role, error: &SessionError, now: Instant) {
        let lane = &self.lanes[role.index()];
        let is_secure = matches!(
            lane.state,
            State::Starting {
                is_secure: true,
                ..
            }
        );
        let cause = Cause::Session {
            error,
            is_admitted: lane.session().is_some_and(Session::is_admitted),
            is_secure,
        };
        self.fail(role, &cause, now);
    }

    /// The session, whatever state it is in, is over: what it was asked is settled, the next
    /// attempt is planned: at once where another way is left, else after a while.
    pub(super) fn fail(&mut self, role: Role, cause: &Cause<'_>, now: Instant) {
        self.orders.push_back(Order::Disconnect(role));
        let timeout = self.connect_timeout(role);
        let random = self.random.bits();
        let lane = &mut self.lanes[role.index()];
        let config = &self.configs[role.index()];
        let address = config.servers[lane.route.server].to_string();
        lane.complaints.push(cause.complaint(&address));
        lane.is_misconfigured |= cause.is_configuration();
        let was_up = matches!(lane.state, State::Ready { is_up: true, .. });
        let next = lane.route.next(cause.reached(), config);
        if role == Role::Listening {
            self.events.push_back(Event::Unfit(cause.unfit()));
            self.probe.handle_lost();
        }
        if let Some(next) = next.filter(|_| !was_up) {
            lane.route = next;
            lane.state = State::Connecting {
                deadline: now + timeout,
            };
            self.orders.push_back(Order::Connect(role));
            return;
        }
        lane.route = Route::first(config, random);
        lane.failure = Some(cause.failure(address));
        let complaint = lane.complaints.join("; ");
        lane.complaints.clear();
        if matches!(lane.state, State::Ready { since, .. } if now - since >= PROVEN_AFTER) {
            lane.failures = 0;
        }
        let delay = self.delay(role);
        let lane = &mut self.lanes[role.index()];
        lane.is_misconfigured = false;
        lane.failures += 1;
        if lane.complaint.as_ref() != Some(&complaint) {
            tracing::warn!("{role} session: {complaint}; retrying");
            lane.complaint = Some(complaint);
        }
        let before = std::mem::replace(&mut lane.state, State::Waiting { until: now + delay });
        if let State::Ready { mut session, .. } = before {
            match role {
                Role::Listening => self.commands.clear(),
                Role::Publishing => {
                    let transactions = session.unanswered().filter_map(|(ticket, handed_over)| {
                        let publishes = matches!(Asked::from_ticket(ticket), Asked::Publish);
                        publishes.then_some(handed_over)
                    });
                    let events = &mut self.events;
                    self.transactions
                        .handle_lost(transactions, |number, published| {
                            events.push_back(Event::Published(number, published));
                        });
                }
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
        let lane = &self.lanes[role.index()];
        let whole = if lane.is_misconfigured {
            RETRY_CONFIGURATION
        } else if lane.failures == 0 && matches!(lane.state, State::Ready { .. }) {
            return Duration::ZERO;
        } else {
            RETRY_MIN
                .saturating_mul(1 << lane.failures.min(10))
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
