//! A bridge joins a group of many channels, and is ready once it has really joined.
//!
//! As many channels as a debug build takes in a second; `ALLE_GROUP_CHANNELS` says how many, for an
//! optimized one.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    client::Client,
    group::{come_and_hear, in_group, metric, report},
    harness::{Bridge, Database, wait_until},
};

fn channel_count() -> usize {
    let count = std::env::var("ALLE_GROUP_CHANNELS");
    count.map_or(3_000, |count| count.parse().unwrap())
}

fn name(number: usize) -> String {
    format!("channel number {number}")
}

fn join(database: &Database) -> Bridge {
    in_group(&database.url(), &["--max-channels", "60000"])
}

/// Clients that listen to so many channels, and their position on the last one.
fn gather(bridge: &Bridge, channels: usize) -> (Vec<Client>, Value) {
    let mut last = Value::Null;
    let firsts = (0..channels).step_by(SUBSCRIPTIONS);
    let clients = firsts.map(|first| {
        let mut client = bridge.client();
        let numbers = first..channels.min(first + SUBSCRIPTIONS);
        let messages: Vec<_> = numbers
            .clone()
            .map(|number| json!({"type": "subscribe", "channel": name(number)}))
            .collect();
        client.send_all(&messages);
        for number in numbers {
            last = client.expect_type("subscribed");
            assert_eq!(last["channel"], name(number));
        }
        client
    });
    (clients.collect(), last)
}

fn messages(bridge: &Bridge) -> u64 {
    metric(bridge, "alle_group_messages_total{kind=\"sent\"}")
}

/// What there is to say is said once, and takes few bytes; and what the channels keep is there when the
/// newcomer is ready.
#[test]
fn a_bridge_that_joins_a_group_of_many_channels_is_ready_with_all_of_them() {
    let channels = channel_count();
    let database = Database::create();
    let mut sql = database.sql();
    let one = join(&database);
    let (mut clients, last) = gather(&one, channels);
    let mut spy = database.sql();
    spy.run("LISTEN \"alle group g\"");
    let resident = metric(&one, "process_resident_memory_bytes");

    let began = Instant::now();
    let two = join(&database);
    let took = began.elapsed();
    let knows_all = |bridge: &Bridge| metric(bridge, "alle_group_offsets") == channels as u64;
    wait_until("each knows where the other one stands", || {
        knows_all(&one) && knows_all(&two)
    });
    spy.run("SELECT 1");
    let bytes: usize = spy.heard().iter().map(|(_, payload)| payload.len()).sum();
    assert!(bytes <= 128 * channels, "{bytes} for {channels}");
    let resident = metric(&one, "process_resident_memory_bytes").saturating_sub(resident);
    report(&format!(
        "{channels} idle channels: ready after {took:?}, {} messages of {} bytes a channel, \
         and {} bytes of memory a channel for the peer",
        messages(&one) + messages(&two),
        bytes / channels,
        resident / channels as u64
    ));

    // What happens on a channel is no affair of the group.
    let before = [messages(&one), messages(&two)];
    sql.notify(&name(0), "nothing is said about it");
    clients[0].expect_type("notification");
    drop(two);
    assert_eq!(messages(&one), before[0]);

    let publish = format!(
        "SELECT count(pg_notify('channel number ' || number, repeat('x', 100)))
         FROM generate_series(0, {}) AS number",
        channels - 1
    );
    sql.run(&publish);
    for client in &mut clients {
        for _ in 0..channels.min(SUBSCRIPTIONS) {
            client.expect_type("notification");
        }
    }
    let began = Instant::now();
    let three = join(&database);
    let took = began.elapsed();
    let filled = metric(&three, "alle_group_notifications_filled_total");
    report(&format!(
        "{channels} channels with something: ready after {took:?}, {filled} notifications taken over"
    ));
    let version: u32 = sql.one("SHOW server_version_num").parse().unwrap();
    // Up to 18, LISTEN takes the longer the more channels the session has.
    if version < 190_000 && channels > 10_000 {
        return;
    }
    assert_eq!(filled, channels as u64 + 1);
    let name = name(channels - 1);
    let (answer, heard) = come_and_hear(&three, &name, &last, 1);
    assert_eq!(answer["recovered"], true, "{answer}");
    assert_eq!(heard, ["x".repeat(100)]);
}

/// Of a client, at most.
const SUBSCRIPTIONS: usize = 1_000;
