//! Which client is subscribed to which channel.
//!
//! Each channel has a dense array of its clients, each client an array of its channels, in the order
//! of their keys, with its position in theirs: joining and leaving cost a channel no walk over its
//! clients, and a client a search and a move among its channels. A fan-out walks one contiguous `u32` array. Knows nothing of names,
//! LISTEN, connections or time.

use crate::channel::ChannelKey;

/// One link, seen from the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    channel: u32,
    /// The position of the client in the channel's array.
    position: u32,
}

impl Subscription {
    /// The channel.
    pub fn channel(self) -> ChannelKey {
        ChannelKey(self.channel)
    }
}

/// The links between clients, named by slot, and channels.
#[derive(Debug, Default)]
pub struct Index {
    /// The clients of each channel, dense and in no order. Grown on first use.
    channels: Vec<Vec<u32>>,
    /// By slot of the client; empty for a vacant slot.
    clients: Vec<Subscriptions>,
    links: usize,
}

/// A client's links, in the order of the channels' keys: up to three without an allocation.
#[derive(Debug)]
enum Subscriptions {
    Inline {
        len: u8,
        links: [Subscription; INLINE],
    },
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 24 in every client's record"
    )]
    Spilled(Box<Vec<Subscription>>),
}

impl Index {
    /// How many links there are.
    pub fn link_count(&self) -> usize {
        self.links
    }

    /// The clients of a channel, dense; the order changes when one leaves.
    pub fn subscribers(&self, key: ChannelKey) -> &[u32] {
        self.channels.get(key.index()).map_or(&[], Vec::as_slice)
    }

    /// The channels of a client, in the order of their keys.
    pub fn subscriptions(&self, client: u32) -> &[Subscription] {
        self.clients
            .get(client as usize)
            .map_or(&[], Subscriptions::as_slice)
    }

    /// Whether the client is subscribed to the channel.
    pub fn is_subscribed(&self, client: u32, key: ChannelKey) -> bool {
        is_among(self.subscriptions(client), key)
    }

    /// Links the two; false if they were linked.
    pub fn subscribe(&mut self, client: u32, key: ChannelKey) -> bool {
        if self.clients.len() <= client as usize {
            self.clients
                .resize_with(client as usize + 1, Subscriptions::default);
        }
        let Err(at) = find(self.subscriptions(client), key.0) else {
            return false;
        };
        if self.channels.len() <= key.index() {
            self.channels.resize_with(key.index() + 1, Vec::new);
        }
        let subscribers = &mut self.channels[key.index()];
        let position = u32::try_from(subscribers.len()).expect("slots of clients are u32");
        subscribers.push(client);
        let link = Subscription {
            channel: key.0,
            position,
        };
        self.clients[client as usize].insert(at, link);
        self.links += 1;
        true
    }

    /// Cuts the link; false if there was none.
    pub fn unsubscribe(&mut self, client: u32, key: ChannelKey) -> bool {
        let Ok(at) = find(self.subscriptions(client), key.0) else {
            return false;
        };
        self.cut(client, at);
        true
    }

    /// Cuts the last link of the client and returns its channel; `None` when none is left.
    pub fn unsubscribe_any(&mut self, client: u32) -> Option<ChannelKey> {
        let last = self.subscriptions(client).len().checked_sub(1)?;
        Some(self.cut(client, last))
    }

    fn cut(&mut self, client: u32, at: usize) -> ChannelKey {
        let link = self.clients[client as usize].remove(at);
        let subscribers = &mut self.channels[link.channel as usize];
        let removed = subscribers.swap_remove(link.position as usize);
        debug_assert_eq!(
            removed, client,
            "a link's position leads back to its client"
        );
        if let Some(&moved) = subscribers.get(link.position as usize) {
            self.clients[moved as usize].reposition(link.channel, link.position);
        }
        if subscribers.is_empty() {
            *subscribers = Vec::new();
        }
        self.links -= 1;
        ChannelKey(link.channel)
    }

    /// Every link is reachable from both ends, in its place, and counted once.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        for client in &self.clients {
            let links = client.as_slice();
            assert!(links.is_sorted_by(|one, next| one.channel < next.channel));
        }
        let mut links = 0;
        for (key, subscribers) in self.channels.iter().enumerate() {
            for (position, &client) in subscribers.iter().enumerate() {
                let here = self.subscriptions(client).iter().filter(|link| {
                    link.channel as usize == key && link.position as usize == position
                });
                assert_eq!(
                    here.count(),
                    1,
                    "client {client} knows its place in channel {key}"
                );
                links += 1;
            }
        }
        let from_clients: usize = self
            .clients
            .iter()
            .map(|client| client.as_slice().len())
            .sum();
        assert_eq!((links, from_clients), (self.links, self.links));
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self::Inline {
            len: 0,
            links: [Subscription::default(); INLINE],
        }
    }
}

