//! The words between the bridge and a program that feeds it: notifications come from the program,
//! and requests of clients go to it.

use crate::channel::{Channel, Payload};

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
