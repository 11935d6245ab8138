//! The JSON protocol: the messages of clients and the messages to them.
//!
//! With what stands below it, the only file that names serde. Text in, a [`ClientMessage`] made of valid parts out; a
//! [`ServerMessage`] in, JSON out. Knows no frame, no client and no PostgreSQL.

mod error_code;
mod kept;
mod unreadable;

pub use self::{error_code::ErrorCode, kept::kept_payload};
use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    access::secret::Secret,
    channel::{Channel, LengthUnit, Payload},
};

/// A request of a client, with the id to be echoed in the answer.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// Echoed in the answer, if the client gave one.
    pub id: Option<RequestId>,
    /// The message, or the reason for its refusal.
    pub message: Result<ClientMessage, Refusal>,
}

/// A message of a client, made of valid parts.
#[derive(Debug, PartialEq)]
pub enum ClientMessage {
    /// `{"type":"subscribe","channel":C}`, with `"since":{"epoch":E,"seq":N}` from a client that
    /// resumes.
    Subscribe(Channel, Option<Since>),
    /// `{"type":"unsubscribe","channel":C}`
    Unsubscribe(Channel),
    /// `{"type":"notify","channel":C,"payload":P}`
    Notify(Channel, Payload),
    /// `{"type":"ping"}`: a browser cannot see WebSocket pings.
    Ping,
    /// `{"type":"auth","token":T}`, or the error in it: a client that is not authenticated is told
    /// the errors of an `auth` alone.
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

/// A position on a channel: the client has every notification up to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The epoch of the last notification it received.
    pub epoch: Box<str>,
    /// The number of that notification.
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
    /// The longest text, in bytes: an id is kept until its answer is sent.
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
    /// The kind of the refusal.
    pub code: ErrorCode,
    /// The reason in words.
    pub text: Cow<'static, str>,
    /// The channel of the message, if there was one short enough to repeat.
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

/// A message as it was sent, its fields unchecked.
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

/// Parses a client's text message; `measure` is the length unit of the PostgreSQL server.
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
        Err(error) => return unreadable::refuse(text, &error),
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
        // None of our epochs is longer: this one is unknown, and not kept.
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
        code: ErrorCode::of_payload(&error),
        text: error.to_string().into(),
        channel: Some(channel.as_str().to_owned()),
    })
}

/// A message to a client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// PostgreSQL notified the channel.
    Notification {
        /// The channel.
        channel: &'a str,
        /// The payload.
        payload: &'a str,
        /// The number of the notification, counted from 1 within the channel's epoch.
        seq: u64,
        /// True when the payload was not UTF-8 and bytes of it were replaced.
        #[serde(skip_serializing_if = "is_false")]
        lossy: bool,
    },
    /// The subscription is active: PostgreSQL confirmed the LISTEN.
    Subscribed {
        /// The channel.
        channel: &'a str,
        /// The name of the unbroken LISTEN.
        epoch: &'a str,
        /// The number of the last notification before this subscription; with a recovery, of the
        /// last one before the recovered ones.
        seq: u64,
        /// Whether no notification is missing, if the client sent a `since`.
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        /// The id of the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// No further notification of this channel arrives.
    Unsubscribed {
        /// The channel.
        channel: &'a str,
        /// The id of the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// PostgreSQL committed the notification of the request with this id.
    Notified {
        /// The channel.
        channel: &'a str,
        /// The id of the request; a request without one is HTTP's, and the answer is its response.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// Notifications of the channel may be missing; from here on it is complete again.
    Gap {
        /// The channel.
        channel: &'a str,
        /// The name of the new LISTEN.
        epoch: &'a str,
        /// The number of the last notification before this point.
        seq: u64,
        /// The cause of the gap.
        reason: GapReason,
    },
    /// The listening session was lost or is back.
    Status {
        /// The state of the listening session.
        postgres: PostgresStatus,
    },
    /// An event stream ends, and its reader may come again.
    #[serde(rename = "status")]
    StreamEnd {
        /// The code with which a WebSocket would be closed.
        code: u16,
        /// The reason in words.
        message: &'a str,
    },
    /// An event stream ends, since the token of its reader is no longer valid.
    #[serde(rename = "auth")]
    AuthEnd {
        /// The code with which a WebSocket would be closed.
        code: u16,
        /// The reason in words.
        message: &'a str,
    },
    /// The answer to [`ClientMessage::Ping`].
    Pong {
        /// The id of the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// The client's token comes to its end: another one is wanted, by [`ClientMessage::Auth`].
    AuthExpiring {
        /// Until then.
        #[serde(rename = "in")]
        seconds: u64,
    },
    /// The client is authenticated.
    Authenticated {
        /// The id of the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// A request was refused, or failed.
    Error {
        /// The error in words, for people.
        message: &'a str,
        /// The kind of the error, for programs.
        code: ErrorCode,
        /// The channel of the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
        /// The id of the request.
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
    /// An error without the fields that only some codes have.
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

    /// The name of the message as an event: its `type`. A notification has none, as that is what a
    /// reader of events waits for.
    pub fn event_name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Notification { .. } => return None,
            Self::Subscribed { .. } => "subscribed",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Notified { .. } => "notified",
            Self::Gap { .. } => "gap",
            Self::Status { .. } | Self::StreamEnd { .. } => "status",
            Self::AuthExpiring { .. } => "auth_expiring",
            Self::AuthEnd { .. } => "auth",
            Self::Pong { .. } => "pong",
            Self::Authenticated { .. } => "authenticated",
            Self::Error { .. } => "error",
        })
    }

    /// Appends the JSON.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("a Vec takes every write and no map has odd keys");
    }
}

/// Why notifications of a channel may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The listening session was lost and is back.
    PostgresReconnect,
    /// The source of a stand-alone server's notifications dropped some.
    Overflow,
    /// What a reader of events missed while it was away is not kept any more, or never was.
    NotRecovered,
}

/// The state of the listening session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresStatus {
    /// Connected, and every wanted channel is listened to.
    Up,
    /// Not connected, or a wanted channel is not listened to; the bridge retries without end.
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
/// Error texts are cut to this length, in bytes: a text of PostgreSQL may have megabytes.
const TEXT_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
