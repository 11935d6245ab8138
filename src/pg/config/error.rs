//! Why a connection string is refused, by cause.
//!
//! The facts and their sentences, none with a password in it. Knows no grammar.

use std::{error::Error, fmt};

/// Why a connection string cannot be used.
///
/// No variant holds text that may be a piece of a password: an unencoded `/`, `@` or `&` in one
/// shifts the later parts, so only the names and values of parameters are repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// It does not begin with `postgres://` or `postgresql://`.
    Scheme,
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
    /// A list of hosts or ports.
    SeveralHosts,
    /// Not a port; repeated only where it cannot be a piece of a password.
    Port {
        /// What stood there.
        value: Option<String>,
    },
    /// A parameter we do not know.
    UnknownParameter {
        /// Its name.
        name: String,
    },
    /// A parameter without `=`.
    ParameterWithoutValue,
    /// A parameter with a second, unencoded `=`.
    ParameterWithTwoValues {
        /// Its name.
        name: String,
    },
    /// A known parameter whose value makes no sense.
    Value {
        /// Its name.
        name: &'static str,
        /// What stood there.
        value: String,
    },
    /// `sslmode` demands what we cannot do.
    TlsUnsupported {
        /// What was asked for.
        sslmode: String,
    },
    /// Nothing says which role to log in as.
    UserMissing,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => {
                f.write_str("connection string does not begin with postgres:// or postgresql://")
            }
            Self::PercentEncoding { part } => write!(f, "invalid percent-encoding in {part}"),
            Self::NotUtf8 { part } => write!(f, "{part} is not UTF-8"),
            Self::Nul { part } => write!(f, "{part} contains a NUL character"),
            Self::Brackets => f.write_str(
                "IPv6 address is not of the form [address], optionally followed by :port",
            ),
            Self::StrayAt => {
                f.write_str("host contains '@' (one in a user name or password is written %40)")
            }
            Self::SeveralHosts => f.write_str("several hosts not supported yet"),
            Self::Port { value: None } => f.write_str(
                "port is not a number from 1 to 65535 \
                 (in a password '/' is written %2F and '@' %40)",
            ),
            Self::Port { value: Some(value) } => {
                write!(f, "port \"{value}\" is not a number from 1 to 65535")
            }
            Self::UnknownParameter { name } => write!(f, "unknown parameter \"{name}\""),
            Self::ParameterWithoutValue => f.write_str("a parameter has no '='"),
            Self::ParameterWithTwoValues { name } => {
                write!(
                    f,
                    "parameter \"{name}\" has a second '=' (in a value it is written %3D)"
                )
            }
            Self::Value { name, value } => write!(f, "invalid {name} \"{value}\""),
            Self::TlsUnsupported { sslmode } => {
                write!(
                    f,
                    "TLS is not supported yet, and sslmode \"{sslmode}\" demands it"
                )
            }
            Self::UserMissing => f.write_str(
                "no user name: write one as in postgres://USER@HOST/DATABASE, or set PGUSER",
            ),
        }
    }
}

impl Error for ConfigError {}
