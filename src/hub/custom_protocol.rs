//! Messages in a protocol of the program's own, on their way to it.
//!
//! Owns their order: messages before a client's close frame, or its violation, are answered first.
//! Refuses to know what they say.

use std::{collections::VecDeque, error::Error, fmt};

use crate::{id::ClientId, ws::close::CloseReason};

/// A message of a client, or to it, in whatever protocol it speaks with the program: of one of the
/// two kinds that there are (RFC 6455, 5.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawMessage {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

/// Why a message of the program did not go to a client. Nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The client is gone, or on its way out.
    Gone,
    /// The client has not said who it is, and a token is required.
    Unidentified,
    /// The client reads a stream at `/sse`, which has notifications only.
    NotWebSocket,
    /// The client does not read as fast: with this, more than
    /// [`Limits::client_queue_bytes_max`](crate::Limits::client_queue_bytes_max) would wait for it.
    Full {
        /// Bytes that wait for it already.
        waiting_bytes: usize,
    },
    /// Too much waits already, for all clients together.
    Crowded,
    /// The server has ended.
    Stopped,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the client is gone"),
            Self::Unidentified => f.write_str("the client has not said who it is"),
            Self::NotWebSocket => f.write_str("the client reads a stream of notifications"),
            Self::Full { waiting_bytes } => {
                write!(f, "{waiting_bytes} bytes wait for the client already")
            }
            Self::Crowded => f.write_str("too much waits already"),
            Self::Stopped => f.write_str("the server has ended"),
        }
    }
}

impl Error for SendError {}

impl RawMessage {
    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// What the program is to be told, in order. Empty between two calls of the shell's: it never holds
/// more than one read of one client.
#[derive(Debug, Default)]
pub(super) struct CustomProtocol(VecDeque<Arrival>);

/// One thing that came from a client.
#[derive(Debug)]
pub(super) enum Arrival {
    Message(ClientId, RawMessage),
    /// No more is read of the client, and it is sent this code.
    End(ClientId, CloseReason, u16),
}

impl CustomProtocol {
    /// Behind all that came before it.
    pub(super) fn push(&mut self, arrival: Arrival) {
        self.0.push_back(arrival);
    }

    /// What came first.
    pub(super) fn pop(&mut self) -> Option<Arrival> {
        self.0.pop_front()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
