//! What a fuzzer asserts about a text message of a client, with serde_json as the judge of what
//! JSON is.

use alle::{
    channel::{Channel, Measure, Payload},
    message::{self, ClientMessage, ErrorCode, Refusal, Request, RequestId, ServerMessage},
};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// What is taken says what was written, and what is refused is refused for what is wrong with it.
pub fn client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let request = message::parse(text, Measure::Utf8);
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        let refusal = request.message.as_ref().expect_err("it is not even JSON");
        assert_eq!(refusal.code, ErrorCode::BadMessage);
        assert_eq!(request.id, None, "there is no id in what is not JSON");
    }
    // A number out of range, in a field nobody looks at, is JSON and yet no `Value`.
    let value = serde_json::from_str::<Value>(text).ok();
    if let (Some(value), Some(id)) = (&value, &request.id) {
        assert_eq!(value["id"], id_as_value(id));
    }
    match &request.message {
        Ok(taken) => {
            if let Some(value) = &value {
                check_taken(taken, value);
            }
            assert_eq!(
                message::parse(&written(&request, taken), Measure::Utf8),
                request
            );
        }
        Err(refusal) => check_refused(refusal, value.as_ref(), request.id.as_ref()),
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

fn check_refused(refusal: &Refusal, value: Option<&Value>, id: Option<&RequestId>) {
    let field = |name: &str| value.and_then(|value| value[name].as_str());
    match refusal.code {
        ErrorCode::BadMessage => {}
        ErrorCode::UnknownType => assert!(!field("type").is_some_and(|kind| {
            ["subscribe", "unsubscribe", "notify", "ping", "auth"].contains(&kind)
        })),
        ErrorCode::BadChannel => {
            assert!(field("channel").is_none_or(|name| Channel::new(name).is_err()));
        }
        ErrorCode::PayloadTooLarge => {
            assert!(field("payload").is_none_or(|text| text.len() > Payload::BYTES_MAX));
        }
        ErrorCode::TooManySubscriptions
        | ErrorCode::RateLimited
        | ErrorCode::Unauthorized
        | ErrorCode::Forbidden
        | ErrorCode::Cancelled
        | ErrorCode::PostgresDown
        | ErrorCode::PostgresError
        | ErrorCode::UnknownOutcome => panic!("a text alone is no reason for {:?}", refusal.code),
    }
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

/// The message as JSON, by another hand than the parser's.
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
    if let ClientMessage::Auth(Some(token)) = taken {
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
