//! Subscribes that wait for the LISTEN of their channel: each is stored once, and found by its
//! channel and by its client.
//!
//! One slab, with two lists threaded through its entries. Knows neither what a subscription is
//! nor what becomes of one.

use slab::Slab;

use crate::{
    channel::ChannelKey,
    message::{RequestId, Since},
};

/// A subscribe that is to be answered.
#[derive(Debug, Default)]
pub(super) struct Subscribe {
    pub(super) id: Option<RequestId>,
    pub(super) since: Option<Since>,
}

impl Subscribe {
    /// What it costs while it waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let id = match &self.id {
            Some(RequestId::Text(text)) => text.len(),
            Some(RequestId::Unsigned(_) | RequestId::Signed(_)) | None => 0,
        };
        let epoch = self.since.as_ref().map_or(0, |since| since.epoch.len());
        ENTRY_BYTES + id + epoch
    }
}

/// All of them, in the order asked within each channel.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: Slab<Entry>,
    /// By channel; grown on first use.
    channels: Vec<List>,
    /// By slot of the client; grown on first use.
    clients: Vec<Waiting>,
    /// What they cost.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    slot: u32,
    key: ChannelKey,
    /// The client is not subscribed to the channel, and no earlier subscribe of it waits there.
    is_first: bool,
    request: Subscribe,
    in_channel: Links,
    in_client: Links,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    before: u32,
    behind: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
    len: u32,
}

/// What one client waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    list: List,
    /// Channels that it would be subscribed to besides those it is.
    channels: u32,
}

impl Default for List {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            len: 0,
        }
    }
}

impl Pending {
    /// The client waits for the channel; `is_subscribed` tells whether it has that already.
    pub(super) fn push(
        &mut self,
        slot: u32,
        key: ChannelKey,
        is_subscribed: bool,
        request: Subscribe,
    ) {
        let is_first = !is_subscribed && !self.contains(slot, key);
        self.bytes += request.bytes();
        grow(&mut self.channels, key.index());
        grow(&mut self.clients, slot as usize);
        let waiting = &mut self.clients[slot as usize];
        waiting.channels += u32::from(is_first);
        let links = |list: List| Links {
            before: list.last,
            behind: NONE,
        };
        let at = self.entries.insert(Entry {
            slot,
            key,
            is_first,
            request,
            in_channel: links(self.channels[key.index()]),
            in_client: links(waiting.list),
        });
        let at = u32::try_from(at).expect("bounded by clients and subscriptions_max");
        let append = |list: &mut List| {
            let last = std::mem::replace(&mut list.last, at);
            list.len += 1;
            if last == NONE {
                list.first = at;
            }
            last
        };
        let last = append(&mut self.channels[key.index()]);
        if let Some(last) = self.entries.get_mut(last as usize) {
            last.in_channel.behind = at;
        }
        let last = append(&mut self.clients[slot as usize].list);
        if let Some(last) = self.entries.get_mut(last as usize) {
            last.in_client.behind = at;
        }
    }

    /// What all of them cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a subscribe of the client waits for the channel.
    pub(super) fn contains(&self, slot: u32, key: ChannelKey) -> bool {
        self.of_client(slot).any(|entry| entry.key == key)
    }

    /// How many subscribes wait for the channel.
    pub(super) fn channel_len(&self, key: ChannelKey) -> usize {
        self.channels
            .get(key.index())
            .map_or(0, |list| list.len as usize)
    }

    /// Whether anybody waits for the channel.
    pub(super) fn has_channel(&self, key: ChannelKey) -> bool {
        self.channel_len(key) > 0
    }

    /// The client whose subscribe waits for the channel for longest.
    pub(super) fn first_client(&self, key: ChannelKey) -> Option<u32> {
        let first = self.channels.get(key.index())?.first;
        self.entries.get(first as usize).map(|entry| entry.slot)
    }

    /// How many subscribes of the client wait.
    pub(super) fn request_count(&self, slot: u32) -> usize {
        self.waiting(slot).list.len as usize
    }

    /// How many channels the client waits for and is not subscribed to.
    pub(super) fn channel_count(&self, slot: u32) -> usize {
        self.waiting(slot).channels as usize
    }

