//! The JSON protocol: what clients may say and what they are told.
//!
//! The only file that names serde. Text in, a [`ClientMessage`] made of valid parts out; a
//! [`ServerMessage`] in, JSON out. Knows no frame, no client and no PostgreSQL.

mod error_code;

pub use self::error_code::ErrorCode;
use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    access::secret::Secret,
    channel::{Channel, LengthUnit, Payload, PayloadError},
};

/// What a client asked, with the id it wants to see in the answer.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// Echoed in the answer, where the client gave one.
    pub id: Option<RequestId>,
    /// The message, or why it is refused.
    pub message: Result<ClientMessage, Refusal>,
}

/// A message of a client, made of valid parts.
#[derive(Debug, PartialEq)]
pub enum ClientMessage {
    /// `{"type":"subscribe","channel":C}`, with `"since":{"epoch":E,"seq":N}` from a client that
    /// comes back.
    Subscribe(Channel, Option<Since>),
    /// `{"type":"unsubscribe","channel":C}`
    Unsubscribe(Channel),
    /// `{"type":"notify","channel":C,"payload":P}`
    Notify(Channel, Payload),
    /// `{"type":"ping"}`: a browser cannot see WebSocket pings.
    Ping,
    /// `{"type":"auth","token":T}`; where it cannot be read, why: only who has said who it is, or
    /// tries to, is told what is wrong with a message.
    Auth(Result<Secret, Refusal>),
}

impl ClientMessage {
    /// The channel it is about.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Subscribe(channel, _) | Self::Unsubscribe(channel) => Some(channel),
            Self::Notify(channel, _) => Some(channel),
            Self::Ping | Self::Auth(_) => None,
        }
    }
}

/// The position on a channel up to which a client has everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The epoch of what it got last.
    pub epoch: Box<str>,
    /// The number of what it got last.
    pub seq: u64,
}

impl Since {
    /// The longest epoch, in bytes.
    pub const EPOCH_BYTES_MAX: usize = 64;
}

/// An id chosen by the client: a JSON string of at most 128 bytes, or an integer of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RequestId {
    /// A JSON integer from zero up.
    Unsigned(u64),
    /// A JSON integer below zero.
    Signed(i64),
    /// A JSON string.
    Text(Box<str>),
}

impl RequestId {
    /// The longest text, in bytes: ids are kept while an answer is awaited.
    pub const BYTES_MAX: usize = 128;

    fn parse(value: Value) -> Result<Self, Refusal> {
        match value {
            Value::Number(number) => number
                .as_u64()
                .map(Self::Unsigned)
                .or_else(|| number.as_i64().map(Self::Signed))
                .ok_or_else(|| Refusal::bad_message("\"id\" must be a string or an integer")),
            Value::String(text) if text.len() <= Self::BYTES_MAX => Ok(Self::Text(text.into())),
            Value::String(_) => Err(Refusal::bad_message("\"id\" is longer than 128 bytes")),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(
                Refusal::bad_message("\"id\" must be a string or an integer"),
            ),
        }
    }
}

/// Why a message is refused; the connection stays.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    /// What kind of refusal it is.
    pub code: ErrorCode,
    /// The same in words.
    pub text: Cow<'static, str>,
    /// The channel it was about, where there was one short enough to repeat.
    pub channel: Option<String>,
}

impl Refusal {
    fn bad_message(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: ErrorCode::BadMessage,
            text: text.into(),
            channel: None,
        }
    }

    /// For a `type` that means nothing here.
    pub fn unknown_type(kind: &str) -> Self {
        Self {
            code: ErrorCode::UnknownType,
            text: format!("unknown message type {:?}", shorten(kind, 64)).into(),
            channel: None,
        }
    }
}

/// A message as it was sent, whatever its fields hold.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Fields {
    #[serde(default, rename = "type")]
    kind: Option<Value>,
    #[serde(default)]
    channel: Option<Value>,
    #[serde(default)]
    payload: Option<Value>,
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    since: Option<Value>,
    #[serde(default)]
    token: Option<Value>,
}

