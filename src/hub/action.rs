//! What the hub wants of the shell.

use super::{custom_protocol::RawMessage, feed::Request};
use crate::{
    access::visitor::Visitor,
    backend::{Order, command::Published},
    id::ClientId,
};

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Let the socket of a client go.
    Disconnect(ClientId, Disconnect),
    /// Read the client again: its [pause](super::Hub::is_paused) is over.
    Resume(ClientId),
    /// Carry out what the backend orders.
    Backend(Order),
    /// Hand this to the program that feeds the bridge.
    Request(Request),
    /// Hand this to the program, under [`Hub::with_messages`](super::Hub::with_messages).
    Message(ClientId, RawMessage),
    /// Ask about this client; [`Hub::handle_verdict`](super::Hub::handle_verdict) takes the answer,
    /// whenever it comes.
    Ask(ClientId, Visitor),
    /// A [publish of the program](super::Hub::publish_own) ended so.
    Published(u32, Published),
}

/// How a socket is to be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// Send nothing more, keep reading.
    Shutdown,
    /// Forget it.
    Drop,
    /// Forget it so that the peer sees that not all was sent.
    Reset,
}
