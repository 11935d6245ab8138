//! The assertions of a fuzzer about a text message of a client, with serde_json as the judge of
//! JSON.

use std::fmt;

use alle::{
    Channel, Payload,
    internals::{
        channel::LengthUnit,
        message::{self, ClientMessage, ErrorCode, Refusal, Request, RequestId, ServerMessage},
    },
};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};

/// An accepted message has the content of the text, and a refused one is refused for its error.
pub fn client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let request = message::parse(text, LengthUnit::Utf8);
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        let refusal = request.message.as_ref().expect_err("it is not even JSON");
        assert_eq!(refusal.code, ErrorCode::BadMessage);
        assert_eq!(request.id, None, "there is no id in what is not JSON");
    }
    // A number out of range, in a field that is ignored, is JSON and yet no `Value`.
    let value = serde_json::from_str::<Value>(text).ok();
    if let (Some(value), Some(id)) = (&value, &request.id) {
        assert_eq!(value["id"], id_as_value(id));
    }
    if let Some(value) = &value {
        let code = request.message.as_ref().err().map(|refusal| refusal.code);
        assert_eq!(code, judge(text, value).err(), "{text}");
    }
    match &request.message {
        Ok(taken) => {
            if let Some(value) = &value {
                check_taken(taken, value);
            }
            // The bridge may refuse it or ignore the error.
            if let ClientMessage::Auth(Err(refusal)) = taken {
                check_refused(refusal, request.id.as_ref());
            } else {
                let again = message::parse(&written(&request, taken), LengthUnit::Utf8);
                assert_eq!(again, request);
            }
        }
        Err(refusal) => check_refused(refusal, request.id.as_ref()),
    }
}

fn check_taken(taken: &ClientMessage, value: &Value) {
    assert!(value.is_object(), "a message is an object");
    let (kind, channel, payload) = parts(taken);
    assert_eq!(value["type"], kind);
    if let Some(channel) = channel {
        assert_eq!(value["channel"], channel.as_str());
        assert_eq!(Channel::new(channel.as_str()).as_ref(), Ok(channel));
    }
    if let Some(payload) = payload {
        assert_eq!(value["payload"], payload.as_str());
        assert_eq!(Payload::new(payload.as_str()).as_ref(), Ok(payload));
    }
}

/// The protocol's meaning of the message, independent of the parser.
fn judge(text: &str, value: &Value) -> Result<(), ErrorCode> {
    let string = |name: &str| value[name].as_str().ok_or(ErrorCode::BadMessage);
    let channel = || match string("channel")? {
        name if (1..=63).contains(&name.len()) && !name.contains('\0') => Ok(()),
        _ => Err(ErrorCode::BadChannel),
    };
    if !value.is_object() || has_twins(text) {
        return Err(ErrorCode::BadMessage);
    }
    let is_id = match &value["id"] {
        Value::Null => true,
        Value::Number(id) => id.is_u64() || id.is_i64(),
        Value::String(id) => id.len() <= 128,
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    // An "auth" is accepted, together with its error.
    if !is_id && value["type"] != "auth" {
        return Err(ErrorCode::BadMessage);
    }
    match string("type")? {
        "ping" | "auth" => Ok(()),
        "unsubscribe" => channel(),
        "subscribe" => {
            channel()?;
            let since = &value["since"];
            let is_position = since["epoch"].is_string() && since["seq"].is_u64();
            let is_sound = since.is_null() || is_position;
            is_sound.then_some(()).ok_or(ErrorCode::BadMessage)
        }
        "notify" => {
            channel()?;
            match string("payload")? {
                payload if payload.len() > 7_999 => Err(ErrorCode::PayloadTooLarge),
                payload if payload.contains('\0') => Err(ErrorCode::BadMessage),
                _ => Ok(()),
            }
        }
        _ => Err(ErrorCode::UnknownType),
    }
}

/// Whether a field of ours occurs twice, of which a [`Value`] shows the last.
fn has_twins(text: &str) -> bool {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some((name, IgnoredAny)) = map.next_entry()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    let names = serde_json::Deserializer::from_str(text).deserialize_map(Fields);
    let mut names = names.expect("it is an object");
    names.retain(|name| {
        ["type", "channel", "payload", "id", "since", "token"].contains(&name.as_str())
    });
    let count = names.len();
    names.sort();
    names.dedup();
    names.len() < count
}

fn check_refused(refusal: &Refusal, id: Option<&RequestId>) {
    let mut answer = Vec::new();
    ServerMessage::error(refusal.code, &refusal.text, refusal.channel.as_deref(), id)
        .append_to(&mut answer);
    assert!(
        answer.len() <= ANSWER_BYTES_MAX,
        "an answer is bounded, whatever was asked"
    );
    let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    assert_eq!(answer["type"], "error");
    assert_eq!(answer["id"], id.map_or(Value::Null, id_as_value));
}

/// The message as JSON, independent of the parser.
fn written(request: &Request, taken: &ClientMessage) -> String {
    let (kind, channel, payload) = parts(taken);
    let mut value = json!({ "type": kind });
    if let Some(channel) = channel {
        value["channel"] = channel.as_str().into();
    }
    if let Some(payload) = payload {
        value["payload"] = payload.as_str().into();
    }
    if let Some(id) = &request.id {
        value["id"] = id_as_value(id);
    }
    if let ClientMessage::Subscribe(_, Some(since)) = taken {
        value["since"] = json!({ "epoch": &*since.epoch, "seq": since.seq });
    }
    if let ClientMessage::Auth(Ok(token)) = taken {
        value["token"] = token.expose().into();
    }
    value.to_string()
}

fn parts(taken: &ClientMessage) -> (&'static str, Option<&Channel>, Option<&Payload>) {
    match taken {
        ClientMessage::Subscribe(channel, _) => ("subscribe", Some(channel), None),
        ClientMessage::Unsubscribe(channel) => ("unsubscribe", Some(channel), None),
        ClientMessage::Notify(channel, payload) => ("notify", Some(channel), Some(payload)),
        ClientMessage::Ping => ("ping", None, None),
        ClientMessage::Auth(_) => ("auth", None, None),
    }
}

fn id_as_value(id: &RequestId) -> Value {
    match id {
        RequestId::Unsigned(number) => (*number).into(),
        RequestId::Signed(number) => (*number).into(),
        RequestId::Text(text) => (**text).into(),
    }
}

/// A text, an id and a channel at their longest, each byte six in JSON.
const ANSWER_BYTES_MAX: usize = 9 * 1024;
