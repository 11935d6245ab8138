//! docs/protocol.schema.json: whether a message of the bridge is one of it, with no property that is not there.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

/// The file.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
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