/// Reads a text message of a client of a server that counts by `measure`.
pub fn parse(text: &str, measure: LengthUnit) -> Request {
    let refused = |refusal| Request {
        id: None,
        message: Err(refusal),
    };
    // serde would read an array as the fields in order.
    if text.trim_start().starts_with('[') {
        return refused(Refusal::bad_message(
            "a message is a JSON object, not an array",
        ));
    }
    let mut fields: Fields = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(error) => {
            return refused(Refusal::bad_message(format!("not a JSON message: {error}")));
        }
    };
    match fields.id.take().map(RequestId::parse).transpose() {
        Ok(id) => Request {
            id,
            message: interpret(fields, measure),
        },
        Err(refusal) if fields.kind.is_some_and(|kind| kind == "auth") => Request {
            id: None,
            message: Ok(ClientMessage::Auth(Err(refusal))),
        },
        Err(refusal) => refused(refusal),
    }
}

fn interpret(fields: Fields, measure: LengthUnit) -> Result<ClientMessage, Refusal> {
    let Some(Value::String(kind)) = fields.kind else {
        return Err(Refusal::bad_message("\"type\" is missing or not a string"));
    };
    match kind.as_str() {
        "subscribe" => {
            let channel = parse_channel(fields.channel, measure)?;
            let since = fields.since.map(|since| parse_since(since, &channel));
            Ok(ClientMessage::Subscribe(channel, since.transpose()?))
        }
        "unsubscribe" => parse_channel(fields.channel, measure).map(ClientMessage::Unsubscribe),
        "notify" => {
            let channel = parse_channel(fields.channel, measure)?;
            let payload = parse_payload(fields.payload, &channel, measure)?;
            Ok(ClientMessage::Notify(channel, payload))
        }
        "ping" => Ok(ClientMessage::Ping),
        "auth" => Ok(ClientMessage::Auth(match fields.token {
            Some(Value::String(token)) => Ok(Secret::new(&token)),
            Some(_) | None => Err(Refusal::bad_message("\"token\" is missing or not a string")),
        })),
        _ => Err(Refusal::unknown_type(&kind)),
    }
}

fn parse_channel(value: Option<Value>, measure: LengthUnit) -> Result<Channel, Refusal> {
    let Some(Value::String(name)) = value else {
        return Err(Refusal::bad_message(
            "\"channel\" is missing or not a string",
        ));
    };
    Channel::measured(&name, measure).map_err(|error| Refusal {
        code: ErrorCode::BadChannel,
        text: error.to_string().into(),
        channel: (name.len() <= CHANNEL_ECHO_BYTES_MAX).then_some(name),
    })
}

fn parse_since(value: Value, channel: &Channel) -> Result<Since, Refusal> {
    let epoch = value.get("epoch").and_then(Value::as_str);
    let seq = value.get("seq").and_then(Value::as_u64);
    match (epoch, seq) {
        // No epoch of ours is longer: that one is unknown, and not worth keeping.
        (Some(epoch), Some(seq)) => Ok(Since {
            epoch: if epoch.len() <= Since::EPOCH_BYTES_MAX {
                epoch
            } else {
                ""
            }
            .into(),
            seq,
        }),
        _ => {
            let text = "\"since\" needs an \"epoch\", a string, and a \"seq\", a number from 0";
            let channel = Some(channel.as_str().to_owned());
            Err(Refusal {
                channel,
                ..Refusal::bad_message(text)
            })
        }
    }
}

fn parse_payload(
    value: Option<Value>,
    channel: &Channel,
    measure: LengthUnit,
) -> Result<Payload, Refusal> {
    let Some(Value::String(text)) = value else {
        let text = "\"payload\" is missing or not a string";
        let channel = Some(channel.as_str().to_owned());
        return Err(Refusal {
            channel,
            ..Refusal::bad_message(text)
        });
    };
    Payload::measured(&text, measure).map_err(|error| Refusal {
        code: match error {
            PayloadError::TooLong { .. } => ErrorCode::PayloadTooLarge,
            PayloadError::Nul => ErrorCode::BadMessage,
        },
        text: error.to_string().into(),
        channel: Some(channel.as_str().to_owned()),
    })
}

