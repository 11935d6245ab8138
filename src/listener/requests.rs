//! The requests of callers to the listener's thread.

use std::sync::mpsc;

use super::ListenerError;
use crate::channel::{Channel, Payload};

/// The channel for the one answer to a caller; it has room for it.
pub(super) type Reply = mpsc::SyncSender<Result<(), ListenerError>>;

/// A call under way, or the end.
#[derive(Debug)]
pub(super) enum Request {
    Listen(Channel, Reply),
    Unlisten(Channel, Reply),
    Notify(Channel, Payload, Reply),
    End,
}

/// Answers a caller.
pub(super) fn answer(reply: &Reply, result: Result<(), ListenerError>) {
    // A caller waits until it is answered; if it is gone all the same, the answer is not missed.
    let _sent = reply.try_send(result);
}