    /// The channels that the client waits for; one that it asked for twice comes twice.
    pub(super) fn channels(&self, slot: u32) -> impl Iterator<Item = ChannelKey> {
        self.of_client(slot).map(|entry| entry.key)
    }

    /// The first that waits for the channel.
    pub(super) fn peek_channel(&self, key: ChannelKey) -> Option<&Subscribe> {
        let first = self.channels.get(key.index())?.first;
        Some(&self.entries.get(first as usize)?.request)
    }

    /// The first that waits for the channel does not any more.
    pub(super) fn pop_channel(&mut self, key: ChannelKey) -> Option<(u32, Subscribe)> {
        let first = self.channels.get(key.index())?.first;
        (first != NONE).then(|| self.remove(first))
    }

    /// The client waits for this channel no longer; its subscribes, in the order asked.
    pub(super) fn take(&mut self, slot: u32, key: ChannelKey) -> Vec<Subscribe> {
        let mut taken = Vec::new();
        let mut at = self.waiting(slot).list.first;
        while let Some(entry) = self.entries.get(at as usize) {
            let behind = entry.in_client.behind;
            if entry.key == key {
                taken.push(self.remove(at).1);
            }
            at = behind;
        }
        taken
    }

    /// The client waits for one thing less; the channel of it. `None` if it waits for nothing.
    pub(super) fn pop_client(&mut self, slot: u32) -> Option<ChannelKey> {
        let first = self.waiting(slot).list.first;
        let key = self.entries.get(first as usize)?.key;
        self.remove(first);
        Some(key)
    }

    fn waiting(&self, slot: u32) -> Waiting {
        self.clients.get(slot as usize).copied().unwrap_or_default()
    }

    fn of_client(&self, slot: u32) -> impl Iterator<Item = &Entry> {
        let first = self.entries.get(self.waiting(slot).list.first as usize);
        std::iter::successors(first, |entry| {
            self.entries.get(entry.in_client.behind as usize)
        })
    }

    fn remove(&mut self, at: u32) -> (u32, Subscribe) {
        let entry = self.entries.remove(at as usize);
        let Entry {
            slot,
            key,
            is_first,
            request,
            in_channel,
            in_client,
        } = entry;
        self.bytes -= request.bytes();
        let cut = |list: &mut List, links: Links| {
            if list.first == at {
                list.first = links.behind;
            }
            if list.last == at {
                list.last = links.before;
            }
            list.len -= 1;
        };
        cut(&mut self.channels[key.index()], in_channel);
        let waiting = &mut self.clients[slot as usize];
        cut(&mut waiting.list, in_client);
        waiting.channels -= u32::from(is_first);
        if let Some(before) = self.entries.get_mut(in_channel.before as usize) {
            before.in_channel.behind = in_channel.behind;
        }
        if let Some(behind) = self.entries.get_mut(in_channel.behind as usize) {
            behind.in_channel.before = in_channel.before;
        }
        if let Some(before) = self.entries.get_mut(in_client.before as usize) {
            before.in_client.behind = in_client.behind;
        }
        if let Some(behind) = self.entries.get_mut(in_client.behind as usize) {
            behind.in_client.before = in_client.before;
        }
        (slot, request)
    }

    /// Each entry is in both of its lists, and counted.
    pub(super) fn check_invariants(&self) {
        let mut requests = 0;
        for (slot, waiting) in (0..).zip(&self.clients) {
            let entries: Vec<_> = self.of_client(slot).collect();
            assert!(entries.iter().all(|entry| entry.slot == slot));
            assert_eq!(entries.len(), waiting.list.len as usize);
            let first = entries.iter().filter(|entry| entry.is_first).count();
            assert_eq!(first, waiting.channels as usize);
            requests += entries.len();
        }
        assert_eq!(requests, self.entries.len());
        let bytes: usize = self.entries.iter().map(|(_, it)| it.request.bytes()).sum();
        assert_eq!(self.bytes, bytes);
        let mut in_channels = 0;
        for (key, list) in self.channels.iter().enumerate() {
            let first = self.entries.get(list.first as usize);
            let entries = std::iter::successors(first, |entry| {
                self.entries.get(entry.in_channel.behind as usize)
            });
            let before = in_channels;
            for entry in entries {
                assert_eq!(entry.key.index(), key);
                in_channels += 1;
            }
            assert_eq!(in_channels - before, list.len as usize);
        }
        assert_eq!(in_channels, self.entries.len());
    }
}

