//! Reactions to the program around a bridge: its answers about clients, its publishes, its questions.
//!
//! Whoever else can answer about a client, a function of the database for one, answers by
//! [`Hub::handle_verdict`] as well.

use super::{
    Action, Hub, Upstream,
    feed::Fed,
    publishing::{Publishing, ReplyTo},
};
use crate::{
    access::visitor::{Verdict, Visitor},
    backend::command::{Notify, Published},
    channel::{Channel, Payload},
    http::request,
    id::ClientId,
};

impl Hub {
    /// The client's upgrade waits for an answer, and its input with it: nothing more is read of it.
    /// Its handshake has the time that every handshake has.
    pub(super) fn ask(&mut self, slot: u32, input: &[u8]) {
        let (target, fields) = request::target_and_fields(input);
        let visitor = Visitor::new(self.endpoints.peer(slot), target, fields);
        self.clients.keep_head(slot, input.to_vec());
        self.clients.hold(slot, true);
        self.asking.begin(slot);
        let ask = Action::Ask(self.clients.id(slot), visitor);
        self.actions.push_back(ask);
    }

    /// The answer about a client; one that comes too late is nobody's.
    pub fn handle_verdict(&mut self, client: ClientId, verdict: Verdict) {
        let slot = client.slot;
        if !self.is_current(client) || !self.asking.answer(slot, verdict) {
            return;
        }
        if let Some(mut head) = self.clients.take_head(slot) {
            self.handle_head(slot, &mut head);
        }
        self.asking.forget(slot);
        self.resume(slot);
        self.forward_commands();
    }

    /// The program publishes. [`Action::Published`] tells the outcome of the ticket.
    ///
    /// # Errors
    ///
    /// Nothing was done: PostgreSQL is not connected, or too much waits for it.
    pub fn publish_own(&mut self, channel: Channel, payload: Payload) -> Result<u32, Published> {
        let cost = Publishing::cost(&channel, &payload);
        if !self.postgres.is_publishing_up {
            return Err(Published::NotSent);
        }
        if self.waiting_bytes() + cost > self.limits.waiting_bytes_max {
            return Err(Published::Crowded);
        }
        let Upstream::Postgres(backend) = &mut self.upstream else {
            return Err(Published::NotSent);
        };
        let now = self.clock.micros();
        let ticket =
            self.publishing
                .begin(None, channel.clone(), &payload, ReplyTo::Message(None), now);
        self.metrics.publishes += 1;
        backend.publish(Notify {
            number: ticket,
            source: PROGRAM,
            channel,
            payload,
        });
        Ok(ticket)
    }

    /// The program delivers to the subscribers here. False in a group: its bridges tell positions by
    /// counting the same notifications, which PostgreSQL alone gives to all of them.
    pub fn deliver_own(&mut self, channel: Channel, payload: String) -> bool {
        if self.group.is_some() {
            return false;
        }
        self.handle_fed(&Fed::Notification(channel, payload));
        true
    }

    /// The page at `/metrics`.
    pub fn metrics_text(&self) -> String {
        self.metrics.text(&self.gauges())
    }
}

/// The source of the program's publishes: no client has this slot.
const PROGRAM: u32 = u32::MAX;
