//! Which client is subscribed to which channel, over all lanes.
//!
//! A client has its links in one lane alone. Knows neither names nor phases.

use crate::{
    channel::ChannelKey,
    delivery::{
        index::{Index, Subscription},
        lane::{Indexes, LANES},
    },
};

/// The links of all clients.
#[derive(Debug, Default)]
pub(super) struct Links {
    indexes: Indexes,
}

impl Links {
    /// By lane.
    pub(super) fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.indexes.iter().map(Index::link_count).sum()
    }

    /// The channel's subscribers, how many of each lane.
    pub(super) fn audience(&self, key: ChannelKey) -> [usize; LANES] {
        self.indexes
            .each_ref()
            .map(|index| index.subscribers(key).len())
    }

    /// Whether the channel has a subscriber.
    pub(super) fn has_subscriber(&self, key: ChannelKey) -> bool {
        self.audience(key) != [0; LANES]
    }

    /// One of the channel's subscribers: the same until it leaves.
    pub(super) fn first_subscriber(&self, key: ChannelKey) -> Option<u32> {
        let mut lanes = self.indexes.iter();
        lanes.find_map(|index| index.subscribers(key).first().copied())
    }

    /// The channels of a client.
    pub(super) fn of_client(&self, slot: u32) -> impl DoubleEndedIterator<Item = ChannelKey> {
        let lanes = self.indexes.iter();
        lanes
            .flat_map(move |index| index.subscriptions(slot))
            .map(|link: &Subscription| link.channel())
    }

    /// How many channels the client has.
    pub(super) fn client_count(&self, slot: u32) -> usize {
        let lanes = self.indexes.iter();
        lanes.map(|index| index.subscriptions(slot).len()).sum()
    }

    /// Whether the client is subscribed to the channel.
    pub(super) fn contains(&self, slot: u32, key: ChannelKey) -> bool {
        let mut lanes = self.indexes.iter();
        lanes.any(|index| index.is_subscribed(slot, key))
    }

    /// The client is subscribed from now on, in its lane.
    pub(super) fn insert(&mut self, slot: u32, key: ChannelKey, lane: usize) {
        self.indexes[lane].subscribe(slot, key);
    }

    /// The client is subscribed no longer.
    pub(super) fn remove(&mut self, slot: u32, key: ChannelKey) {
        for index in &mut self.indexes {
            index.unsubscribe(slot, key);
        }
    }

    /// Cuts the last link of the client; its channel.
    pub(super) fn pop_client(&mut self, slot: u32) -> Option<ChannelKey> {
        let mut lanes = self.indexes.iter_mut();
        lanes.find_map(|index| index.unsubscribe_any(slot))
    }

    pub(super) fn check_invariants(&self) {
        for index in &self.indexes {
            index.check_invariants();
        }
    }
}
