//! Settings that are one word out of a few, and what the words mean.
//!
//! Knows no server and no other setting.

use std::path::PathBuf;

use super::{error::ConfigError, settings::Settings};

/// How much of TLS is demanded (PostgreSQL, "SSL Mode Descriptions"); each more than the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// None at all.
    Disable,
    /// Without at first, with it where the server refuses us.
    Allow,
    /// With it where the server can, else without.
    Prefer,
    /// With it. Who the server is, is checked only where there is a file of root certificates.
    Require,
    /// With it, of a server that a root certificate vouches for.
    VerifyCa,
    /// Moreover the certificate names the host that we asked for.
    VerifyFull,
}

/// Who may vouch for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// Nobody.
    None,
    /// The certificates in this file, should it exist.
    File(PathBuf),
    /// Whom the system trusts.
    System,
}

/// Whether SCRAM is tied to the TLS connection it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it.
    Prefer,
    /// Always; a server that cannot is refused.
    Require,
}

/// Which kind of server is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Whichever answers.
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that takes none.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is.
    Standby,
    /// One that is, else any.
    PreferStandby,
}

/// Which versions of TLS may be spoken; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersions {
    /// TLS 1.2.
    pub tls12: bool,
    /// TLS 1.3.
    pub tls13: bool,
}

impl TargetSessionAttrs {
    /// Whether a server will do that says this of itself, one that says nothing being a primary.
    pub fn accept(self, in_hot_standby: bool, is_read_only: bool) -> bool {
        match self {
            Self::Any => true,
            Self::ReadWrite => !in_hot_standby && !is_read_only,
            Self::ReadOnly => in_hot_standby || is_read_only,
            Self::Primary => !in_hot_standby,
            Self::Standby | Self::PreferStandby => in_hot_standby,
        }
    }

    /// In words, what a server is that will do.
    pub fn description(self) -> &'static str {
        match self {
            Self::Any => "any server",
            Self::ReadWrite => "one that takes writes",
            Self::ReadOnly => "one that is read-only",
            Self::Primary => "a primary",
            Self::Standby | Self::PreferStandby => "a standby",
        }
    }
}

impl SslMode {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl TlsVersions {
    pub(super) fn check(self) -> Result<Self, ConfigError> {
        if self.tls12 || self.tls13 {
            Ok(self)
        } else {
            Err(ConfigError::Value {
                name: "ssl_max_protocol_version",
                value: "TLSv1.2".to_owned(),
            })
        }
    }
}

/// The value of the setting `name`, which must be one of `choices`.
pub(super) fn choose<T: Copy>(
    settings: &mut Settings,
    name: &'static str,
    choices: &[(&str, T)],
) -> Result<Option<T>, ConfigError> {
    let Some(value) = settings.take(name) else {
        return Ok(None);
    };
    let found = choices.iter().find(|(word, _)| *word == value);
    match found {
        Some((_, choice)) => Ok(Some(*choice)),
        None => Err(ConfigError::Value { name, value }),
    }
}
