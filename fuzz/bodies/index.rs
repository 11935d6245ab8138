//! The index against the plainest model of it: after any operations both say the same.

use std::collections::{BTreeMap, BTreeSet};

use alle::{
    channel::{Channel, ChannelKey},
    delivery::index::Index,
};

/// Reads `data` as operations, two bytes each, and plays them.
pub fn index_ops(data: &[u8]) {
    let operations = data.chunks_exact(2).map(|pair| {
        let (client, name) = (u32::from(pair[1]) % CLIENTS, pair[0] / 16 % CHANNELS);
        match pair[0] % 16 {
            0 => Operation::Intern(name),
            1..=8 => Operation::Subscribe(client, name),
            9..=12 => Operation::Unsubscribe(client, name),
            13 | 14 => Operation::Leave(client),
            _ => Operation::Release(name),
        }
    });
    play(operations.take(OPERATIONS_MAX));
}

/// Does the same to the index and to its model, which agree after each operation.
pub fn play(operations: impl IntoIterator<Item = Operation>) {
    let (mut index, mut model) = (Index::default(), Model::default());
    for operation in operations {
        apply(&operation, &mut index, &mut model);
        check(&index, &model);
    }
}

type Model = BTreeMap<Channel, BTreeSet<u32>>;

#[derive(Clone, Debug)]
pub enum Operation {
    /// Knows a channel without subscribing to it.
    Intern(u8),
    Subscribe(u32, u8),
    Unsubscribe(u32, u8),
    /// The client leaves all its channels, as at a disconnect.
    Leave(u32),
    /// Forgets a channel, once all its subscribers have left it.
    Release(u8),
}

fn channel(number: u8) -> Channel {
    Channel::new(&format!("channel {number}")).expect("a good name")
}

fn apply(operation: &Operation, index: &mut Index, model: &mut Model) {
    match *operation {
        Operation::Intern(name) => {
            let key = index.intern(channel(name));
            assert_eq!(index.name(key), &channel(name));
            model.entry(channel(name)).or_default();
        }
        Operation::Subscribe(client, name) => {
            let key = index.intern(channel(name));
            let is_new = model.entry(channel(name)).or_default().insert(client);
            assert_eq!(index.subscribe(client, key), is_new);
        }
        Operation::Unsubscribe(client, name) => {
            let removed = model
                .get_mut(&channel(name))
                .is_some_and(|clients| clients.remove(&client));
            let key = index.find(channel(name).as_str());
            assert_eq!(
                key.is_some_and(|key| index.unsubscribe(client, key)),
                removed
            );
        }
        Operation::Leave(client) => {
            while let Some(key) = index.unsubscribe_any(client) {
                let clients = model.get_mut(index.name(key)).expect("a known channel");
                assert!(clients.remove(&client), "a link that was there");
            }
            assert!(model.values().all(|clients| !clients.contains(&client)));
        }
        Operation::Release(name) => {
            let Some(key) = index.find(channel(name).as_str()) else {
                assert!(!model.contains_key(&channel(name)));
                return;
            };
            for client in model.remove(&channel(name)).expect("a known channel") {
                assert!(index.unsubscribe(client, key));
            }
            index.release(key);
        }
    }
}

fn check(index: &Index, model: &Model) {
    index.check_invariants();
    assert_eq!(index.channel_count(), model.len());
    let known: BTreeSet<Channel> = index
        .channels()
        .map(|key| index.name(key).clone())
        .collect();
    assert!(known.iter().eq(model.keys()));
    assert_eq!(
        index.link_count(),
        model.values().map(BTreeSet::len).sum::<usize>()
    );
    for (name, clients) in model {
        let key = index.find(name.as_str()).expect("the model knows it");
        let subscribers: BTreeSet<u32> = index.subscribers(key).iter().copied().collect();
        assert_eq!(&subscribers, clients);
        assert_eq!(
            index.subscribers(key).len(),
            clients.len(),
            "each client once"
        );
    }
    for client in 0..CLIENTS {
        let subscribed: BTreeSet<ChannelKey> = index
            .subscriptions(client)
            .iter()
            .map(|link| link.channel())
            .collect();
        let expected: BTreeSet<ChannelKey> = model
            .iter()
            .filter(|(_, clients)| clients.contains(&client))
            .filter_map(|(name, _)| index.find(name.as_str()))
            .collect();
        assert_eq!(subscribed, expected);
        assert!(expected.iter().all(|&key| index.is_subscribed(client, key)));
    }
}

/// Few enough that they meet, with more channels than fit into a client's record.
pub const CLIENTS: u32 = 12;
pub const CHANNELS: u8 = 8;
/// Each is followed by a look at everything.
const OPERATIONS_MAX: usize = 500;
