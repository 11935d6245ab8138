//! What is asked of PostgreSQL, and what became of it: the words between the backend and whoever
//! uses it.

use crate::{
    channel::{Channel, ChannelKey, Payload},
    pg::session::ServerError,
};

/// A request to the listening session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// LISTEN or UNLISTEN.
    pub verb: Verb,
    /// Names the channel in the answer.
    pub key: ChannelKey,
    /// The channel.
    pub channel: &'a Channel,
}

/// What a [`Command`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Hear the channel.
    Listen,
    /// Hear it no more.
    Unlisten,
}

/// A publish on its way.
#[derive(Debug)]
pub struct Notify {
    /// Names the publish in its outcome.
    pub number: u32,
    /// The asking side: publishes of one source are committed in the order asked, and sources take
    /// turns.
    pub source: u32,
    /// The channel.
    pub channel: Channel,
    /// The payload.
    pub payload: Payload,
}

/// What became of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Committed.
    Committed,
    /// PostgreSQL refused it.
    Refused(ServerError),
    /// It was handed to PostgreSQL, and the connection died before the answer.
    Unknown,
    /// It was not handed to PostgreSQL.
    NotSent,
    /// Too many waited already for the program around a stand-alone server.
    Crowded,
}
