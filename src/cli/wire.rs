//! The JSON messages as a client of a bridge sees them.
//!
//! Types and fields it does not know are ignored, as the protocol asks of clients. The only place
//! of the command line that names serde; knows no frame, no socket, no screen.

use serde::{Deserialize, Serialize};

/// What a client says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Request<'a> {
    /// Asks for a channel's notifications, from `since` on where that is given.
    Subscribe {
        channel: &'a str,
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<&'a Position>,
    },
    /// Asks for no more of them.
    Unsubscribe { channel: &'a str, id: u64 },
    /// Sends one.
    Notify {
        channel: &'a str,
        payload: &'a str,
        id: &'a str,
    },
}

impl Request<'_> {
    /// Its text.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and integers have a JSON form")
    }
}

/// How far a client got on a channel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Position {
    /// One unbroken LISTEN.
    pub(crate) epoch: String,
    /// The last notification of it.
    pub(crate) seq: u64,
}

/// What a bridge says, as far as the command line cares.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Message {
    /// A notification of a channel.
    Notification {
        channel: String,
        payload: String,
        seq: Option<u64>,
    },
    /// A subscription stands.
    Subscribed {
        channel: String,
        id: Option<serde_json::Value>,
        epoch: Option<String>,
        seq: Option<u64>,
        recovered: Option<bool>,
    },
    /// A subscription is no more.
    Unsubscribed {
        channel: String,
        id: Option<serde_json::Value>,
    },
    /// PostgreSQL committed a notification of ours.
    Notified {
        channel: String,
        id: Option<serde_json::Value>,
    },
    /// A request failed, or a subscription is in trouble.
    Error {
        message: String,
        id: Option<serde_json::Value>,
        #[serde(default)]
        code: String,
    },
    /// Something may have been missed.
    Gap {
        channel: String,
        epoch: Option<String>,
        seq: Option<u64>,
    },
    /// PostgreSQL came or went.
    Status { postgres: String },
    /// Anything newer.
    #[serde(other)]
    Other,
}

impl Message {
    /// Reads one message, `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The id of a request in its answer, where it is one of ours.
pub(crate) fn our_id(id: Option<&serde_json::Value>) -> Option<u64> {
    id.and_then(serde_json::Value::as_u64)
}

/// Both halves of a position, or none.
pub(crate) fn position(epoch: Option<String>, seq: Option<u64>) -> Option<Position> {
    Some(Position {
        epoch: epoch?,
        seq: seq?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_words_of_the_protocol() {
        let since = Position {
            epoch: "e".to_owned(),
            seq: 7,
        };
        for (request, json) in [
            (
                Request::Subscribe {
                    channel: "a\"b",
                    id: 1,
                    since: None,
                },
                r#"{"type":"subscribe","channel":"a\"b","id":1}"#,
            ),
            (
                Request::Subscribe {
                    channel: "a",
                    id: 1,
                    since: Some(&since),
                },
                r#"{"type":"subscribe","channel":"a","id":1,"since":{"epoch":"e","seq":7}}"#,
            ),
            (
                Request::Notify {
                    channel: "a",
                    payload: "p",
                    id: "2",
                },
                r#"{"type":"notify","channel":"a","payload":"p","id":"2"}"#,
            ),
        ] {
            assert_eq!(request.to_json(), json);
        }
    }

    #[test]
    fn unknown_types_and_fields_are_ignored_and_nonsense_is_told_apart() {
        assert_eq!(
            Message::parse(r#"{"type":"newer","x":[1]}"#),
            Some(Message::Other)
        );
        assert_eq!(
            Message::parse(r#"{"type":"status","postgres":"up","x":1}"#),
            Some(Message::Status {
                postgres: "up".to_owned()
            })
        );
        assert_eq!(Message::parse(r#"{"type":"notification"}"#), None);
        assert_eq!(Message::parse("hello"), None);
    }
}
