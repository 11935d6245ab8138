//! Channel names and payloads, valid by construction.
//!
//! Bytes from a client become a [`Channel`] and a [`Payload`] once, at the edge; the code below
//! does not check them again. Knows PostgreSQL's limits and nothing else: no SQL, no JSON, no
//! socket.

use std::{borrow::Borrow, error::Error, fmt};

/// The name of a channel: 1 to 63 bytes of UTF-8 without NUL, compared byte by byte.
///
/// PostgreSQL would cut a longer name to `NAMEDATALEN - 1` bytes and fold an unquoted one to lower
/// case (PostgreSQL, "Identifiers and Key Words"); we refuse the first and never do the second.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Box<str>);

impl Channel {
    /// The longest name, in bytes: PostgreSQL's `NAMEDATALEN - 1`.
    pub const BYTES_MAX: usize = 63;

    /// Takes `name` as it is, or says why it cannot name a channel.
    pub fn new(name: &str) -> Result<Self, ChannelError> {
        Self::measured(name, LengthUnit::Utf8)
    }

    /// As [`Self::new`], for a server with another length unit.
    pub fn measured(name: &str, measure: LengthUnit) -> Result<Self, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.len() > measure.bytes_max(Self::BYTES_MAX) {
            return Err(ChannelError::TooLong { bytes: name.len() });
        }
        if name.contains('\0') {
            return Err(ChannelError::Nul);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot name a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelError {
    /// No byte at all.
    Empty,
    /// More than [`Channel::BYTES_MAX`] bytes.
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
    },
    /// The name holds a NUL, which no PostgreSQL text can.
    Nul,
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("channel name is empty"),
            Self::TooLong { bytes } => write!(
                f,
                "channel name has {bytes} bytes, PostgreSQL takes at most {}",
                Channel::BYTES_MAX
            ),
            Self::Nul => f.write_str("channel name contains a NUL character"),
        }
    }
}

impl Error for ChannelError {}

/// A channel known to this process, for as long as anything about it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelKey(pub u32);

impl ChannelKey {
    /// The number, for arrays that hold something per channel.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether the channel is one on which the bridges of a group speak: no client comes near it.
pub fn is_reserved(channel: &str) -> bool {
    channel.starts_with(CONTROL_PREFIX)
}

/// Names that begin so are those of such channels.
pub(crate) const CONTROL_PREFIX: &str = "alle group ";

/// The unit of a server's lengths: PostgreSQL's limits count in its own encoding, ours in UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LengthUnit {
    /// Bytes of UTF-8, as ours: UTF8 and SQL_ASCII.
    #[default]
    Utf8,
    /// Another encoding: only the server knows; a text too long in any encoding is refused here.
    Server,
}

impl LengthUnit {
    /// The unit of a `server_encoding`.
    pub fn of(server_encoding: Option<&str>) -> Self {
        match server_encoding {
            None | Some("UTF8" | "SQL_ASCII") => Self::Utf8,
            Some(_) => Self::Server,
        }
    }

    /// A character of one byte there may take four here.
    fn bytes_max(self, bytes_max: usize) -> usize {
        match self {
            Self::Utf8 => bytes_max,
            Self::Server => 4 * bytes_max,
        }
    }
}

/// The payload of a notification: at most 7,999 bytes of UTF-8 without NUL.
///
/// `NOTIFY_PAYLOAD_MAX_LENGTH` of PostgreSQL is 8,000 with the terminating NUL. It counts in the
/// server's encoding: see [`LengthUnit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Box<str>);

impl Payload {
    /// The longest payload, in bytes.
    pub const BYTES_MAX: usize = 7_999;

    /// Takes `text` as it is, or says why it cannot be a payload.
    pub fn new(text: &str) -> Result<Self, PayloadError> {
        Self::measured(text, LengthUnit::Utf8)
    }

    /// As [`Self::new`], for a server with another length unit.
    pub fn measured(text: &str, measure: LengthUnit) -> Result<Self, PayloadError> {
        if text.len() > measure.bytes_max(Self::BYTES_MAX) {
            return Err(PayloadError::TooLong { bytes: text.len() });
        }
        if text.contains('\0') {
            return Err(PayloadError::Nul);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text cannot be a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// More than [`Payload::BYTES_MAX`] bytes.
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
    },
    /// The text holds a NUL, which no PostgreSQL text can.
    Nul,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                f,
                "payload has {bytes} bytes, PostgreSQL takes at most {}",
                Payload::BYTES_MAX
            ),
            Self::Nul => f.write_str("payload contains a NUL character"),
        }
    }
}

impl Error for PayloadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_1_to_63_bytes_without_nul() {
        assert_eq!(Channel::new(""), Err(ChannelError::Empty));
        assert!(Channel::new(&"x".repeat(62)).is_ok());
        assert!(Channel::new(&"x".repeat(63)).is_ok());
        assert_eq!(
            Channel::new(&"x".repeat(64)),
            Err(ChannelError::TooLong { bytes: 64 })
        );
        assert_eq!(Channel::new("a\0b"), Err(ChannelError::Nul));
        assert!(
            Channel::new(&("🐘".repeat(15) + "abc")).is_ok(),
            "63 bytes of emoji"
        );
        assert!(Channel::new(&"🐘".repeat(16)).is_err(), "64 bytes of emoji");
    }

    #[test]
    fn another_encoding_leaves_the_limit_to_the_server() {
        let (utf8, server) = (LengthUnit::of(Some("UTF8")), LengthUnit::of(Some("LATIN1")));
        assert_eq!(
            (LengthUnit::of(None), LengthUnit::of(Some("SQL_ASCII"))),
            (utf8, utf8)
        );
        for (chars, in_utf8, by_server) in
            [(31, true, true), (32, false, true), (127, false, false)]
        {
            let name = "é".repeat(chars);
            assert_eq!(Channel::measured(&name, utf8).is_ok(), in_utf8, "{chars}");
            assert_eq!(
                Channel::measured(&name, server).is_ok(),
                by_server,
                "{chars}"
            );
        }
        assert!(Payload::measured(&"é".repeat(7_999), utf8).is_err());
        assert!(Payload::measured(&"é".repeat(7_999), server).is_ok());
        assert!(Payload::measured(&"x".repeat(31_997), server).is_err());
    }

    #[test]
    fn channels_are_told_apart_byte_by_byte() {
        assert_ne!(Channel::new("Orders"), Channel::new("orders"));
        for name in ["a\"b", "x; DROP TABLE t", " ", "a.b", "\n"] {
            assert_eq!(Channel::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_payload_has_at_most_7999_bytes_without_nul() {
        assert!(Payload::new("").is_ok());
        assert!(Payload::new(&"x".repeat(7_998)).is_ok());
        assert!(Payload::new(&"x".repeat(7_999)).is_ok());
        assert_eq!(
            Payload::new(&"x".repeat(8_000)),
            Err(PayloadError::TooLong { bytes: 8_000 })
        );
        assert_eq!(Payload::new("\0"), Err(PayloadError::Nul));
    }
}
