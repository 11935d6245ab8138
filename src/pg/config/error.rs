//! Why a connection string is refused, by cause.
//!
//! The facts and their sentences, none with a password in it. Knows no grammar.

use std::{error::Error, fmt, path::PathBuf};

/// Why a connection string cannot be used.
///
/// No variant holds text that may be a piece of a password: an unencoded `/`, `@` or `&` in one
/// shifts the later parts, so only the names and values of parameters are repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Neither a connection URI nor keywords and values.
    Scheme,
    /// A keyword without `=`; not repeated, for it may be a piece of a password with a space.
    KeywordWithoutValue,
    /// A `'` that is not closed.
    QuoteOpen,
    /// A `%` without two hexadecimal digits behind it.
    PercentEncoding {
        /// Where.
        part: &'static str,
    },
    /// The decoded bytes are not UTF-8.
    NotUtf8 {
        /// Where.
        part: &'static str,
    },
    /// A NUL, which would end the text early on the wire.
    Nul {
        /// Where.
        part: &'static str,
    },
    /// An `[IPv6]` address that is empty, not closed, or followed by more than a port.
    Brackets,
    /// A second `@`.
    StrayAt,
    /// A list of addresses or ports that is not as long as that of the hosts.
    ListLengths {
        /// Which.
        name: &'static str,
    },
    /// `hostaddr` alone, where the certificate must name the host.
    HostMissing,
    /// No service file has it.
    ServiceUnknown {
        /// The wanted one.
        service: String,
    },
    /// The service file that was asked for is not there.
    ServiceFileMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A service file is there and cannot be used.
    ServiceFileUnusable {
        /// Which file.
        path: PathBuf,
        /// Why, as the end of a sentence that begins with the file.
        why: String,
    },
    /// A line of the service file that is no setting.
    ServiceFile {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// What it asks for, we cannot do.
    Unsupported {
        /// Its name.
        name: &'static str,
    },
    /// `sslrootcert=system` trusts so many that the name has to be checked.
    SystemRootsNeedVerifyFull,
    /// `sslnegotiation=direct` leaves no way back to a connection without TLS.
    DirectNeedsRequire,
    /// Not a port; repeated only where it cannot be a piece of a password.
    Port {
        /// What stood there.
        value: Option<String>,
    },
    /// A parameter we do not know.
    UnknownParameter {
        /// Its name; `None` where it may be a piece of the password.
        name: Option<String>,
    },
    /// A parameter without `=`.
    ParameterWithoutValue,
    /// A parameter with a second, unencoded `=`.
    ParameterWithTwoValues {
        /// Its name; `None` where it may be a piece of the password.
        name: Option<String>,
    },
    /// A known parameter whose value makes no sense.
    Value {
        /// Its name.
        name: &'static str,
        /// What stood there.
        value: String,
    },
    /// The same, where the value may be a piece of the password.
    ValueNotShown {
        /// Its name.
        name: &'static str,
    },
    /// Nothing says which role to log in as.
    UserMissing {
        /// The user of this process, who has no name.
        user_id: u32,
    },
    /// `requirepeer` names a user that this system does not have.
    PeerUnknown {
        /// The name.
        name: String,
    },
    /// The files around the program, or a name looked up before, do not answer.
    LookupHangs,
}

impl ConfigError {
    /// `is_secret`: the name may be a piece of the password.
    pub(super) fn unknown(name: &str, is_secret: bool) -> Self {
        Self::UnknownParameter {
            name: (!is_secret).then(|| Self::shown(name)),
        }
    }

    /// Without a text that may be a piece of the password.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "those that repeat a value, out of all"
    )]
    pub(super) fn without_secrets(self, is_doubtful: impl Fn(&str) -> bool) -> Self {
        let name = match self {
            Self::Value { name, .. } => name,
            Self::Port { .. } => "port",
            _ => return self,
        };
        if is_doubtful(name) {
            return Self::ValueNotShown { name };
        }
        self
    }

    /// A name as it may be repeated.
    pub(super) fn shown(name: &str) -> String {
        name.chars().take(NAME_CHARS_MAX).collect()
    }
}

/// Whether `text` may be the name of a parameter.
pub(super) fn is_word(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !text.is_empty()
}

/// Longer than any name we know.
const NAME_CHARS_MAX: usize = 40;

