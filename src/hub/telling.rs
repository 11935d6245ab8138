//! What clients are told: one of them, the subscribers of a channel, or all.
//!
//! Each message comes behind everything that channels owe its client. Knows neither why something
//! is told nor how it leaves.

use super::{Hub, encode::Transport};
use crate::{channel::ChannelKey, delivery::lane::LANES, message::ServerMessage};

impl Hub {
    /// Tells one client something, behind everything its channels still owe it.
    pub(super) fn answer(&mut self, slot: u32, message: &ServerMessage<'_>) {
        if self.clients.is_open(slot) {
            let indexes = self.channels.links().indexes();
            self.delivery.deliver(slot, indexes);
            let transport = self.clients.transport(slot);
            self.delivery
                .push(slot, |out| transport.append(message, None, out));
        }
    }

    /// Tells everybody something.
    pub(super) fn broadcast(&mut self, message: &ServerMessage<'_>) {
        let streams = self.clients.stream_count();
        let sockets = self.clients.open_count() - streams;
        for (transport, count) in Transport::ALL.into_iter().zip([sockets, streams]) {
            if count > 0 {
                self.scratch.clear();
                transport.append(message, None, &mut self.scratch);
                self.delivery.broadcast(transport.lane(), &self.scratch);
            }
        }
    }

    /// Tells every subscriber of the channel something: nothing overtakes it, and it overtakes
    /// nothing.
    pub(super) fn fan_out(&mut self, key: ChannelKey, message: &ServerMessage<'_>) {
        let frames = Transport::ALL.map(|transport| {
            let mut frame = Vec::new();
            transport.append(message, None, &mut frame);
            frame
        });
        self.append_frames(key, &frames);
    }

    /// The frame of each lane, to the channel's subscribers there.
    pub(super) fn append_frames(&mut self, key: ChannelKey, frames: &[Vec<u8>; LANES]) {
        let audience = self.channels.audience(key);
        for (lane, frame) in frames.iter().enumerate() {
            self.delivery.append(key, lane, audience[lane], frame);
        }
    }
}
