//! The index against the plainest model of it: after any operations both give the same answers.

use std::collections::{BTreeMap, BTreeSet};

use alle::internals::{channel::ChannelKey, delivery::index::Index};

/// Reads `data` as operations, two bytes each, and plays them.
pub fn index_ops(data: &[u8]) {
    let operations = data.chunks_exact(2).map(|pair| {
        let (client, key) = (
            u32::from(pair[1]) % CLIENTS,
            u32::from(pair[0] / 16) % CHANNELS,
        );
        match pair[0] % 16 {
            0..=8 => Operation::Subscribe(client, key),
            9..=12 => Operation::Unsubscribe(client, key),
            13 | 14 => Operation::Disconnect(client),
            _ => Operation::Desert(key),
        }
    });
    play(operations.take(OPERATIONS_MAX));
}

/// Applies the same operation to the index and to its model, which agree afterwards.
pub fn play(operations: impl IntoIterator<Item = Operation>) {
    let (mut index, mut model) = (Index::default(), Model::default());
    for operation in operations {
        apply(&operation, &mut index, &mut model);
        check(&index, &model);
    }
}

type Model = BTreeMap<ChannelKey, BTreeSet<u32>>;

#[derive(Clone, Debug)]
pub enum Operation {
    Subscribe(u32, u32),
    Unsubscribe(u32, u32),
    /// The client leaves all its channels, as at a disconnect.
    Disconnect(u32),
    /// All subscribers leave the channel.
    Desert(u32),
}

fn apply(operation: &Operation, index: &mut Index, model: &mut Model) {
    match *operation {
        Operation::Subscribe(client, key) => {
            let is_new = model.entry(ChannelKey(key)).or_default().insert(client);
            assert_eq!(index.subscribe(client, ChannelKey(key)), is_new);
        }
        Operation::Unsubscribe(client, key) => {
            let removed = model
                .get_mut(&ChannelKey(key))
                .is_some_and(|clients| clients.remove(&client));
            assert_eq!(index.unsubscribe(client, ChannelKey(key)), removed);
        }
        Operation::Disconnect(client) => {
            while let Some(key) = index.unsubscribe_any(client) {
                let clients = model.get_mut(&key).expect("a known channel");
                assert!(clients.remove(&client), "a link that was there");
            }
            assert!(model.values().all(|clients| !clients.contains(&client)));
        }
        Operation::Desert(key) => {
            for client in model.remove(&ChannelKey(key)).unwrap_or_default() {
                assert!(index.unsubscribe(client, ChannelKey(key)));
            }
            assert!(index.subscribers(ChannelKey(key)).is_empty());
        }
    }
}

fn check(index: &Index, model: &Model) {
    index.check_invariants();
    assert_eq!(
        index.link_count(),
        model.values().map(BTreeSet::len).sum::<usize>()
    );
    for (&key, clients) in model {
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
            .map(|(&key, _)| key)
            .collect();
        assert_eq!(subscribed, expected);
        assert!(expected.iter().all(|&key| index.is_subscribed(client, key)));
    }
}

/// Few enough that they meet, with more channels than fit into a client's record.
pub const CLIENTS: u32 = 12;
pub const CHANNELS: u32 = 8;
/// After each of them the whole index is checked.
const OPERATIONS_MAX: usize = 500;