impl fmt::Display for ConfigError {
    #[expect(clippy::too_many_lines, reason = "a sentence for each cause")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str(
                "connection string does not begin with postgres:// or postgresql://, \
                 nor with KEYWORD=: it is written as postgresql://USER@HOST/DATABASE",
            ),
            Self::KeywordWithoutValue => f.write_str(
                "a keyword has no '=' (a value with a space is written between single quotes)",
            ),
            Self::QuoteOpen => f.write_str("a single quote is not closed"),
            Self::PercentEncoding { part } => write!(f, "invalid percent-encoding in {part}"),
            Self::NotUtf8 { part } => write!(f, "{part} is not UTF-8"),
            Self::Nul { part } => write!(f, "{part} contains a NUL character"),
            Self::Brackets => f.write_str(
                "IPv6 address is not of the form [address], optionally followed by :port",
            ),
            Self::StrayAt => {
                f.write_str("host contains '@' (one in a user name or password is written %40)")
            }
            Self::ListLengths { name } => {
                write!(
                    f,
                    "{name} is a list of another length than that of the hosts"
                )
            }
            Self::HostMissing => {
                f.write_str("sslmode \"verify-full\" needs a host, not only a hostaddr")
            }
            Self::ServiceUnknown { service } => {
                write!(
                    f,
                    "no service file has a definition of service \"{service}\""
                )
            }
            Self::ServiceFileMissing { path } => {
                write!(f, "service file \"{}\" not found", path.display())
            }
            Self::ServiceFileUnusable { path, why } => {
                write!(
                    f,
                    "service file \"{}\" cannot be used: it {why}",
                    path.display()
                )
            }
            Self::ServiceFile { path, line } => {
                write!(f, "{}:{line}: no setting of a service", path.display())
            }
            Self::Unsupported { name } => write!(f, "parameter \"{name}\" is not supported"),
            Self::SystemRootsNeedVerifyFull => {
                f.write_str("sslrootcert \"system\" demands sslmode \"verify-full\"")
            }
            Self::DirectNeedsRequire => f.write_str(
                "sslnegotiation \"direct\" demands sslmode \"require\" or a stronger one",
            ),
            Self::Port { value: None } => f.write_str(
                "port is not a number from 1 to 65535 \
                 (in a password '/' is written %2F and '@' %40)",
            ),
            Self::Port { value: Some(value) } => {
                write!(f, "port \"{value}\" is not a number from 1 to 65535")
            }
            Self::UnknownParameter { name: Some(name) } => {
                write!(f, "unknown parameter \"{name}\"")
            }
            Self::UnknownParameter { name: None } => f.write_str(
                "unknown parameter behind a password, perhaps a piece of it (a value with a space \
                 is written between single quotes; in a URL ' ' is written %20, '&' %26, '/' %2F)",
            ),
            Self::ParameterWithoutValue => f.write_str("a parameter has no '='"),
            Self::ParameterWithTwoValues { name: Some(name) } => write!(
                f,
                "parameter \"{name}\" has a second '=' (in a value it is written %3D)"
            ),
            Self::ParameterWithTwoValues { name: None } => {
                f.write_str("a parameter has a second '=' (in a value it is written %3D)")
            }
            Self::ValueNotShown { name } => write!(
                f,
                "invalid {name} (not repeated, since it stands behind a password){}",
                hint(name)
            ),
            Self::Value { name, value } => {
                write!(f, "invalid {name} \"{value}\"{}", hint(name))
            }
            Self::UserMissing { user_id } => write!(
                f,
                "no user name, and user {user_id} of this system has none in /etc/passwd: write one \
                 as in postgres://USER@HOST/DATABASE, or set PGUSER"
            ),
            Self::PeerUnknown { name } => write!(
                f,
                "requirepeer names \"{name}\", of which /etc/passwd knows nothing"
            ),
            Self::LookupHangs => f.write_str(
                "a look-up hangs: of a host's name, or of a file (the password file, the service \
                 file, sslrootcert, sslcert, sslkey) on a file system that does not answer",
            ),
        }
    }
}

impl Error for ConfigError {}

/// What the setting `name` may be, to append to an error, where that is worth a word.
fn hint(name: &str) -> &'static str {
    match name {
        "sslmode" => ": it is disable, allow, prefer, require, verify-ca or verify-full",
        "channel_binding" => ": it is disable, prefer or require",
        "target_session_attrs" => {
            ": it is any, read-write, read-only, primary, standby or prefer-standby"
        }
        _ => "",
    }
}
