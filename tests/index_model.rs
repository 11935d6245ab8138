//! The index against the plainest model of it: after any operations both say the same.

use std::collections::{BTreeMap, BTreeSet};

use alle::{
    channel::{Channel, ChannelKey},
    index::Index,
};
use proptest::prelude::*;

type Model = BTreeMap<Channel, BTreeSet<u32>>;

#[derive(Clone, Debug)]
enum Operation {
    /// Knows a channel without subscribing to it.
    Intern(u8),
    Subscribe(u32, u8),
    Unsubscribe(u32, u8),
    /// The client leaves all its channels, as at a disconnect.
    Leave(u32),
    /// Forgets a channel, once all its subscribers have left it.
    Release(u8),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let client = || 0..CLIENTS;
    let channel = || 0..CHANNELS;
    let operation = prop_oneof![
        1 => channel().prop_map(Operation::Intern),
        8 => (client(), channel()).prop_map(|(client, name)| Operation::Subscribe(client, name)),
        4 => (client(), channel()).prop_map(|(client, name)| Operation::Unsubscribe(client, name)),
        1 => client().prop_map(Operation::Leave),
        1 => channel().prop_map(Operation::Release),
    ];
    proptest::collection::vec(operation, 0..120)
}

fn channel(number: u8) -> Channel {
    Channel::new(&format!("channel {number}")).expect("a good name")
}

/// Does the same to both; what they answer is the same.
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_leave_the_index_as_its_model(operations in operations()) {
        let (mut index, mut model) = (Index::default(), Model::default());
        for operation in &operations {
            apply(operation, &mut index, &mut model);
            check(&index, &model);
        }
    }
}

/// Few enough that they meet, with more channels than fit into a client's record.
const CLIENTS: u32 = 12;
const CHANNELS: u8 = 8;
