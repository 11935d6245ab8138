//! docs/protocol.schema.json holds: each message that a bridge sends to a client of these tests is
//! one of it, with no property that is not there; and the bridge takes what it says a client may send.

use std::{
    collections::BTreeSet,
    sync::{LazyLock, Mutex},
};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::{client::Client, harness::bridge_and_database};
#[cfg(feature = "tls")]
use crate::{
    harness::{Bridge, Database},
    jwt,
    stream::{Line, Stream},
};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../docs/protocol.schema.json")).unwrap()
});
static MESSAGES: LazyLock<Validator> = LazyLock::new(|| validator("message"));
static EVENTS: LazyLock<Validator> = LazyLock::new(|| validator("event"));
static ANSWERS: LazyLock<Validator> = LazyLock::new(|| validator("answer"));

/// One definition of the schema. The file lets readers ignore what a later version may add; this
/// version sends nothing that is not in it.
fn validator(definition: &str) -> Validator {
    let mut definitions = SCHEMA["$defs"].clone();
    for (_, it) in definitions.as_object_mut().unwrap() {
        if it.get("properties").is_some() {
            it["additionalProperties"] = false.into();
        }
    }
    let schema = json!({
        "$schema": SCHEMA["$schema"],
        "$ref": format!("#/$defs/{definition}"),
        "$defs": definitions,
    });
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn check(validator: &Validator, message: &Value) {
    if let Err(error) = validator.validate(message) {
        panic!("not in docs/protocol.schema.json: {message}: {error}");
    }
}

/// A message that a WebSocket received.
#[track_caller]
pub fn check_message(message: &Value) {
    check(&MESSAGES, message);
}

/// The `data:` of an event, and the event's name.
#[track_caller]
pub fn check_event(name: &str, data: &Value) {
    check(&EVENTS, data);
    let kind = &data["type"];
    assert!(
        if kind == "notification" {
            name.is_empty()
        } else {
            kind == name
        },
        "{name:?}: {data}"
    );
}

/// The body of the answer to a publish by HTTP.
#[track_caller]
pub fn check_answer(body: &Value) {
    check(&ANSWERS, body);
}

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
    let schema = {
        let root = json!({"$ref": "#/$defs/request", "$defs": SCHEMA["$defs"]});
        jsonschema::validator_for(&root).unwrap()
    };
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
    let seen = Mutex::new(BTreeSet::new());
    let note = |message: &Value| {
        let is_end = message.get("code").is_some() && message["type"] != "error";
        let kind = message["type"].as_str().unwrap();
        let name = match (kind, is_end) {
            ("status", true) => "stream_end".to_owned(),
            ("auth", true) => "auth_end".to_owned(),
            (kind, _) => kind.to_owned(),
        };
        seen.lock().unwrap().insert(name);
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
    assert_eq!(*seen.lock().unwrap(), all);
}

/// In seconds, the life of the token whose end is waited for; a stream has to be open within it.
const BRIEF: u64 = 5;
