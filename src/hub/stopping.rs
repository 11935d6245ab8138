//! Reactions to the end of the bridge: slowly, by a drain, or soon, by a stop.
//!
//! How far the end has come is `shutdown`'s to know, and how one connection ends `closing`'s.

use std::time::Duration;

use super::{
    Action, Disconnect, Hub,
    clients::{Kind, Phase},
    deadlines::STEP,
    publishing::GivenUp,
    shutdown::{Shutdown, Step},
};
use crate::{
    backend::command::Published,
    config::BridgeConfig,
    message::{ErrorCode, ServerMessage},
    random::Random,
    ws::close::CloseReason,
};

impl Hub {
    /// Takes no more clients and is not ready any more, but serves those there are: within `span`,
    /// each of them is closed with 1001 at a random time. Then it stops. Plain HTTP is answered
    /// all the while. A span over [`BridgeConfig::DRAIN_MAX`] counts as that.
    pub fn drain(&mut self, span: Duration) {
        if self.shutdown.has_begun() {
            return;
        }
        let mut random = Random::new(self.seed);
        let open = self.clients.slots().filter(|&it| self.clients.is_open(it));
        self.shutdown = Shutdown::drain(
            open.map(|slot| self.clients.id(slot)),
            || random.fraction(),
            span.min(BridgeConfig::DRAIN_MAX),
            self.clock.now(),
        );
    }

    /// Takes no more clients, closes those there are with 1001; those that await a publish get
    /// two seconds for it. A head under way gets one, for an answer that says so.
    pub fn stop(&mut self) {
        if !self.shutdown.is_stopping() {
            self.shutdown = Shutdown::stop(self.clock.now());
            self.advance_shutdown();
        }
    }

    /// Whether the end has begun, slowly or soon.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.has_begun()
    }

    /// Whether [`Self::stop`] was called, or draining came to its end: no connection is taken any
    /// more but at the admin address.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_stopping()
    }

    /// Whether it is stopping and nothing is left to wait for.
    pub fn is_stopped(&self) -> bool {
        let (clients, publishes) = (self.clients.count(), self.publishing.count());
        self.shutdown.is_over(clients, publishes, self.clock.now())
    }

    pub(super) fn advance_shutdown(&mut self) {
        let now = self.clock.now();
        if self.shutdown.is_drained(now) {
            self.stop();
            return;
        }
        while let Some(client) = self.shutdown.poll_closing(now) {
            if self.is_current(client) && self.publishing.client_count(client.slot) > 0 {
                // It is told first, and looked at again soon.
                self.shutdown.put_off(client, now + STEP);
            } else if self.is_current(client) {
                self.close(client.slot, CloseReason::GoingAway);
            }
        }
        if let Some(step) = self.shutdown.poll_step(now) {
            self.stop_clients(step);
        }
    }

    /// Closes clients with 1001, and drops connections whose head is incomplete, as far as this
    /// step says.
    fn stop_clients(&mut self, Step { all, heads }: Step) {
        if all {
            self.give_up_publishes();
        }
        for slot in self.stop_from..self.clients.slots().end {
            if self.work.is_spent() {
                self.stop_from = slot;
                return;
            }
            let Some(phase) = self.clients.phase(slot) else {
                continue;
            };
            let is_handshake = matches!(phase, Phase::Handshake(_));
            if self.clients.kind(slot) == Kind::Admin {
                continue;
            }
            if let Phase::Http(exchange) = phase {
                let is_late = heads && exchange.unanswered_count() == 0;
                if is_late && exchange.is_inside_request() {
                    self.drop_client(slot, Disconnect::Drop);
                } else {
                    self.finish_exchange(slot);
                }
            } else if phase.is_open() && (all || self.publishing.client_count(slot) == 0) {
                self.close(slot, CloseReason::GoingAway);
            } else if heads && is_handshake {
                self.drop_client(slot, Disconnect::Drop);
            }
        }
        self.stop_from = 0;
    }

    /// No outcome is waited for any more: each publisher is told that it is unknown.
    fn give_up_publishes(&mut self) {
        for given_up in self.publishing.give_up() {
            let GivenUp {
                ticket,
                client,
                channel,
                reply_to,
            } = given_up;
            let Some(client) = client else {
                let told = Action::Published(ticket, Published::Unknown);
                self.actions.push_back(told);
                continue;
            };
            if self.is_current(client) {
                let channel = channel.as_str();
                let code = ErrorCode::UnknownOutcome;
                let text = "the bridge stops, and PostgreSQL did not answer in time";
                let failure = ServerMessage::error(code, text, Some(channel), reply_to.id());
                self.tell_outcome(client.slot, channel, &reply_to, Some(&failure));
            }
        }
    }
}
