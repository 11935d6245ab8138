//! What clients are told: one of them, the subscribers of a channel, or all.
//!
//! Each message comes behind everything that channels owe its client. Knows neither why something
//! is told nor how it leaves.

use super::{Hub, encode::append_message};
use crate::{channel::ChannelKey, message::ServerMessage};

impl Hub {
    /// Tells one client something, behind everything its channels still owe it.
    pub(super) fn answer(&mut self, slot: u32, message: &ServerMessage<'_>) {
        if self.clients.is_open(slot) {
            self.delivery.deliver(slot, self.channels.index());
            self.delivery.push(slot, |out| append_message(message, out));
        }
    }

    /// Tells everybody something.
    pub(super) fn broadcast(&mut self, message: &ServerMessage<'_>) {
        if !self.clients.is_empty() {
            self.scratch.clear();
            append_message(message, &mut self.scratch);
            self.delivery.broadcast(&self.scratch);
        }
    }

    /// Tells every subscriber of the channel something: nothing overtakes it, and it overtakes
    /// nothing.
    pub(super) fn fan_out(&mut self, key: ChannelKey, message: &ServerMessage<'_>) {
        self.scratch.clear();
        append_message(message, &mut self.scratch);
        let audience = self.channels.audience(key);
        self.delivery.append(key, audience, &self.scratch);
    }
}
