//! What the hub wants of the shell.

use super::{custom_protocol::RawMessage, feed::Request, lifecycle::LifecycleEvent};
use crate::{
    access::question::{Question, QuestionId},
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
    /// The client only reads from now on: let its socket go where its machine acknowledges nothing for
    /// long.
    Watch(ClientId),
    /// Carry out what the backend orders.
    Backend(Order),
    /// Hand this to the program that feeds the bridge.
    Request(Request),
    /// Hand this to the program, under [`Hub::with_messages`](super::Hub::with_messages).
    Message(ClientId, RawMessage),
    /// Ask this; [`Hub::handle_ruling`](super::Hub::handle_ruling) takes the answer, whenever it
    /// comes.
    Ask(QuestionId, Question),
    /// Tell the program, which [wants to know](super::Settings::tells_lifecycle).
    Tell(LifecycleEvent),
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
