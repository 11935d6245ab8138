//! What clients come to ask of PostgreSQL, and what became of it.
//!
//! Stands between the hub and whoever is upstream, so that the backend need not know the hub.

use crate::{
    channel::{Channel, ChannelKey, Payload},
    pg::session::ServerError,
};

/// What is asked of PostgreSQL.
#[derive(Debug)]
pub enum Command {
    /// Hear the channel.
    Listen(ChannelKey, Channel),
    /// Hear it no more.
    Unlisten(ChannelKey, Channel),
    /// Notify it.
    Notify(Notify),
}

/// A publish on its way.
#[derive(Debug)]
pub struct Notify {
    /// Names the publish in its outcome.
    pub number: u32,
    /// Who asks: what one source asks is committed in the order asked, and sources take turns.
    pub source: u32,
    /// The channel.
    pub channel: Channel,
    /// What it carries.
    pub payload: Payload,
}

/// What became of a publish.
#[derive(Debug)]
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
