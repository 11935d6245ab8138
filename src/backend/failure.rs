//! Why a session ended, and what to do about it, in words.
//!
//! Knows what each cause says of the way that was tried; not when another is.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::route::Reached;
use crate::pg::{config::ConfigError, session::SessionError};

/// What ended a session, or kept it from beginning.
pub(super) enum Cause<'a> {
    /// The settings, which were read anew.
    Settings(&'a ConfigError),
    /// The connection; the words complete the sentence "connection ...".
    Connection(&'a str, io::ErrorKind),
    /// TLS.
    Tls(&'a str),
    /// The session itself, and whether the server had believed who we are.
    Session {
        error: &'a SessionError,
        is_admitted: bool,
        is_secure: bool,
        /// The file of the password that was refused.
        password_file: Option<PathBuf>,
    },
    /// The server is not of this kind.
    OtherKind(&'static str),
    /// The server lets us in and is of no use.
    Unfit(Unfit),
}

/// Why nothing came of a round of attempts.
#[derive(Debug)]
pub struct Failure {
    /// The server that was tried last.
    pub address: String,
    /// What was wrong with it.
    pub error: FailureError,
    /// Where the password was found that the server refused.
    pub password_file: Option<PathBuf>,
}

/// What was wrong with a server.
#[derive(Clone, Debug)]
pub enum FailureError {
    /// What lies around the connection string makes no sense any more.
    Settings(ConfigError),
    /// The connection.
    Connection(io::ErrorKind, String),
    /// The server let us in, and is of no use.
    Unfit(Unfit),
    /// The server did not let us in, or we did not trust it.
    Session(Box<SessionError>),
}

/// Why a server will not do, though it lets us in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Nobody can LISTEN or NOTIFY on a standby.
    Standby,
    /// What one session says the other does not hear, and neither is served by the process it was
    /// told it is served by.
    Pooler,
    /// What one session says the other does not hear.
    Deaf,
}

impl Unfit {
    /// What is wrong, in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Standby => "is a standby in recovery, where nobody can LISTEN",
            Self::Pooler => {
                "is reached through a pooler that does not keep sessions apart: \
                 what one session notifies, the other does not hear"
            }
            Self::Deaf => "does not deliver: what one session notifies, the other does not hear",
        }
    }

    /// What to do about it, in words.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Standby => "name the primary, or all servers of the cluster",
            Self::Pooler => {
                "connect to PostgreSQL itself or to a pool in session mode; \
                 --pg-listen-url does so for the listening session alone"
            }
            Self::Deaf => "both sessions must reach the same database of the same server",
        }
    }
}

impl Failure {
    /// What to do about it, in words, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match &self.error {
            FailureError::Connection(io::ErrorKind::ConnectionRefused, _) => {
                Some("start PostgreSQL there, or check the host, the port and listen_addresses")
            }
            FailureError::Connection(io::ErrorKind::TimedOut, _) => {
                Some("check the host, and the firewalls in between")
            }
            FailureError::Connection(..) => Some("check the host, and what lies between"),
            FailureError::Settings(_) => None,
            FailureError::Unfit(unfit) => Some(unfit.remedy()),
            FailureError::Session(error) => error.remedy(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.error {
            FailureError::Settings(error) => write!(f, "PostgreSQL settings: {error}"),
            FailureError::Connection(_, why) => write!(f, "PostgreSQL at {address}: {why}"),
            FailureError::Unfit(unfit) => write!(f, "PostgreSQL at {address} {}", unfit.text()),
            FailureError::Session(error) => {
                let found = FoundIn(self.password_file.as_deref());
                write!(f, "PostgreSQL at {address}: {error}{found}")
            }
        }
    }
}

/// The words of libpq for a password that was nowhere said.
struct FoundIn<'a>(Option<&'a Path>);

impl fmt::Display for FoundIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, "; password retrieved from file \"{}\"", path.display()),
            None => Ok(()),
        }
    }
}

