//! Channels of which something was missed, though they stayed listened to: one of them, or all at
//! once.
//!
//! All at once, they have their gaps one by one, since 50,000 are no work for one turn. None is marked
//! for it: a channel whose epoch is as old as the loss has its gap to come, and the epoch that begins
//! with a gap is newer. So a loss before the gaps of another are told makes one of both, and a channel
//! that is listened to since then has none. Owns how far the walk over the channels has come. Knows
//! neither clients nor what they are told.

use super::Channels;
use crate::{backend::interest::Interest, channel::ChannelKey};

/// The walk over all channels.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// The last epoch that had begun at the last loss.
    epoch: u64,
    /// So many keys were known at the last loss: the walk is a round over them.
    keys: usize,
    /// Where it goes on: another loss does not send it back, or the last ones might wait for ever.
    next: usize,
    /// So many are still to be looked at.
    left: usize,
}

impl Channels {
    /// Something of this channel was missed. Whether that concerns anybody.
    pub(in super::super) fn handle_missed(&mut self, key: ChannelKey) -> bool {
        let is_listened = self.interests.interest(key) == Interest::Listened;
        if is_listened {
            self.begin_epoch(key);
        }
        is_listened
    }

    /// Something of every channel was missed: each has its gap to come.
    pub(in super::super) fn handle_all_missed(&mut self) {
        self.gaps.epoch = self.epochs;
        self.gaps.keys = self.states.len();
        self.gaps.left = self.gaps.keys;
    }

    /// Whether channels may have a gap to come.
    pub(in super::super) fn has_gaps(&self) -> bool {
        self.gaps.left > 0
    }

    /// Whether the next turn has something to do here: a gap to come, or [`Self::poll_released`].
    pub(in super::super) fn is_behind(&self) -> bool {
        self.has_gaps() || !self.maybe_idle.is_empty()
    }

    /// The channel of this name, where it has a gap to come.
    pub(in super::super) fn find_gap(&self, name: &str) -> Option<ChannelKey> {
        let known = self.has_gaps().then(|| self.find(name)).flatten();
        known.filter(|&key| self.has_gap(key))
    }

    /// Walks on, for about what telling of one gap costs: to the next channel that has one to come, if
    /// it is not far.
    pub(in super::super) fn poll_gap(&mut self) -> Option<ChannelKey> {
        for _ in 0..LOOKS_MAX.min(self.gaps.left) {
            let key = ChannelKey(u32::try_from(self.gaps.next).expect("keys are u32"));
            self.gaps.left -= 1;
            self.gaps.next = (self.gaps.next + 1) % self.gaps.keys;
            if self.is_behind_loss(key) {
                return Some(key);
            }
        }
        None
    }

    fn has_gap(&self, key: ChannelKey) -> bool {
        self.has_gaps() && self.is_behind_loss(key)
    }

    fn is_behind_loss(&self, key: ChannelKey) -> bool {
        self.state(key).epoch <= self.gaps.epoch
            && self.interests.contains(key)
            && self.interests.interest(key) == Interest::Listened
    }
}

/// Channels that are looked at for the next that has a gap to come.
const LOOKS_MAX: usize = 64;
