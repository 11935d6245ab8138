//! How a session or a request fails, by cause.
//!
//! The facts and their sentences (PostgreSQL, "Error and Notice Message Fields"; appendix "Error
//! Codes"). Does not know when to try again.

mod refusal;

use std::{error::Error, fmt};

pub use self::refusal::{Origin, Refusal};
use super::text::text_until_nul;
use crate::escape::escaped;

/// What the server says in an ErrorResponse or a NoticeResponse.
///
/// The server chose these texts: `Display` keeps them on one line, and each is cut to
/// [`ServerError::TEXT_BYTES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `WARNING`, ...; not localised where the server is 9.6 or newer.
    pub severity: String,
    /// The five characters of the SQLSTATE, empty if the server sent none.
    pub sqlstate: String,
    /// What is wrong.
    pub message: String,
    /// More about it.
    pub detail: Option<Box<str>>,
    /// What the server would do about it.
    pub hint: Option<Box<str>>,
    /// Which step of a session's beginning says so.
    pub origin: Origin,
}

impl ServerError {
    /// The longest text kept of a field, in bytes: enough for a log line.
    pub const TEXT_BYTES_MAX: usize = 4096;

    /// Reads the fields of `body`, or `None` if they are malformed.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut error = Self::default();
        let mut rest = body;
        loop {
            let (&field, text) = rest.split_first()?;
            if field == 0 {
                return Some(error).filter(|_| text.is_empty());
            }
            let (text, behind) = text_until_nul(text)?;
            rest = behind;
            let text = || bounded_text(text);
            match field {
                b'V' => error.severity = text(),
                // The localised severity comes before 'V', and alone from old servers.
                b'S' if error.severity.is_empty() => error.severity = text(),
                b'C' => error.sqlstate = text(),
                b'M' => error.message = text(),
                b'D' => error.detail = Some(text().into()),
                b'H' => error.hint = Some(text().into()),
                b'R' => error.origin = Origin::of(&text()),
                _ => {}
            }
        }
    }

    /// Whether LISTEN failed because an entry of the queue of notifications is so old that the
    /// server no longer knows what became of its transaction. It fails until the server forgets the
    /// entry, which it does when it measures the queue. The text may be in any language; the code,
    /// of a missing file, nothing else has here.
    pub fn is_lost_transaction_status(&self) -> bool {
        self.sqlstate == "58P01"
    }

    /// Whether a LISTEN failed for the channel's name: it is too long, or the server's encoding has
    /// not all of its characters, or turns one into another.
    pub fn is_about_name(&self) -> bool {
        // name_too_long, invalid_name, untranslatable_character, character_not_in_repertoire
        ["42622", "42602", "22P05", "22021"].contains(&self.sqlstate.as_str())
    }

    /// Whether a NOTIFY failed for the channel's name alone.
    pub fn is_about_name_alone(&self) -> bool {
        // name_too_long, invalid_name
        ["42622", "42602"].contains(&self.sqlstate.as_str())
    }

    /// Whether the server ends the session with it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

/// The text of a field, made UTF-8 and cut to [`ServerError::TEXT_BYTES_MAX`].
pub(super) fn bounded_text(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(ServerError::TEXT_BYTES_MAX)];
    String::from_utf8_lossy(bytes).into_owned()
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            escaped(&self.severity),
            escaped(&self.sqlstate),
            escaped(&self.message)
        )?;
        if let Some(detail) = &self.detail {
            write!(f, "; {}", escaped(detail))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {}", escaped(hint))?;
        }
        Ok(())
    }
}

impl Error for ServerError {}

/// A backend that does not speak the protocol, or not the part of it that we do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A length no message of ours has.
    Length {
        /// The message's tag.
        tag: u8,
        /// The length it announced, in bytes.
        bytes: u32,
    },
    /// A message whose body is not what its tag promises.
    Malformed {
        /// The message's tag.
        tag: u8,
    },
    /// A message that cannot come now.
    Unexpected {
        /// The message's tag.
        tag: u8,
    },
    /// A COPY we never asked for.
    Copy {
        /// The message's tag.
        tag: u8,
    },
    /// The backend answered and sits in a transaction block, where it delivers no notification.
    TransactionOpen {
        /// The status it reported.
        status: u8,
    },
    /// Not the backend's fault: a configured text contains a NUL, which no message can hold.
    Nul,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { tag, bytes } => {
                write!(
                    f,
                    "message '{}' announces {bytes} bytes",
                    tag.escape_ascii()
                )
            }
            Self::Malformed { tag } => write!(f, "malformed message '{}'", tag.escape_ascii()),
            Self::Unexpected { tag } => write!(f, "unexpected message '{}'", tag.escape_ascii()),
            Self::Copy { tag } => {
                write!(
                    f,
                    "message '{}' of a copy nobody asked for",
                    tag.escape_ascii()
                )
            }
            Self::TransactionOpen { status } => {
                write!(
                    f,
                    "backend is in a transaction block (status '{}')",
                    status.escape_ascii()
                )
            }
            Self::Nul => f.write_str("user, database, password or options contain a NUL character"),
        }
    }
}

impl Error for ProtocolError {}

