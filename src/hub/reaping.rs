//! What is left to do for connections that ended: their links are cut and their slots freed, at the
//! end of a turn, when nothing walks.
//!
//! One queue, so that links are cut before the slot is freed. Knows only the order.

use std::collections::VecDeque;

use super::unlisten_delay::Parting;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reap {
    /// The links of the client in this slot, which left like this, are to be cut.
    Links(u32, Parting),
    /// The slot is to be freed.
    Slot(u32),
}

/// Everything left to do.
#[derive(Debug, Default)]
pub(super) struct Reaping {
    queue: VecDeque<Reap>,
}

impl Reaping {
    /// Behind everything else.
    pub(super) fn push(&mut self, reap: Reap) {
        self.queue.push_back(reap);
    }

    /// What is next.
    pub(super) fn front(&self) -> Option<Reap> {
        self.queue.front().copied()
    }

    /// What was next is done.
    pub(super) fn pop(&mut self) {
        self.queue.pop_front();
    }

    /// Whether nothing is left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
