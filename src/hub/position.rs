//! Positions: of a channel in its own notifications, and in the order of those of all channels.
//!
//! Does not know who asks.

use super::{encode::Transport, epoch::Epoch};
use crate::{channel::ChannelKey, delivery::lane::LANES, sse::event_id::EventId};

/// Where a channel stands: the name of its unbroken stretch, and how many notifications it had.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
    /// The place in the order of all channels at which the epoch began.
    pub(super) began: u64,
    /// The place to which the channel has come.
    pub(super) last: u64,
}

impl Position {
    /// How a notification of the epoch is framed, given its number and its text.
    pub(super) fn framing(
        &self,
        transport: Transport,
    ) -> impl Fn(u64, &[u8], &mut Vec<u8>) + use<> {
        let epoch = self.epoch.to_string();
        move |seq, text, out| {
            let id = EventId {
                epoch: &epoch,
                seq,
                place: None,
            };
            transport.append_notification(text, &id, out);
        }
    }
}

/// A notification that counts.
#[derive(Debug)]
pub(super) struct Notified {
    pub(super) key: ChannelKey,
    pub(super) seq: u64,
    /// In the order of all channels.
    pub(super) place: u64,
    /// By lane.
    pub(super) audience: [usize; LANES],
}