/// What a client is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// PostgreSQL notified the channel.
    Notification {
        /// The channel.
        channel: &'a str,
        /// What it carries.
        payload: &'a str,
        /// The channel's notifications counted from 1 within its epoch.
        seq: u64,
        /// True when the payload was not UTF-8 and bytes of it were replaced.
        #[serde(skip_serializing_if = "is_false")]
        lossy: bool,
    },
    /// The subscription holds: PostgreSQL confirmed the LISTEN.
    Subscribed {
        /// The channel.
        channel: &'a str,
        /// Names the unbroken LISTEN.
        epoch: &'a str,
        /// The last notification before this subscription; where it recovered, the last one
        /// before what follows.
        seq: u64,
        /// Where the client said since when: whether it misses nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        /// As asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// Nothing more of this channel arrives.
    Unsubscribed {
        /// The channel.
        channel: &'a str,
        /// As asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// PostgreSQL committed the notification of this id.
    Notified {
        /// The channel.
        channel: &'a str,
        /// As asked.
        id: &'a RequestId,
    },
    /// Something may have been missed on the channel; from here on it is complete again.
    Gap {
        /// The channel.
        channel: &'a str,
        /// Names the new LISTEN.
        epoch: &'a str,
        /// The last notification before this point.
        seq: u64,
        /// What happened.
        reason: GapReason,
    },
    /// The listening session came or went.
    Status {
        /// Whether it hears.
        postgres: PostgresStatus,
    },
    /// The answer to [`ClientMessage::Ping`].
    Pong {
        /// As asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// The client is known from now on.
    Authenticated {
        /// As asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// Something was refused or failed.
    Error {
        /// In words, for people.
        message: &'a str,
        /// The kind, for programs.
        code: ErrorCode,
        /// The channel it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
        /// As asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// With `payload_too_large`: the most bytes a payload may have.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        /// With `postgres_error`: the SQLSTATE (PostgreSQL, "Error Codes").
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<&'a str>,
    },
}

impl<'a> ServerMessage<'a> {
    /// An error, without what only some codes carry.
    pub fn error(
        code: ErrorCode,
        message: &'a str,
        channel: Option<&'a str>,
        id: Option<&'a RequestId>,
    ) -> Self {
        let limit = (code == ErrorCode::PayloadTooLarge).then_some(Payload::BYTES_MAX);
        let message = shorten(message, TEXT_BYTES_MAX);
        Self::Error {
            message,
            code,
            channel,
            id,
            limit,
            sqlstate: None,
        }
    }

    /// An error reported by PostgreSQL.
    pub fn postgres_error(
        message: &'a str,
        sqlstate: &'a str,
        channel: &'a str,
        id: Option<&'a RequestId>,
    ) -> Self {
        Self::Error {
            message: shorten(message, TEXT_BYTES_MAX),
            code: ErrorCode::PostgresError,
            channel: Some(channel),
            id,
            limit: None,
            sqlstate: Some(sqlstate),
        }
    }

    /// Appends the JSON.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("a Vec takes every write and no map has odd keys");
    }
}

/// Why a channel may have missed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The listening session was lost and is back.
    PostgresReconnect,
    /// Whoever feeds notifications to a stand-alone server dropped some.
    Overflow,
}

/// Whether the listening session hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresStatus {
    /// Connected, and every wanted channel is listened to.
    Up,
    /// Not so; it is being tried for ever.
    Down,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// The longest prefix of `text` of at most `bytes_max` bytes that ends between characters.
/// (`str::floor_char_boundary` is younger than our oldest compiler.)
fn shorten(text: &str, bytes_max: usize) -> &str {
    let mut fitting = (0..=bytes_max.min(text.len())).rev();
    let end = fitting.find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// A bad channel name is repeated in its error up to this length, in bytes.
const CHANNEL_ECHO_BYTES_MAX: usize = 256;
/// Texts of errors are cut to this length, in bytes: PostgreSQL's may have megabytes.
const TEXT_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