impl Subscriptions {
    fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::Inline { len, links } => &links[..usize::from(*len)],
            Self::Spilled(links) => links,
        }
    }

    fn insert(&mut self, at: usize, link: Subscription) {
        match self {
            Self::Inline { len, links } if usize::from(*len) < INLINE => {
                links[at..=usize::from(*len)].rotate_right(1);
                links[at] = link;
                *len += 1;
            }
            Self::Inline { links, .. } => {
                let mut spilled = Vec::with_capacity(2 * INLINE);
                spilled.extend_from_slice(links);
                spilled.insert(at, link);
                *self = Self::Spilled(Box::new(spilled));
            }
            Self::Spilled(links) => links.insert(at, link),
        }
    }

    fn remove(&mut self, at: usize) -> Subscription {
        match self {
            Self::Inline { len, links } => {
                links[at..usize::from(*len)].rotate_left(1);
                *len -= 1;
                links[usize::from(*len)]
            }
            Self::Spilled(spilled) => {
                let link = spilled.remove(at);
                if spilled.len() <= INLINE {
                    let mut links = [Subscription::default(); INLINE];
                    links[..spilled.len()].copy_from_slice(spilled);
                    let len = u8::try_from(spilled.len()).expect("at most INLINE");
                    *self = Self::Inline { len, links };
                }
                link
            }
        }
    }

    fn reposition(&mut self, channel: u32, position: u32) {
        let links = match self {
            Self::Inline { len, links } => &mut links[..usize::from(*len)],
            Self::Spilled(links) => links.as_mut_slice(),
        };
        if let Ok(at) = find(links, channel) {
            links[at].position = position;
        }
    }
}

/// Whether the channel is one of the links of a client.
pub(super) fn is_among(links: &[Subscription], key: ChannelKey) -> bool {
    find(links, key.0).is_ok()
}

/// Where the channel is among the links of a client, or else belongs.
fn find(links: &[Subscription], channel: u32) -> Result<usize, usize> {
    if links.len() > FEW {
        return links.binary_search_by_key(&channel, |link| link.channel);
    }
    let at = links.iter().position(|link| link.channel >= channel);
    match at {
        Some(at) if links[at].channel == channel => Ok(at),
        at => Err(at.unwrap_or(links.len())),
    }
}

/// So many links are looked through one by one.
const FEW: usize = 16;
/// Links held without an allocation: most clients of a bridge have one to three.
const INLINE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_links_takes_32_bytes() {
        assert_eq!(size_of::<Subscriptions>(), 32);
    }

    #[test]
    fn subscribing_twice_is_one_link() {
        let mut index = Index::default();
        let key = ChannelKey(3);
        assert_eq!(index.subscribers(key), &[] as &[u32]);
        assert!(index.subscribe(7, key));
        assert!(!index.subscribe(7, key));
        assert_eq!(index.subscribers(key), &[7]);
        assert!(index.unsubscribe(7, key));
        assert!(!index.unsubscribe(7, key));
        assert!(!index.unsubscribe(99, key));
        index.check_invariants();
    }

    #[test]
    fn leaving_moves_the_last_one_into_the_hole() {
        let mut index = Index::default();
        let keys: Vec<_> = (0..5).map(ChannelKey).collect();
        for client in 0..4 {
            for &key in &keys {
                index.subscribe(client, key);
            }
        }
        index.check_invariants();
        index.unsubscribe(0, keys[2]);
        index.check_invariants();
        assert_eq!(index.subscribers(keys[2]), &[3, 1, 2]);
        while index.unsubscribe_any(3).is_some() {
            index.check_invariants();
        }
        assert_eq!(index.subscriptions(3), &[]);
        assert_eq!(index.link_count(), 14);
    }

    /// In whatever order its channels come and go, few or many.
    #[test]
    fn the_links_of_a_client_are_in_the_order_of_the_channels() {
        for count in [1, INLINE, INLINE + 1, FEW, FEW + 1, 101] {
            let (mut index, count) = (Index::default(), u32::try_from(count).unwrap());
            // 103 is a prime: each of them once.
            let keys = || (0..103).map(|it| it * 37 % 103).filter(|&it| it < count);
            for key in keys().map(ChannelKey) {
                assert!(index.subscribe(0, key) && index.subscribe(1, key));
                assert!(!index.subscribe(0, key));
                index.check_invariants();
            }
            let links = index.subscriptions(0).iter().map(|it| it.channel);
            assert!(links.eq(0..count), "{count}");
            for key in keys().map(|it| ChannelKey(count - 1 - it)) {
                assert!(index.is_subscribed(0, key) && index.unsubscribe(0, key));
                assert!(!index.is_subscribed(0, key) && !index.unsubscribe(0, key));
                index.check_invariants();
            }
            assert_eq!(index.link_count(), count as usize);
        }
    }
}
