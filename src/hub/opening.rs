//! Event streams that are opening: none of their events is sent before PostgreSQL has answered for all
//! of their channels.
//!
//! A reader's position is one in the order of all channels. So it must not move on before the reader
//! knows of each of its channels whether something of that was missed. Owns what each stream still waits
//! for. Knows neither what is sent then nor where a position lies.

use std::collections::BTreeMap;

use crate::channel::ChannelKey;

/// From where a reader of events goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resumption {
    /// From now on: it was not here before.
    Now,
    /// From behind this place in the order of all channels.
    Place(u64),
    /// From a position that nobody knows here, as it was written.
    Unknown(String),
}

/// What an opening stream waits for.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) resumption: Resumption,
    /// Its channels, in the order asked, without those that were refused.
    pub(super) channels: Vec<ChannelKey>,
    /// Channels without PostgreSQL's answer.
    pub(super) unanswered: usize,
    /// A channel was refused: the stream ends once it has opened, so that its reader tries again.
    pub(super) is_refused: bool,
    /// The reader was told that PostgreSQL is away.
    pub(super) is_told_down: bool,
}

/// All of them, by slot of the client.
#[derive(Debug, Default)]
pub(super) struct Openings {
    by_slot: BTreeMap<u32, Opening>,
}

impl Openings {
    /// The client's stream opens.
    pub(super) fn insert(&mut self, slot: u32, opening: Opening) {
        let before = self.by_slot.insert(slot, opening);
        debug_assert!(before.is_none(), "a stream opens once");
    }

    /// What the client's stream waits for, if it is not open yet.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Opening> {
        self.by_slot.get_mut(&slot)
    }

    /// The client's stream is open, or gone.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Opening> {
        self.by_slot.remove(&slot)
    }

    /// Only clients that `is_stream` knows as event streams are opening.
    pub(super) fn check_invariants(&self, is_stream: impl Fn(u32) -> bool) {
        assert!(self.by_slot.keys().all(|&slot| is_stream(slot)));
    }
}
