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
        1 => channel().prop_map(Operation::Intern),
        8 => (client(), channel()).prop_map(|(client, name)| Operation::Subscribe(client, name)),
        4 => (client(), channel()).prop_map(|(client, name)| Operation::Unsubscribe(client, name)),
        1 => client().prop_map(Operation::Leave),
        1 => channel().prop_map(Operation::Release),
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
