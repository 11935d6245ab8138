//! Reports of the threads beside the loop: lines of stdin, opened connections.
//!
//! Bounded, and each arrival wakes the loop.

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender, sync_channel},
};

use mio::Waker;

use crate::cli::connection::{ConnectError, Socket};

/// One thing that happened on another thread.
pub(super) enum Arrival {
    /// A connection, still blocking, or the error.
    Opened(Result<Box<Socket>, ConnectError>),
    /// A line of stdin.
    Line(String),
    /// The end of stdin.
    InputEnd,
}

/// The sending end.
#[derive(Clone)]
pub(super) struct Inbox {
    sender: SyncSender<Arrival>,
    waker: Arc<Waker>,
}

impl Inbox {
    /// Both ends; `waker` is that of the loop which holds the receiver.
    pub(super) fn new(waker: Waker) -> (Self, Receiver<Arrival>) {
        let (sender, receiver) = sync_channel(ARRIVALS_MAX);
        (
            Self {
                sender,
                waker: Arc::new(waker),
            },
            receiver,
        )
    }

    /// Waits while the inbox is full; `false` when the receiver is gone.
    pub(super) fn send(&self, arrival: Arrival) -> bool {
        self.sender.send(arrival).is_ok() && self.waker.wake().is_ok()
    }
}

const ARRIVALS_MAX: usize = 64;