/// Why we and the server do not believe each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The server wants a method we do not speak.
    MethodUnsupported {
        /// Its name.
        method: String,
    },
    /// `require_auth` does not allow what the server wants.
    MethodNotAllowed {
        /// Its name there.
        method: &'static str,
    },
    /// The server wants a password and there is none.
    PasswordMissing,
    /// The server wants the password in the clear, over a network.
    CleartextRefused,
    /// The server broke the SCRAM exchange, or does not know our password's verifier.
    Scram {
        /// How.
        cause: String,
    },
    /// Its verifier takes longer than connecting may.
    IterationsTooMany {
        /// How many there are.
        iterations: u32,
    },
    /// The server says we are in without having proved who it is, as SCRAM demands.
    ServerUnproven,
    /// `channel_binding=require` demands what this connection cannot give.
    BindingMissing(BindingError),
}

/// Why SCRAM cannot be tied to the connection it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingError {
    /// There is no TLS to tie it to.
    NoTls,
    /// The server asks for something else than SCRAM-SHA-256-PLUS.
    NotOffered,
    /// The certificate is signed in a way that names no hash, such as Ed25519.
    NoHash,
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MethodUnsupported { method } => {
                write!(
                    f,
                    "server asks for {}, which is not supported",
                    escaped(method)
                )
            }
            Self::MethodNotAllowed { method } => write!(
                f,
                "server asks for authentication method \"{method}\", which require_auth does not \
                 allow"
            ),
            Self::IterationsTooMany { iterations } => write!(
                f,
                "the password's verifier on the server has {iterations} iterations of SCRAM, which \
                 take longer than connecting may"
            ),
            Self::PasswordMissing => f.write_str("server asks for a password and none is given"),
            Self::CleartextRefused => f.write_str(
                "server asks for the password in clear text, which is not sent over a network",
            ),
            Self::Scram { cause } => write!(f, "SCRAM exchange failed: {}", escaped(cause)),
            Self::ServerUnproven => {
                f.write_str("server skipped its own proof at the end of the SCRAM exchange")
            }
            Self::BindingMissing(cause) => write!(
                f,
                "channel binding is required, and {}",
                match cause {
                    BindingError::NoTls => "the connection is not encrypted",
                    BindingError::NotOffered => "the server does not ask for SCRAM-SHA-256-PLUS",
                    BindingError::NoHash => {
                        "the signature of the server's certificate has no hash to bind to"
                    }
                }
            ),
        }
    }
}

impl Error for AuthenticationError {}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The server ended it.
    Server(ServerError),
    /// The server could not even begin: what it said instead of a message, such as that it could
    /// not fork.
    NotBegun(String),
    /// Something else than PostgreSQL answers there.
    NotPostgres {
        /// What it speaks.
        protocol: &'static str,
    },
    /// The server's bytes make no sense.
    Protocol(ProtocolError),
    /// Authentication came to nothing on our side.
    Authentication(AuthenticationError),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::NotBegun(text) => write!(f, "server cannot begin a session: {}", escaped(text)),
            Self::NotPostgres { protocol } => write!(
                f,
                "what answers there speaks {protocol}, not PostgreSQL's protocol"
            ),
            Self::Protocol(error) => write!(f, "protocol violation: {error}"),
            Self::Authentication(error) => error.fmt(f),
        }
    }
}

impl Error for SessionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Server(error) => Some(error),
            Self::Protocol(error) => Some(error),
            Self::Authentication(error) => Some(error),
            Self::NotBegun(_) | Self::NotPostgres { .. } => None,
        }
    }
}

impl From<ProtocolError> for SessionError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<AuthenticationError> for SessionError {
    fn from(error: AuthenticationError) -> Self {
        Self::Authentication(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_shown_on_one_line() {
        let body = b"SFEHLER\0VERROR\0C22023\0Mtoo\nlong\x1b[0m\0Ddetail\0Hhint\0Fasync.c\0\0";
        let error = ServerError::parse(body).unwrap();
        assert_eq!(error.severity, "ERROR");
        assert_eq!(error.sqlstate, "22023");
        assert_eq!(
            error.to_string(),
            "ERROR 22023: too\\nlong\\u{1b}[0m; detail; hint"
        );
        assert!(!error.is_fatal());
        assert!(ServerError::parse(b"SFATAL\0\0").unwrap().is_fatal());
        assert!(
            ServerError::parse(b"VFATAL\0SFATALE\0\0")
                .unwrap()
                .is_fatal()
        );
    }

    #[test]
    fn malformed_fields_are_refused_and_long_ones_cut() {
        for body in [
            &b""[..],
            b"S",
            b"SERROR",
            b"SERROR\0",
            b"\0\0",
            b"SERROR\0\0x",
        ] {
            assert_eq!(ServerError::parse(body), None, "{body:?}");
        }
        for (sent, kept) in [(4095, 4095), (4096, 4096), (4097, 4096)] {
            let body = [b"M", &vec![b'x'; sent][..], b"\0\0"].concat();
            assert_eq!(ServerError::parse(&body).unwrap().message.len(), kept);
        }
        assert_eq!(
            ServerError::parse(b"M\xff\0\0").unwrap().message,
            "\u{fffd}"
        );
    }
}
