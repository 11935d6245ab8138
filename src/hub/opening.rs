//! Event streams that are opening: none of their events is sent before PostgreSQL has answered for all
//! of their channels.
//!
//! A reader's position is one in the order of all channels. So it must not move on before the reader
//! knows of each of its channels whether something of that was missed. In a group it waits, too, for what
//! the position is to this bridge, as a subscribe with `since` does. Owns what each stream still waits for.
//! Knows neither what is sent then nor where a position lies.

use std::collections::{BTreeMap, BTreeSet};

use super::group::Patience;
use crate::channel::ChannelKey;

/// From where a reader of events goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resumption {
    /// From now on: it was not here before.
    Now,
    /// From behind this place in the order of all channels; its id is one for other bridges, too.
    Place(u64, String),
    /// From a position that nobody knows here, as it was written.
    Unknown(String),
    /// From a position, as it was written, of which nobody has looked yet what it is.
    Unjudged(String),
}

/// What an opening stream waits for.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) resumption: Resumption,
    /// Its channels, in the order asked, without those that were refused.
    pub(super) channels: Vec<ChannelKey>,
    /// Channels without PostgreSQL's answer.
    unanswered: usize,
    /// Channels of which the group is to say what the position is there.
    unreleased: Vec<ChannelKey>,
    /// The number of that wait.
    wait: u64,
    /// What the position may wait for.
    pub(super) patience: Patience,
    /// A channel was refused: the stream ends once it has opened, so that its reader tries again.
    pub(super) is_refused: bool,
    /// The reader was told that PostgreSQL is away.
    pub(super) is_told_down: bool,
}

/// All of them, by slot of the client.
#[derive(Debug, Default)]
pub(super) struct Openings {
    by_slot: BTreeMap<u32, Opening>,
    /// A channel, when a stream began to wait for the group there, and the stream.
    unreleased: BTreeSet<(ChannelKey, u64, u32)>,
    /// Streams that began to wait for the group.
    waits: u64,
}

impl Openings {
    /// The client's stream opens.
    pub(super) fn begin(&mut self, slot: u32, resumption: Resumption, is_told_down: bool) {
        let opening = Opening {
            resumption,
            channels: Vec::new(),
            unanswered: 0,
            unreleased: Vec::new(),
            wait: 0,
            patience: Patience::Answers,
            is_refused: false,
            is_told_down,
        };
        let before = self.by_slot.insert(slot, opening);
        debug_assert!(before.is_none(), "a stream opens once");
    }

    /// The client's stream has the channel, or waits for PostgreSQL's answer.
    pub(super) fn note_wanted(&mut self, slot: u32, key: ChannelKey, is_listened: bool) {
        if let Some(opening) = self.by_slot.get_mut(&slot) {
            opening.channels.push(key);
            opening.unanswered += usize::from(!is_listened);
        }
    }

    /// The client does not get a channel, for which nobody asks PostgreSQL.
    pub(super) fn note_unwanted(&mut self, slot: u32) {
        if let Some(opening) = self.by_slot.get_mut(&slot) {
            opening.is_refused = true;
        }
    }

    /// PostgreSQL confirmed a channel for which the client's stream waited.
    pub(super) fn note_confirmed(&mut self, slot: u32) {
        if let Some(opening) = self.by_slot.get_mut(&slot) {
            opening.unanswered -= 1;
        }
    }

    /// PostgreSQL refused one.
    pub(super) fn note_refused(&mut self, slot: u32, key: ChannelKey) {
        if let Some(opening) = self.by_slot.get_mut(&slot) {
            opening.is_refused = true;
            opening.channels.retain(|it| *it != key);
            opening.unanswered -= 1;
        }
    }

    /// The client's stream, once it waits for nothing any more.
    pub(super) fn poll_answered(&mut self, slot: u32) -> Option<Opening> {
        let opening = self.by_slot.get(&slot);
        opening.filter(|it| it.unanswered == 0 && it.unreleased.is_empty())?;
        self.by_slot.remove(&slot)
    }

    /// The stream, which waited for nothing, waits for the group to release all of these channels.
    pub(super) fn await_release(&mut self, slot: u32, mut opening: Opening, keys: Vec<ChannelKey>) {
        self.waits += 1;
        let waits = keys.iter().map(|&key| (key, self.waits, slot));
        self.unreleased.extend(waits);
        opening.unreleased = keys;
        opening.wait = self.waits;
        self.by_slot.insert(slot, opening);
    }

    /// How many streams have begun to wait for the group by now.
    pub(super) fn wait_count(&self) -> u64 {
        self.waits
    }

    /// The group has released the channel, with so much patience left: the next stream that waits for
    /// that, and did so when there were `count` [waits](Self::wait_count).
    pub(super) fn poll_released(
        &mut self,
        key: ChannelKey,
        count: u64,
        patience: Patience,
    ) -> Option<u32> {
        let mut waits = self.unreleased.range((key, 0, 0)..=(key, count, u32::MAX));
        let &wait = waits.next()?;
        self.unreleased.remove(&wait);
        let (_, _, slot) = wait;
        let opening = self.by_slot.get_mut(&slot)?;
        opening.unreleased.retain(|&it| it != key);
        opening.patience = opening.patience.min(patience);
        Some(slot)
    }

    /// Whether there is one.
    pub(super) fn has_released(&self, key: ChannelKey, count: u64) -> bool {
        let mut waits = self.unreleased.range((key, 0, 0)..=(key, count, u32::MAX));
        waits.next().is_some()
    }

    /// The client is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(opening) = self.by_slot.remove(&slot) {
            for key in opening.unreleased {
                self.unreleased.remove(&(key, opening.wait, slot));
            }
        }
    }

    /// Only clients that `is_stream` knows as event streams are opening.
    pub(super) fn check_invariants(&self, is_stream: impl Fn(u32) -> bool) {
        assert!(self.by_slot.keys().all(|&slot| is_stream(slot)));
        let unreleased = self.by_slot.values().map(|it| it.unreleased.len());
        assert_eq!(unreleased.sum::<usize>(), self.unreleased.len());
        for (&slot, opening) in &self.by_slot {
            let mut waits = opening
                .unreleased
                .iter()
                .map(|&key| (key, opening.wait, slot));
            assert!(waits.all(|wait| self.unreleased.contains(&wait)));
        }
    }
}
