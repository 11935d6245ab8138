//! Channel names on a server of another encoding than ours: whether it keeps a name to the letter.
//!
//! Such a server converts what we say: it may turn a character into another one, and counts the
//! length of the name by itself. It would cut the name with a mere notice, which a setting may hide,
//! and hear another channel than was asked for. So it is asked for the name itself before LISTEN, and
//! notifies only where it keeps the name.
//! Knows neither SQL nor the order of requests.

use super::ServerError;
use crate::channel::{Channel, LengthUnit};

/// A name that the server was asked for.
#[derive(Debug)]
pub(super) struct Name {
    channel: Channel,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    /// No row came yet.
    None,
    Kept,
    Changed,
    TooLong {
        bytes: usize,
    },
}

/// Whether the server is to be asked before it listens: all encodings of servers have ASCII as it
/// is.
pub(super) fn is_doubtful(channel: &Channel, server_encoding: Option<&str>) -> bool {
    let name = channel.as_str();
    let is_plain = name.is_ascii() && name.len() <= Channel::BYTES_MAX;
    LengthUnit::of(server_encoding) == LengthUnit::Server && !is_plain
}

impl Name {
    pub(super) fn new(channel: &Channel) -> Self {
        Self {
            channel: channel.clone(),
            verdict: Verdict::None,
        }
    }

    /// The name is not kept, unless [`Self::handle_kept`].
    pub(super) fn unless_kept(channel: &Channel) -> Self {
        Self {
            channel: channel.clone(),
            verdict: Verdict::Changed,
        }
    }

    /// The server keeps the name.
    pub(super) fn handle_kept(&mut self) {
        self.verdict = Verdict::Kept;
    }

    /// The row of the answer: the length there, in bytes, and the name as it came back.
    pub(super) fn handle_row(&mut self, bytes: usize, name: &[u8]) {
        self.verdict = if bytes > Channel::BYTES_MAX {
            Verdict::TooLong { bytes }
        } else if name == self.channel.as_str().as_bytes() {
            Verdict::Kept
        } else {
            Verdict::Changed
        };
    }

    /// The answer is complete: the channel, if it can be listened to.
    pub(super) fn into_channel(self) -> Result<Channel, ServerError> {
        let (sqlstate, message) = match self.verdict {
            Verdict::Kept => return Ok(self.channel),
            Verdict::None => (
                INVALID_NAME,
                "the server did not answer for the name".to_owned(),
            ),
            Verdict::Changed => (
                INVALID_NAME,
                "the server's encoding turns the name into another one, or makes it too long"
                    .to_owned(),
            ),
            Verdict::TooLong { bytes } => (
                NAME_TOO_LONG,
                format!(
                    "channel name has {bytes} bytes in the server's encoding, PostgreSQL takes at \
                     most {}",
                    Channel::BYTES_MAX
                ),
            ),
        };
        Err(ServerError {
            severity: "ERROR".to_owned(),
            sqlstate: sqlstate.to_owned(),
            message,
            ..ServerError::default()
        })
    }
}

/// `name_too_long`, also of the notice that a name was cut.
pub(super) const NAME_TOO_LONG: &str = "42622";
/// `invalid_name`
const INVALID_NAME: &str = "42602";

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::measured(name, LengthUnit::Server).unwrap()
    }

    #[test]
    fn only_what_another_encoding_may_change_is_asked_for() {
        let x63 = "x".repeat(63);
        let x64 = "x".repeat(64);
        for (name, encoding, is_asked) in [
            ("é", Some("UTF8"), false),
            ("é", Some("SQL_ASCII"), false),
            ("é", None, false),
            ("é", Some("EUC_JP"), true),
            ("e", Some("EUC_JP"), false),
            (&x63, Some("LATIN1"), false),
            (&x64, Some("LATIN1"), true),
        ] {
            let row = (name, encoding);
            assert_eq!(is_doubtful(&channel(name), encoding), is_asked, "{row:?}");
        }
    }

    #[test]
    fn a_name_is_kept_if_it_comes_back_to_the_letter_and_short_enough() {
        for (bytes, text, sqlstate) in [
            (1, "é", ""),
            (63, "é", ""),
            (64, "é", NAME_TOO_LONG),
            (1, "e", INVALID_NAME),
            (1, "", INVALID_NAME),
        ] {
            let mut name = Name::new(&channel("é"));
            name.handle_row(bytes, text.as_bytes());
            let error = name.into_channel().err();
            let told = error.as_ref().map_or("", |error| error.sqlstate.as_str());
            assert_eq!(told, sqlstate, "{bytes} {text}");
            assert!(error.is_none_or(|error| error.is_about_name()));
        }
        let silent = Name::new(&channel("é")).into_channel();
        assert_eq!(silent.unwrap_err().sqlstate, INVALID_NAME);
    }
}
