//! Which client is subscribed to which channel.
//!
//! Each channel has a dense array of its clients, each client a short array of its channels with
//! its position in theirs: joining and leaving cost no search among the others, and a fan-out
//! walks one contiguous `u32` array. Knows nothing of names, LISTEN, connections or time.

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

/// A client's links: up to three without an allocation.
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

    /// The channels of a client.
    pub fn subscriptions(&self, client: u32) -> &[Subscription] {
        self.clients
            .get(client as usize)
            .map_or(&[], Subscriptions::as_slice)
    }

    /// Whether the client is subscribed to the channel.
    pub fn is_subscribed(&self, client: u32, key: ChannelKey) -> bool {
        self.subscriptions(client)
            .iter()
            .any(|link| link.channel == key.0)
    }

    /// Links the two; false if they were linked.
    pub fn subscribe(&mut self, client: u32, key: ChannelKey) -> bool {
        if self.is_subscribed(client, key) {
            return false;
        }
        if self.clients.len() <= client as usize {
            self.clients
                .resize_with(client as usize + 1, Subscriptions::default);
        }
        if self.channels.len() <= key.index() {
            self.channels.resize_with(key.index() + 1, Vec::new);
        }
        let subscribers = &mut self.channels[key.index()];
        let position = u32::try_from(subscribers.len()).expect("slots of clients are u32");
        subscribers.push(client);
        self.clients[client as usize].push(Subscription {
            channel: key.0,
            position,
        });
        self.links += 1;
        true
    }

    /// Cuts the link; false if there was none.
    pub fn unsubscribe(&mut self, client: u32, key: ChannelKey) -> bool {
        let found = self
            .subscriptions(client)
            .iter()
            .position(|link| link.channel == key.0);
        let Some(at) = found else { return false };
        self.cut(client, at);
        true
    }

    /// Cuts any one link of the client and returns its channel; `None` when none is left.
    pub fn unsubscribe_any(&mut self, client: u32) -> Option<ChannelKey> {
        let last = self.subscriptions(client).len().checked_sub(1)?;
        Some(self.cut(client, last))
    }

    fn cut(&mut self, client: u32, at: usize) -> ChannelKey {
        let link = self.clients[client as usize].swap_remove(at);
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

    /// Every link is reachable from both ends, and counted once.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
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

    fn push(&mut self, link: Subscription) {
        match self {
            Self::Inline { len, links } if usize::from(*len) < INLINE => {
                links[usize::from(*len)] = link;
                *len += 1;
            }
            Self::Inline { links, .. } => {
                let mut spilled = Vec::with_capacity(2 * INLINE);
                spilled.extend_from_slice(links);
                spilled.push(link);
                *self = Self::Spilled(Box::new(spilled));
            }
            Self::Spilled(links) => links.push(link),
        }
    }

    fn swap_remove(&mut self, at: usize) -> Subscription {
        match self {
            Self::Inline { len, links } => {
                *len -= 1;
                let last = usize::from(*len);
                links.swap(at, last);
                links[last]
            }
            Self::Spilled(spilled) => {
                let link = spilled.swap_remove(at);
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
        if let Some(link) = links.iter_mut().find(|link| link.channel == channel) {
            link.position = position;
        }
    }
}

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
}
