//! [`BridgeError`]: why nothing runs, whichever of the front doors was taken.
//!
//! Facts and their sentences; what a person can do about them is the command line's to say.

use std::{error::Error, fmt, io, net::SocketAddr};

use crate::{
    access::{cookie::TokenCookieError, templates::TemplateError},
    channel::ChannelError,
    config::TlsConfigError,
    group_key_file::GroupKeyError,
    pg::{config::ConfigError, function::FunctionNameError},
    startup::ListenError,
    token_file::{KeyFileError, ReloadError, TokenFileError},
};

/// Why a bridge cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum BridgeError {
    /// The connection string is malformed.
    PostgresUrl(ConfigError),
    /// This cannot name a channel.
    Channel(String, ChannelError),
    /// Bridges of a group speak on channels of such names.
    ReservedChannel(String),
    /// This cannot name a group.
    GroupName(String, ChannelError),
    /// The file of a group's secret cannot be read, or has none.
    GroupKey(GroupKeyError),
    /// There is a secret, and no group.
    GroupKeyAlone,
    /// The file of tokens cannot be read, or is none.
    TokenFile(TokenFileError),
    /// A file of keys for JWTs cannot be read, or has none.
    KeyFile(KeyFileError),
    /// There are rules for JWTs, and no keys: they would let nobody in, and everybody.
    JwtWithoutKeys,
    /// Proxies are to say for whom they speak, and none is trusted.
    NoTrustedProxy,
    /// This cannot name a function.
    AuthFunction(FunctionNameError),
    /// No cookie can bring tokens here.
    TokenCookie(TokenCookieError),
    /// A pattern with a claim in it is malformed.
    Template(TemplateError),
    /// There is no speaking TLS with clients.
    Tls(TlsConfigError),
    /// Not `HOST:PORT`, or the host has no address.
    Address(String, io::Error),
    /// Clients and operators are to be served at addresses that one socket alone can have.
    OneAddress(SocketAddr, SocketAddr),
    /// The address cannot be bound.
    Bind(SocketAddr, io::Error),
    /// What the service manager passed is no TCP socket, or does not tell whom it is for.
    Passed(io::Error),
    /// The system refuses something else.
    Io(io::Error),
    /// The thread of the bridge ended before the bridge did: a fault of this crate.
    Ended(io::Error),
}

impl BridgeError {
    /// Whether what was asked for is wrong, rather than what happened.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::PostgresUrl(_)
            | Self::Channel(..)
            | Self::ReservedChannel(_)
            | Self::GroupName(..)
            | Self::GroupKey(_)
            | Self::GroupKeyAlone
            | Self::TokenFile(_)
            | Self::KeyFile(_)
            | Self::JwtWithoutKeys
            | Self::NoTrustedProxy
            | Self::TokenCookie(_)
            | Self::AuthFunction(_)
            | Self::Template(_)
            | Self::Tls(_)
            | Self::OneAddress(..)
            | Self::Address(..) => true,
            Self::Bind(..) | Self::Passed(_) | Self::Io(_) | Self::Ended(_) => false,
        }
    }
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PostgresUrl(error) => write!(f, "PostgreSQL URL: {error}"),
            Self::Channel(name, error) => write!(f, "channel {name:?}: {error}"),
            Self::ReservedChannel(name) => write!(
                f,
                "channel {name:?}: bridges of a group speak on channels of such names"
            ),
            Self::GroupName(name, error) => {
                write!(f, "group {name:?}: its channel cannot be named: {error}")
            }
            Self::GroupKey(error) => error.fmt(f),
            Self::GroupKeyAlone => f.write_str("a group key file, and no group (--group)"),
            Self::TokenFile(error) => error.fmt(f),
            Self::KeyFile(error) => error.fmt(f),
            Self::JwtWithoutKeys => f.write_str(
                "there are rules for JWTs and no keys: give --jwt-key-file or --jwt-jwks-file",
            ),
            Self::NoTrustedProxy => f.write_str(
                "proxies are to say for whom they speak (--proxy-protocol, --proxy-header), and \
                 none is trusted: give --trusted-proxy",
            ),
            Self::TokenCookie(error) => error.fmt(f),
            Self::AuthFunction(error) => error.fmt(f),
            Self::Template(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Address(address, error) if error.kind() == io::ErrorKind::InvalidInput => {
                write!(f, "address {address:?} is not HOST:PORT")
            }
            Self::Address(address, error) => write!(f, "address {address:?}: {error}"),
            Self::OneAddress(clients, operators) => write!(
                f,
                "--ws-bind-addr {clients} and --admin-addr {operators} cannot both be had: clients and \
                 operators need a port each"
            ),
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Passed(error) => write!(f, "socket passed by the service manager: {error}"),
            Self::Io(error) | Self::Ended(error) => error.fmt(f),
        }
    }
}

impl Error for BridgeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match self {
            Self::PostgresUrl(error) => error,
            Self::Channel(_, error) | Self::GroupName(_, error) => error,
            Self::ReservedChannel(_) | Self::GroupKeyAlone => return None,
            Self::GroupKey(error) => error,
            Self::TokenFile(error) => error,
            Self::KeyFile(error) => error,
            Self::JwtWithoutKeys | Self::NoTrustedProxy | Self::OneAddress(..) => return None,
            Self::TokenCookie(error) => error,
            Self::AuthFunction(error) => error,
            Self::Template(error) => error,
            Self::Tls(error) => error,
            Self::Address(_, error)
            | Self::Bind(_, error)
            | Self::Passed(error)
            | Self::Io(error)
            | Self::Ended(error) => error,
        })
    }
}

impl From<ReloadError> for BridgeError {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Tokens(error) => Self::TokenFile(error),
            ReloadError::Keys(error) => Self::KeyFile(error),
        }
    }
}

impl From<ListenError> for BridgeError {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::OneAddress(clients, operators) => Self::OneAddress(clients, operators),
            ListenError::Address(address, error) => Self::Address(address, error),
            ListenError::Bind(address, error) => Self::Bind(address, error),
        }
    }
}
