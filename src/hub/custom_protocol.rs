//! Messages in a protocol of the program's own, on their way to it.
//!
//! Owns their order: messages before a client's close frame, or its violation, are answered first.
//! Refuses to know what they say.

use std::collections::VecDeque;

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
