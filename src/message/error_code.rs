//! Why a request is refused: every code, one row each.
//!
//! The row is the only place: the word that clients see, the label in metrics, the list of all and
//! the table of `README.md` are laid out from it. Refuses to know who refuses what.

use serde::{Serialize, Serializer};

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

            /// What the rows say, for the table of the docs.
            #[cfg(test)]
            const MEANINGS: [&'static str; Self::LABELS.len()] = [$(concat!($($doc),*)),*];
        }
    };
}

error_codes! {
    /// Not JSON, a field missing or of the wrong type, a NUL in a payload, a binary frame.
    BadMessage = "bad_message",
    /// A `type` that we do not know.
    UnknownType = "unknown_type",
    /// Not a channel name: empty, over 63 bytes, or with a NUL.
    BadChannel = "bad_channel",
    /// A payload over 7,999 bytes; `limit` says so.
    PayloadTooLarge = "payload_too_large",
    /// The client has as many subscriptions as it may.
    TooManySubscriptions = "too_many_subscriptions",
    /// The bridge listens to as many channels as it may, and each of them is in use.
    TooManyChannels = "too_many_channels",
    /// Too much is waiting already; try again later.
    RateLimited = "rate_limited",
    /// The client has not said who it is yet, or its token is wrong.
    Unauthorized = "unauthorized",
    /// The client may not do this on this channel.
    Forbidden = "forbidden",
    /// An unsubscribe overtook this subscribe.
    Cancelled = "cancelled",
    /// PostgreSQL is not connected; nothing was sent.
    PostgresDown = "postgres_down",
    /// PostgreSQL refused it; `sqlstate` says why.
    PostgresError = "postgres_error",
    /// It was sent, and the connection died before the answer, or the bridge stopped: it may or may
    /// not be committed, and is not sent again.
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
    fn the_table_of_error_codes_in_the_readme_is_that_of_the_program() {
        let rows = ErrorCode::LABELS.iter().zip(ErrorCode::MEANINGS);
        let rows = rows.map(|(label, meaning)| format!("| `{label}` |{meaning} |\n"));
        let table = format!(
            "\n| error code | why |\n| --- | --- |\n{}\n",
            rows.collect::<String>()
        );
        laid_out::check("README.md", "src/message/error_code.rs", &table);
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
