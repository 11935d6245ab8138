//! Sequences of operations on the index, as they are likely: it agrees with its model.

#[path = "../fuzz/bodies/index.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the fuzzer")]
mod index;

use proptest::prelude::*;

use self::index::{CHANNELS, CLIENTS, Operation, play};

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let client = || 0..CLIENTS;
    let channel = || 0..CHANNELS;
    let operation = prop_oneof![
        8 => (client(), channel()).prop_map(|(client, key)| Operation::Subscribe(client, key)),
        4 => (client(), channel()).prop_map(|(client, key)| Operation::Unsubscribe(client, key)),
        1 => client().prop_map(Operation::Disconnect),
        1 => channel().prop_map(Operation::Desert),
    ];
    proptest::collection::vec(operation, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_leave_the_index_as_its_model(operations in operations()) {
        play(operations);
    }
}
