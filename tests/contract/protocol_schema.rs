//! docs/protocol.schema.json holds in both directions. That each message of a bridge is one of it, the
//! clients of all tests see ([`crate::schema`]).

#[cfg(feature = "tls")]
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{client::Client, harness::bridge_and_database, schema::Definition};
#[cfg(feature = "tls")]
use crate::{
    harness::{Bridge, Database},
    jwt,
    schema::SCHEMA,
    stream::{Line, Stream},
};

/// What this client may say next, and whether the schema has it.
fn requests() -> Vec<(Value, bool)> {
    let long = |bytes| "x".repeat(bytes);
    let since = |epoch: Value, seq: Value| json!({"type": "subscribe", "channel": "c", "since": {"epoch": epoch, "seq": seq}});
    let publish = |payload: Value| json!({"type": "notify", "channel": "c", "payload": payload});
    let channel = |channel: Value| json!({"type": "unsubscribe", "channel": channel});
    let ping = |id: Value| json!({"type": "ping", "id": id});
    vec![
        (json!({"type": "subscribe", "channel": "c"}), true),
        (
            json!({"type": "subscribe", "channel": "c", "id": 1, "new": {}}),
            true,
        ),
        (json!({"type": "subscribe"}), false),
        (since("e".into(), 0.into()), true),
        (since(long(100).into(), u64::MAX.into()), true),
        (since("e".into(), (-1).into()), false),
        (since("e".into(), 1.5.into()), false),
        (since(1.into(), 1.into()), false),
        (
            json!({"type": "subscribe", "channel": "c", "since": {"epoch": "e"}}),
            false,
        ),
        (
            json!({"type": "subscribe", "channel": "c", "since": "e"}),
            false,
        ),
        (
            json!({"type": "subscribe", "channel": "c", "since": null}),
            true,
        ),
        (channel(long(63).into()), true),
        (channel(long(64).into()), false),
        (channel("".into()), false),
        (channel("a\0b".into()), false),
        (channel(1.into()), false),
        (channel(Value::Null), false),
        (publish("".into()), true),
        (publish(long(7_999).into()), true),
        (publish(long(8_000).into()), false),
        (publish("a\0b".into()), false),
        (publish(json!({"a": 1})), false),
        (json!({"type": "notify", "channel": "c"}), false),
        (json!({"type": "ping"}), true),
        (ping(i64::MIN.into()), true),
        (ping(u64::MAX.into()), true),
        (ping(1.5.into()), false),
        (ping(long(128).into()), true),
        (ping(long(129).into()), false),
        (ping(Value::Null), true),
        (ping(json!([])), false),
        (json!({"type": "Ping"}), false),
        (json!({"type": 1}), false),
        (json!({}), false),
        (json!([]), false),
        (json!("ping"), false),
    ]
}

#[test]
fn the_bridge_takes_the_requests_that_the_schema_has_and_no_others() {
    let (bridge, _database) = bridge_and_database();
    let schema = Definition::of("request");
    let mut client = Client::connect(bridge.address);
    for (request, is_right) in requests() {
        assert_eq!(schema.is_valid(&request), is_right, "{request}");
        client.send(&request);
        // A publish without an id is answered only where it is refused.
        let is_silent = request["type"] == "notify" && is_right;
        let answer = (!is_silent).then(|| client.next());
        let is_taken = answer.is_none_or(|answer| answer["type"] != "error");
        assert_eq!(is_taken, is_right, "{request}");
        if request["type"] == "notify" && is_right {
            client.expect_type("notification");
        }
    }
    client.expect_silence();
}

#[cfg(feature = "tls")] // for the tokens
#[test]
fn every_definition_of_a_message_is_one_that_a_bridge_sends() {
    let mut seen = BTreeSet::new();
    let mut note = |message: &Value| {
        let is_end = message.get("code").is_some() && message["type"] != "error";
        let kind = message["type"].as_str().unwrap();
        let name = match (kind, is_end) {
            ("status", true) => "stream_end".to_owned(),
            ("auth", true) => "auth_end".to_owned(),
            (kind, _) => kind.to_owned(),
        };
        seen.insert(name);
    };

    // A socket: each answer, an outage, a token that comes to its end.
    let database = Database::create();
    let (_file, key) = jwt::file(jwt::SECRET);
    let options = ["--jwt-key-file", &key, "--jwt-leeway", "0"];
    let bridge = Bridge::start_with(&database.url(), &options);
    let target = "/sse?channel=c";
    let mut reader =
        Stream::try_open_with(bridge.address, target, &jwt::token("ann", BRIEF)).unwrap();
    note(&reader.expect("subscribed"));
    let mut client = Client::connect(bridge.address);
    let token = jwt::token("ann", 50);
    note(&client.ask(&json!({"type": "auth", "token": token, "id": "a"})));
    note(&client.expect_type("auth_expiring"));
    note(&client.subscribe("c"));
    note(&client.notify("c", "1"));
    note(&client.expect_type("notification"));
    note(&client.ask(&json!({"type": "ping"})));
    note(&client.ask(&json!({"type": "nothing"})));
    note(&client.unsubscribe("d"));
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'alle' AND datname = current_database()";
    assert_eq!(database.sql().run(terminate), ["t"]);
    note(&client.expect_type("status"));
    note(&client.expect_type("gap"));
    while let Line::Event(event) = reader.line_but_comments() {
        note(&event.data);
    }

    // A stream that ends with its bridge.
    let bridge = Bridge::start(&database.url());
    let host = bridge.address.to_string();
    let mut reader = Stream::try_open(bridge.address, &host, target, "").unwrap();
    reader.expect("subscribed");
    bridge.signal("TERM");
    while let Line::Event(event) = reader.line_but_comments() {
        note(&event.data);
    }

    let named = |list: &str| -> BTreeSet<String> {
        let references = SCHEMA["$defs"][list]["oneOf"].as_array().unwrap();
        let names = references.iter().map(|it| it["$ref"].as_str().unwrap());
        names
            .map(|it| it.trim_start_matches("#/$defs/").to_owned())
            .collect()
    };
    let all: BTreeSet<String> = &named("message") | &named("event");
    assert_eq!(seen, all);
}

/// In seconds, the life of the token whose end is waited for; a stream has to be open within it.
#[cfg(feature = "tls")]
const BRIEF: u64 = 5;