impl Cause<'_> {
    /// The sentence for the log.
    pub(super) fn complaint(&self, address: &str) -> String {
        match self {
            Self::Settings(error) => format!("PostgreSQL settings: {error}"),
            Self::Connection(why, _) | Self::Tls(why) => {
                format!("connection to PostgreSQL at {address} {why}")
            }
            Self::Session {
                error,
                password_file,
                ..
            } => {
                let remedy = error.remedy().map(|remedy| format!(" ({remedy})"));
                let remedy = remedy.unwrap_or_default();
                let found = FoundIn(password_file.as_deref());
                format!("PostgreSQL at {address}: {error}{found}{remedy}")
            }
            Self::OtherKind(wanted) => {
                format!("PostgreSQL at {address} is not {wanted}, as target_session_attrs demands")
            }
            Self::Unfit(unfit) => {
                let (text, remedy) = (unfit.text(), unfit.remedy());
                format!("PostgreSQL at {address} {text} ({remedy})")
            }
        }
    }

    /// How far it came.
    pub(super) fn reached(&self) -> Reached {
        match self {
            Self::Connection(..) => Reached::Nobody,
            Self::Tls(_) => Reached::Tls,
            Self::OtherKind(_) | Self::Unfit(_) => Reached::OtherKind,
            Self::Session {
                error: SessionError::Server(error),
                is_admitted: false,
                is_secure,
                ..
            } => Reached::Refusal {
                is_secure: *is_secure,
                is_unavailable: error.sqlstate == CANNOT_CONNECT_NOW,
            },
            Self::Settings(_) | Self::Session { .. } => Reached::End,
        }
    }

    /// What the server lacks, where it lets us in.
    pub(super) fn unfit(&self) -> Option<Unfit> {
        match self {
            Self::Unfit(unfit) => Some(*unfit),
            Self::Settings(_)
            | Self::Connection(..)
            | Self::Tls(_)
            | Self::Session { .. }
            | Self::OtherKind(_) => None,
        }
    }

    /// Whether only a person can help.
    pub(super) fn is_configuration(&self) -> bool {
        match self {
            Self::Session { error, .. } => error.is_configuration(),
            // A standby may be promoted, and deafness has many causes.
            Self::Unfit(unfit) => *unfit == Unfit::Pooler,
            // It costs no server anything to look again.
            Self::Settings(_) | Self::Connection(..) | Self::Tls(_) | Self::OtherKind(_) => false,
        }
    }

    pub(super) fn failure(&self, address: String) -> Failure {
        let error = match self {
            Self::Settings(error) => FailureError::Settings((*error).clone()),
            Self::Connection(why, kind) => {
                FailureError::Connection(*kind, format!("connection {why}"))
            }
            Self::Tls(why) => {
                FailureError::Connection(io::ErrorKind::Other, format!("connection {why}"))
            }
            Self::Session { error, .. } => FailureError::Session(Box::new((*error).clone())),
            Self::OtherKind(wanted) => {
                FailureError::Connection(io::ErrorKind::Other, format!("server is not {wanted}"))
            }
            Self::Unfit(unfit) => FailureError::Unfit(*unfit),
        };
        let password_file = match self {
            Self::Session { password_file, .. } => password_file.clone(),
            Self::Settings(_)
            | Self::Connection(..)
            | Self::Tls(_)
            | Self::OtherKind(_)
            | Self::Unfit(_) => None,
        };
        Failure {
            address,
            error,
            password_file,
        }
    }
}

/// What is asked does not come in time.
pub(super) const TIMED_OUT: Cause<'static> =
    Cause::Connection("timed out", io::ErrorKind::TimedOut);
/// The server starts up, shuts down or recovers.
const CANNOT_CONNECT_NOW: &str = "57P03";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_and_what_to_do_are_sentences() {
        for unfit in [Unfit::Standby, Unfit::Pooler, Unfit::Deaf] {
            for text in [unfit.text(), unfit.remedy()] {
                assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
            }
        }
    }
}
