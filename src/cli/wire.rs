//! The JSON messages, from a client's point of view.
//!
//! Unknown types and fields are ignored, as the protocol asks of clients. The only place of the
//! command line that names serde; knows no frame, no socket, no screen.

use serde::{Deserialize, Serialize};

/// A message of a client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Request<'a> {
    /// Asks for a channel's notifications, from `since` on if that is given.
    Subscribe {
        channel: &'a str,
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<&'a Position>,
    },
    /// Ends a subscription.
    Unsubscribe { channel: &'a str, id: u64 },
    /// Publishes a notification.
    Notify {
        channel: &'a str,
        payload: &'a str,
        id: RequestId<'a>,
    },
}

/// The id of a publish.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum RequestId<'a> {
    /// One of many on a connection.
    Number(u64),
    /// One that nobody guesses.
    Text(&'a str),
}

impl Request<'_> {
    /// The JSON text.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and integers have a JSON form")
    }
}

/// The position of a client on a channel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Position {
    /// The name of an unbroken LISTEN.
    pub(crate) epoch: String,
    /// The number of its last notification.
    pub(crate) seq: u64,
}

/// A message of a bridge, with the fields that the command line uses.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Message {
    /// A notification of a channel.
    Notification {
        channel: String,
        payload: String,
        seq: Option<u64>,
    },
    /// A subscription is confirmed.
    Subscribed {
        channel: String,
        id: Option<serde_json::Value>,
        epoch: Option<String>,
        seq: Option<u64>,
        recovered: Option<bool>,
    },
    /// A subscription has ended.
    Unsubscribed {
        channel: String,
        id: Option<serde_json::Value>,
    },
    /// PostgreSQL committed a notification of ours.
    Notified {
        channel: String,
        id: Option<serde_json::Value>,
    },
    /// A request failed, or a subscription has an error.
    Error {
        message: String,
        channel: Option<String>,
        id: Option<serde_json::Value>,
        #[serde(default)]
        code: String,
    },
    /// Notifications may be missing.
    Gap {
        channel: String,
        epoch: Option<String>,
        seq: Option<u64>,
    },
    /// PostgreSQL was lost or is back.
    Status { postgres: String },
    /// A message of a newer protocol.
    #[serde(other)]
    Other,
}

impl Message {
    /// Parses one message; `None` if the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The id in an answer, if it is one of ours.
pub(crate) fn our_id(id: Option<&serde_json::Value>) -> Option<u64> {
    id.and_then(serde_json::Value::as_u64)
}

/// An id that is a text.
pub(crate) fn text_id(id: &serde_json::Value) -> Option<&str> {
    id.as_str()
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
                    id: RequestId::Text("2"),
                },
                r#"{"type":"notify","channel":"a","payload":"p","id":"2"}"#,
            ),
            (
                Request::Notify {
                    channel: "a",
                    payload: "",
                    id: RequestId::Number(3),
                },
                r#"{"type":"notify","channel":"a","payload":"","id":3}"#,
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
