//! Whose answer it is, where a message cannot be read as a whole: what has a string that is no Unicode
//! (half of a surrogate pair, which JavaScript cuts off easily) or a number beyond all bounds still has an
//! id, and awaits an answer that has it.
//!
//! Refuses to know what the message wanted.

use serde::Deserialize;
use serde_json::Value;

use super::{CHANNEL_ECHO_BYTES_MAX, Refusal, Request, RequestId};

/// What a message comes to that is not to be read because of `error`.
pub(super) fn refuse(text: &str, error: &serde_json::Error) -> Request {
    let named = serde_json::from_str(text);
    let is_json = named.is_ok();
    let id = named
        .ok()
        .and_then(|WithId { id }| RequestId::parse(id?).ok());
    let channel = serde_json::from_str(text).ok();
    let channel = channel.and_then(|WithChannel { channel }| channel);
    let what = if is_json {
        "a string or number of the message cannot be read"
    } else {
        "not a JSON message"
    };
    Request {
        id,
        message: Err(Refusal {
            channel: channel.filter(|name| name.len() <= CHANNEL_ECHO_BYTES_MAX),
            ..Refusal::bad_message(format!("{what}: {error}"))
        }),
    }
}

/// All but the id is skipped, whatever is in it.
#[derive(Deserialize)]
struct WithId {
    id: Option<Value>,
}

#[derive(Deserialize)]
struct WithChannel {
    channel: Option<String>,
}
