//! The words between the bridge and a program that feeds it, and the reactions to that: notifications
//! come from the program, and requests of clients go to it.
//!
//! A program that lost something of every channel is told of by a gap in each, a slice in each turn.
//! Whatever else is said of a channel waits for its gap no longer than for itself: a notification, a
//! subscribe and an unsubscribe have it told before them.

use super::{
    Action, Hub,
    work::{GAP_UNITS, Work},
};
use crate::{
    channel::{Channel, ChannelKey, Payload},
    message::GapReason,
};

/// What clients of a stand-alone server ask of the program around it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// The channel has its first subscriber.
    Subscribe(Channel),
    /// The channel lost its last subscriber.
    Unsubscribe(Channel),
    /// A client publishes.
    Notify(Channel, Payload),
}

/// What the program around a stand-alone server tells its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed {
    /// A notification; it may be longer than PostgreSQL's.
    Notification(Channel, String),
    /// Something of this channel before this was lost: its subscribers are told of a gap.
    Gap(Channel),
    /// Something before this was lost: every subscriber is told of a gap.
    Overflow,
}

/// What is to be handed to the program. Where it answers a publish, `ticket` names that one to
/// [`Hub::handle_taken`](super::Hub::handle_taken).
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// What a client asks.
    pub incoming: Incoming,
    /// For [`Incoming::Notify`].
    pub ticket: Option<u32>,
}

/// What the program did with a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It has it.
    Yes,
    /// It is behind: too many wait for it.
    Full,
    /// It takes none.
    Never,
}

impl Hub {
    /// A notification of the program that feeds us.
    pub fn handle_fed(&mut self, fed: &Fed) {
        match fed {
            Fed::Notification(channel, payload) => {
                self.tell_gap_before(channel.as_str());
                self.handle_notification(channel.as_str().as_bytes(), payload.as_bytes());
            }
            Fed::Gap(channel) => {
                if let Some(key) = self.channels.find(channel.as_str()) {
                    self.handle_missed(key, GapReason::PostgresReconnect);
                }
            }
            Fed::Overflow => {
                self.channels.handle_all_missed();
                // Those who leave have their share of the turn, however often this comes.
                self.tell_gaps(Work::is_input_spent);
            }
        }
        self.forward_commands();
    }

    /// The program delivers to the subscribers here. False in a group: its bridges tell positions by
    /// counting the same notifications, which PostgreSQL alone gives to all of them.
    pub fn deliver_own(&mut self, channel: Channel, payload: String) -> bool {
        let is_alone = !self.membership.is_in_group();
        if is_alone {
            self.handle_fed(&Fed::Notification(channel, payload));
        }
        is_alone
    }

    /// Tells of gaps that are still to come, as far as the turn's work and the memory for what is unsent
    /// go.
    pub(super) fn tell_gaps(&mut self, is_spent: fn(&Work) -> bool) {
        while self.channels.has_gaps() && !is_spent(&self.work) && !self.is_backend_paused() {
            self.work.spend(GAP_UNITS);
            if let Some(key) = self.channels.poll_gap() {
                self.handle_missed(key, GapReason::Overflow);
            }
        }
    }

    /// Something else of the channel is next: its gap, if one is to come, goes before that.
    pub(super) fn tell_gap_before(&mut self, channel: &str) {
        if let Some(key) = self.channels.find_gap(channel) {
            self.work.spend(GAP_UNITS);
            self.handle_missed(key, GapReason::Overflow);
        }
    }

    fn handle_missed(&mut self, key: ChannelKey, reason: GapReason) {
        if self.channels.handle_missed(key) {
            self.tell_gap(key, reason);
        }
    }

    pub(super) fn request(&mut self, incoming: Incoming) {
        let request = Request {
            incoming,
            ticket: None,
        };
        self.actions.push_back(Action::Request(request));
    }
}