fn grow<T: Clone + Default>(items: &mut Vec<T>, at: usize) {
    if items.len() <= at {
        items.resize(at + 1, T::default());
    }
}

/// The cost of a subscribe that waits beside its texts, in bytes.
const ENTRY_BYTES: usize = size_of::<Entry>();
/// No entry.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn request(number: u64) -> Subscribe {
        Subscribe {
            id: Some(RequestId::Unsigned(number)),
            since: None,
        }
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Push(u32, u32),
        PopChannel(u32),
        Take(u32, u32),
        PopClient(u32),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let (slot, key) = (|| 0..4_u32, || 0..4_u32);
        let operation = prop_oneof![
            6 => (slot(), key()).prop_map(|(slot, key)| Operation::Push(slot, key)),
            2 => key().prop_map(Operation::PopChannel),
            1 => (slot(), key()).prop_map(|(slot, key)| Operation::Take(slot, key)),
            1 => slot().prop_map(Operation::PopClient),
        ];
        proptest::collection::vec(operation, 0..100)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_queue_that_is_searched_from_both_ends(operations in operations()) {
            let mut pending = Pending::default();
            let mut model: VecDeque<(u32, u32, u64)> = VecDeque::new();
            let mut number = 0;
            let find = |model: &VecDeque<(u32, u32, u64)>, is: &dyn Fn(&(u32, u32, u64)) -> bool| {
                model.iter().position(is)
            };
            for operation in operations {
                match operation {
                    Operation::Push(slot, key) => {
                        number += 1;
                        pending.push(slot, ChannelKey(key), false, request(number));
                        model.push_back((slot, key, number));
                    }
                    Operation::PopChannel(key) => {
                        let expected = find(&model, &|it| it.1 == key).and_then(|at| model.remove(at));
                        let popped = pending.pop_channel(ChannelKey(key));
                        let popped = popped.map(|(slot, request)| (slot, request.id));
                        prop_assert_eq!(popped, expected.map(|it| (it.0, request(it.2).id)));
                    }
                    Operation::Take(slot, key) => {
                        let mut expected = Vec::new();
                        while let Some(at) = find(&model, &|it| (it.0, it.1) == (slot, key)) {
                            expected.extend(model.remove(at).map(|it| request(it.2).id));
                        }
                        let taken = pending.take(slot, ChannelKey(key));
                        let taken: Vec<_> = taken.into_iter().map(|it| it.id).collect();
                        prop_assert_eq!(taken, expected);
                    }
                    Operation::PopClient(slot) => {
                        let expected = find(&model, &|it| it.0 == slot).and_then(|at| model.remove(at));
                        let popped = pending.pop_client(slot);
                        prop_assert_eq!(popped, expected.map(|it| ChannelKey(it.1)));
                    }
                }
                pending.check_invariants();
                for slot in 0..4 {
                    let of_client = model.iter().filter(|it| it.0 == slot);
                    prop_assert_eq!(pending.request_count(slot), of_client.count());
                }
                for key in 0..4 {
                    let is_awaited = model.iter().any(|it| it.1 == key);
                    prop_assert_eq!(pending.has_channel(ChannelKey(key)), is_awaited);
                }
            }
        }
    }

    #[test]
    fn a_channel_counts_once_and_not_where_it_is_subscribed_already() {
        let mut pending = Pending::default();
        let [a, b, c] = [0, 1, 2].map(ChannelKey);
        pending.push(7, a, false, request(1));
        pending.push(7, a, false, request(2));
        pending.push(7, b, true, request(3));
        pending.push(7, c, false, request(4));
        assert_eq!((pending.request_count(7), pending.channel_count(7)), (4, 2));
        assert!(pending.contains(7, b) && !pending.contains(8, b));
        assert_eq!(pending.take(7, a).len(), 2);
        assert_eq!((pending.request_count(7), pending.channel_count(7)), (2, 1));
    }
}
