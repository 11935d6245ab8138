//! Why a request is refused: every code, one row each.
//!
//! The row is the only place: the code that clients see, the label in metrics, the list of all
//! codes and the table of `docs/protocol.md` are made from it. Refuses to know the callers that refuse.

use serde::{Serialize, Serializer};

use crate::channel::PayloadError;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $name:ident = $label:literal,)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[doc = $doc])* $name,)*
        }

        impl ErrorCode {
            /// The labels of all codes.
            pub const LABELS: [&'static str; [$($label),*].len()] = [$($label),*];

            /// The word that clients see, and the code's label in metrics.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }

            /// The text of each row, for the table of the docs.
            #[cfg(test)]
            const MEANINGS: [&'static str; Self::LABELS.len()] = [$(concat!($($doc),*)),*];
        }
    };
}

impl ErrorCode {
    /// Why this is no payload.
    pub(crate) fn of_payload(error: &PayloadError) -> Self {
        match error {
            PayloadError::TooLong { .. } => Self::PayloadTooLarge,
            PayloadError::Nul => Self::BadMessage,
        }
    }
}

error_codes! {
    /// Not JSON, a field missing or of the wrong type, a NUL in a payload, a binary frame.
    BadMessage = "bad_message",
    /// An unknown `type`.
    UnknownType = "unknown_type",
    /// Not a channel name: empty, over 63 bytes, with a NUL, or with a character that the encoding of
    /// the database has not, or turns into another one.
    BadChannel = "bad_channel",
    /// A payload over 7,999 bytes; `limit` says so.
    PayloadTooLarge = "payload_too_large",
    /// The client has reached its limit of subscriptions.
    TooManySubscriptions = "too_many_subscriptions",
    /// The bridge has reached its limit of channels, and each of them is in use; or few are left, and
    /// they are for clients that have fewer for themselves.
    TooManyChannels = "too_many_channels",
    /// Too much is waiting already; try again later.
    RateLimited = "rate_limited",
    /// The client is not authenticated yet, or its token is wrong.
    Unauthorized = "unauthorized",
    /// The client has no permission for this on this channel.
    Forbidden = "forbidden",
    /// An unsubscribe overtook this subscribe.
    Cancelled = "cancelled",
    /// PostgreSQL is not connected; nothing was sent.
    PostgresDown = "postgres_down",
    /// PostgreSQL refused the request; `sqlstate` says why.
    PostgresError = "postgres_error",
    /// The request was sent, and the connection was lost or the bridge stopped before the answer:
    /// it may or may not be committed, and is not sent again.
    UnknownOutcome = "unknown_outcome",
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::laid_out;

    #[test]
    fn the_table_of_error_codes_in_the_docs_is_that_of_the_program() {
        let rows = ErrorCode::LABELS.iter().zip(ErrorCode::MEANINGS);
        let rows = rows.map(|(label, meaning)| format!("| `{label}` |{meaning} |\n"));
        let table = format!(
            "\n| error code | why |\n| --- | --- |\n{}\n",
            rows.collect::<String>()
        );
        laid_out::check("docs/protocol.md", "src/message/error_code.rs", &table);
    }

    #[test]
    fn the_schema_has_every_error_code() {
        let schema = include_str!("../../docs/protocol.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let codes = &schema["$defs"]["error"]["properties"]["code"]["enum"];
        assert_eq!(*codes, serde_json::json!(ErrorCode::LABELS));
    }

    #[test]
    fn a_label_is_the_word_that_clients_see() {
        let seen = serde_json::to_value(ErrorCode::TooManyChannels).unwrap();
        assert_eq!(seen, "too_many_channels");
        let labels: BTreeSet<_> = ErrorCode::LABELS.into();
        assert_eq!(labels.len(), ErrorCode::LABELS.len(), "no two are alike");
        let is_word = |label: &str| label.chars().all(|it| it.is_ascii_lowercase() || it == '_');
        assert!(labels.into_iter().all(is_word));
    }
}
