//! What is left to do for connections that ended: their links are cut and their slots freed, at the
//! end of a turn, when nothing walks.
//!
//! One queue, so that links are cut before the slot is freed. Does not know why anybody ended.

use std::{collections::VecDeque, time::Instant};

use super::{
    channels::Channels,
    clients::Clients,
    unlisten_delay::Parting,
    work::{LINKS_A_UNIT, Work},
};

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

    /// Cuts links of clients that ended and frees their slots, as far as the turn's work goes.
    pub(super) fn advance(
        &mut self,
        channels: &mut Channels,
        clients: &mut Clients,
        work: &mut Work,
        now: Instant,
    ) {
        while let Some(&next) = self.queue.front().filter(|_| !work.is_spent()) {
            match next {
                Reap::Links(slot, parting) => {
                    let links = channels.disconnect(slot, parting, LINKS_AT_ONCE, now);
                    work.spend(1 + links / LINKS_A_UNIT);
                    if links == LINKS_AT_ONCE {
                        continue;
                    }
                }
                Reap::Slot(slot) => clients.free(slot),
            }
            self.queue.pop_front();
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Links of a client that ended, cut before the turn's budget is looked at again.
const LINKS_AT_ONCE: usize = 512;
