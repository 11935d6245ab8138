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

/// A NOTIFY failed: where the server's encoding lacks a character, it is said whether that is one of
/// the `name`, if that is doubtful, or of the payload. The server converts the name first.
pub(super) fn blame(error: &mut ServerError, name: Option<&Name>) {
    if error.sqlstate != UNTRANSLATABLE_CHARACTER {
        return;
    }
    let character = character(&error.message);
    let is_of_name = character.is_some_and(|character| {
        name.is_some_and(|name| name.channel.as_str().contains(&character))
    });
    let whose = if is_of_name {
        INVALID_NAME.clone_into(&mut error.sqlstate);
        "name of the channel"
    } else {
        "payload"
    };
    error.message = format!(
        "the server's encoding lacks a character of the {whose}: {}",
        error.message
    );
}

/// The character that a server names by its bytes, in whatever language: `0xe6 0xbc 0xa2`.
fn character(message: &str) -> Option<String> {
    let bytes = message.split(' ').filter_map(|word| {
        let digits = word.strip_prefix("0x")?;
        u8::from_str_radix(digits, 16).ok()
    });
    String::from_utf8(bytes.collect())
        .ok()
        .filter(|it| !it.is_empty())
}

/// `untranslatable_character`
const UNTRANSLATABLE_CHARACTER: &str = "22P05";
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

    #[test]
    fn a_character_that_the_encoding_lacks_is_of_the_name_or_else_of_the_payload() {
        let bytes =
            "character with byte sequence 0xe6 0xbc 0xa2 in encoding \"UTF8\" has no equivalent";
        let german = "Zeichen mit Byte-Folge 0xe6 0xbc 0xa2 in Kodierung »UTF8«";
        for (name, sqlstate, message, expected, whose) in [
            (Some("漢字"), "22P05", bytes, INVALID_NAME, "of the name"),
            (Some("漢字"), "22P05", german, INVALID_NAME, "of the name"),
            (Some("é"), "22P05", bytes, "22P05", "of the payload"),
            (None, "22P05", bytes, "22P05", "of the payload"),
            (Some("漢"), "22P05", "no bytes", "22P05", "of the payload"),
            (Some("漢"), "22P05", "0xe6 0xbc", "22P05", "of the payload"),
            (Some("漢"), "22023", bytes, "22023", "character with"),
        ] {
            let name = name.map(|name| Name::unless_kept(&channel(name)));
            let mut error = ServerError {
                sqlstate: sqlstate.to_owned(),
                message: message.to_owned(),
                ..ServerError::default()
            };
            blame(&mut error, name.as_ref());
            assert_eq!(error.sqlstate, expected);
            let is_told = error.message.contains(whose) && error.message.ends_with(message);
            assert!(is_told, "{}", error.message);
        }
    }
}
