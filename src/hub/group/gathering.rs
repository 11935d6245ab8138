//! Channels whose LISTEN is awaited before anything is announced: those that were listened to before or,
//! where a bridge joins, those of the others.
//!
//! Does not know where they stand.

use std::collections::BTreeSet;

use crate::channel::{Channel, ChannelKey};

/// The channels that are not there yet.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    awaited: BTreeSet<ChannelKey>,
    of_peers: Option<OfPeers>,
}

#[derive(Debug, Default)]
struct OfPeers {
    awaited: BTreeSet<Channel>,
    confirmed: BTreeSet<Channel>,
}

impl Gathering {
    /// These were listened to before.
    pub(super) fn of(keys: impl IntoIterator<Item = ChannelKey>) -> Self {
        Self {
            awaited: keys.into_iter().collect(),
            of_peers: None,
        }
    }

    /// Those that peers are about to name.
    pub(super) fn of_peers() -> Self {
        Self {
            awaited: BTreeSet::new(),
            of_peers: Some(OfPeers::default()),
        }
    }

    /// Whether it awaits what peers name.
    pub(super) fn is_of_peers(&self) -> bool {
        self.of_peers.is_some()
    }

    /// A peer names a channel.
    pub(super) fn expect(&mut self, channel: &Channel) {
        if let Some(OfPeers { awaited, confirmed }) = &mut self.of_peers
            && !confirmed.contains(channel)
        {
            awaited.insert(channel.clone());
        }
    }

    /// The channel is there.
    pub(super) fn confirm(&mut self, key: ChannelKey, channel: &Channel) {
        self.remove(Some(key), Some(channel));
        if let Some(OfPeers { confirmed, .. }) = &mut self.of_peers {
            confirmed.insert(channel.clone());
        }
    }

    /// The channel is not going to be there.
    pub(super) fn remove(&mut self, key: Option<ChannelKey>, channel: Option<&Channel>) {
        if let Some(key) = key {
            self.awaited.remove(&key);
        }
        if let (Some(OfPeers { awaited, .. }), Some(channel)) = (&mut self.of_peers, channel) {
            awaited.remove(channel);
        }
    }

    /// Whether nothing is awaited any more. `have_all_ended` tells that the peers have named all.
    pub(super) fn is_complete(&self, have_all_ended: bool) -> bool {
        let is_told = |it: &OfPeers| have_all_ended && it.awaited.is_empty();
        self.awaited.is_empty() && self.of_peers.as_ref().is_none_or(is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelKey = ChannelKey(0);
    const B: ChannelKey = ChannelKey(1);

    #[test]
    fn every_channel_of_before_is_awaited() {
        let mut gathering = Gathering::of([A, B]);
        let name = Channel::new("a").unwrap();
        gathering.expect(&name);
        gathering.confirm(A, &name);
        assert!(!gathering.is_complete(true));
        gathering.remove(Some(B), None);
        assert!(gathering.is_complete(false) && !gathering.is_of_peers());
    }

    #[test]
    fn every_channel_that_peers_name_is_awaited() {
        let mut gathering = Gathering::of_peers();
        let [a, b] = ["a", "b"].map(|name| Channel::new(name).unwrap());
        gathering.confirm(A, &a);
        gathering.expect(&a);
        assert!(!gathering.is_complete(false), "more may come");
        gathering.expect(&b);
        assert!(!gathering.is_complete(true));
        gathering.remove(None, Some(&b));
        assert!(gathering.is_complete(true) && gathering.is_of_peers());
    }
}
