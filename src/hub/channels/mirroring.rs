//! Channels that peers of a group want: listened to whether clients of ours want them or not, as far
//! as there is room; and what the group wants to know of the channels.
//!
//! Knows neither the peers nor what they are told.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{group::Heard, pending::Subscribe},
    Channels,
};
use crate::{
    backend::interests::OWN,
    channel::{Channel, ChannelKey},
};

/// The channels that peers want.
#[derive(Debug, Default)]
pub(super) struct Mirroring {
    /// Each with its number: they are counted.
    numbers: BTreeMap<ChannelKey, u64>,
    last: u64,
    /// Those that nobody here wants, or is expected back to, the one mirrored first at the front.
    spare: BTreeSet<(u64, ChannelKey)>,
    /// Channels that clients may have come to want, or want no longer; only for a group.
    changed: Option<Vec<ChannelKey>>,
}

impl Mirroring {
    pub(super) fn contains(&self, key: ChannelKey) -> bool {
        self.numbers.contains_key(&key)
    }

    /// How many are listened to for peers alone.
    pub(super) fn spare_count(&self) -> usize {
        self.spare.len()
    }

    /// The one of those that gives way first.
    pub(super) fn first_spare(&self) -> Option<ChannelKey> {
        self.spare.first().map(|&(_, key)| key)
    }

    /// Clients of ours want the channel.
    pub(super) fn handle_own(&mut self, key: ChannelKey) {
        self.note_changed(key);
        if let Some(&number) = self.numbers.get(&key) {
            self.spare.remove(&(number, key));
        }
    }

    /// Clients of ours want the channel no longer. Returns whether peers do.
    pub(super) fn handle_unwanted(&mut self, key: ChannelKey) -> bool {
        self.note_changed(key);
        let number = self.numbers.get(&key);
        self.spare.extend(number.map(|&number| (number, key)));
        number.is_some()
    }

    /// Peers do not want the channel, or there is no room for it. Returns whether they did.
    pub(super) fn forget(&mut self, key: ChannelKey) -> bool {
        let number = self.numbers.remove(&key);
        if let Some(number) = number {
            self.spare.remove(&(number, key));
        }
        number.is_some()
    }

    /// Peers want the channel, and clients of ours perhaps. Returns whether that is news.
    fn insert(&mut self, key: ChannelKey, is_own: bool) -> bool {
        if self.contains(key) {
            return false;
        }
        self.last += 1;
        self.numbers.insert(key, self.last);
        if !is_own {
            self.spare.insert((self.last, key));
        }
        true
    }

    fn note_changed(&mut self, key: ChannelKey) {
        if let Some(changed) = &mut self.changed
            && changed.last() != Some(&key)
        {
            changed.push(key);
        }
    }

    /// A channel gives way if it is listened to for peers alone.
    pub(super) fn check_invariants(&self, key: ChannelKey, is_own: bool) {
        let number = self.numbers.get(&key);
        let is_spare = number.is_some_and(|&number| self.spare.contains(&(number, key)));
        assert_eq!(is_spare, number.is_some() && !is_own, "{key:?}");
    }
}

impl Channels {
    /// The bridge is one of a group: [`Self::poll_changed`] tells what it wants to know.
    pub(in super::super) fn set_grouped(&mut self) {
        self.mirroring.changed = Some(self.interests.keys().collect());
    }

    /// Peers want the channel. Returns whether it is listened to from now on, or soon; not where the
    /// bridge listens to as many as it may.
    pub(in super::super) fn mirror(&mut self, channel: &Channel) -> bool {
        let known = self.find(channel.as_str());
        let is_wanted = known.is_some_and(|key| self.interests.interest(key).is_wanted());
        if !is_wanted && self.interests.wanted_count() >= self.channels_max {
            return false;
        }
        let key = self.interests.intern(channel.clone());
        let is_own = self.is_own(key);
        if self.mirroring.insert(key, is_own) && !is_own {
            self.state_mut(key);
            self.interests.want(key, OWN);
        }
        true
    }

    /// Peers want the channel no longer.
    pub(in super::super) fn unmirror(&mut self, channel: &Channel) {
        let key = self.find(channel.as_str());
        if let Some(key) = key.filter(|&key| self.mirroring.forget(key))
            && !self.is_own(key)
        {
            self.unwant(key);
        }
    }

    /// Whether clients of ours want the channel, or may come back to it.
    pub(in super::super) fn is_own(&self, key: ChannelKey) -> bool {
        self.is_used(key) || self.kept.contains(key)
    }

    /// The next channel that clients of ours may have come to want, or want no longer.
    pub(in super::super) fn poll_changed(&mut self) -> Option<ChannelKey> {
        loop {
            let key = self.mirroring.changed.as_mut()?.pop()?;
            if self.interests.contains(key) {
                return Some(key);
            }
        }
    }

    /// Where the channel stands, if its notifications are counted.
    pub(in super::super) fn heard(&self, name: &str) -> Option<Heard> {
        let key = self.find(name)?;
        let is_counted = self.interests.interest(key).is_counted();
        let position = is_counted.then(|| self.position(key))?;
        Some(Heard {
            key,
            epoch: position.epoch,
            seq: position.seq,
        })
    }

    /// The first subscribe that waits for the channel, which waits on.
    pub(in super::super) fn peek_waiting(&self, key: ChannelKey) -> Option<&Subscribe> {
        self.pending.peek_channel(key)
    }

    /// The client's subscribe to a channel that is listened to waits all the same.
    pub(in super::super) fn wait(&mut self, slot: u32, key: ChannelKey, request: Subscribe) {
        let is_subscribed = self.links.contains(slot, key);
        self.change_users(key, |channels| {
            channels.pending.push(slot, key, is_subscribed, request);
        });
    }
}
