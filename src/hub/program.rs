//! Reactions to the program around a bridge: its publishes, its questions.

use super::{
    Hub, Upstream,
    feed::Fed,
    publishing::{Publishing, ReplyTo},
};
use crate::{
    backend::command::{Notify, Published},
    channel::{Channel, Payload},
};

impl Hub {
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
