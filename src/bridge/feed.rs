//! The upstream of a server that runs alone: notifications come from the program around it, and
//! what clients ask goes to it.

use std::collections::VecDeque;

use crate::channel::{Channel, Payload};

/// What clients of a stand-alone server ask of the program around it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Something before this was lost: every subscriber is told of a gap.
    Overflow,
}

/// What waits to be handed to the program.
#[derive(Debug, Default)]
pub struct Feed {
    incoming: VecDeque<Incoming>,
}

impl Feed {
    pub(super) fn push(&mut self, incoming: Incoming) {
        self.incoming.push_back(incoming);
    }

    /// The next thing to hand over.
    pub fn poll_incoming(&mut self) -> Option<Incoming> {
        self.incoming.pop_front()
    }
}
