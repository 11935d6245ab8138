//! Why an attempt to connect, or a session, came to nothing: the facts and their sentences.
//!
//! Knows what each failure says of the server and of the route; not when the next attempt is made.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::route::Reached;
use crate::pg::{
    config::ConfigError,
    session::{Refusal, SessionError},
};

/// A failure, and the server where it happened.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The server.
    pub address: String,
    /// What was wrong with it.
    pub kind: FailureKind,
    /// Where the password was found that the server refused.
    pub password_file: Option<PathBuf>,
}

/// What was wrong with a server.
#[derive(Clone, Debug)]
pub enum FailureKind {
    /// The settings, which were read anew.
    Settings(ConfigError),
    /// The connection; the words complete the sentence "connection ...".
    Connection(io::ErrorKind, String),
    /// TLS; the words say why.
    Tls(String),
    /// The server did not let us in, or we did not trust it, or it ended the session.
    Session(Box<SessionError>),
    /// `target_session_attrs` demands another kind of server: the words name it.
    TargetMismatch(&'static str),
    /// The server let us in, and is of no use.
    Unfit(Unfit),
}

/// Why a server that lets us in is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A standby takes neither LISTEN nor NOTIFY.
    Standby,
    /// Notifications of one session do not reach the other, and one of the two is served by
    /// another process than the one that greeted it.
    Pooler,
    /// Notifications of one session do not reach the other.
    Deaf,
}

/// The condition for another attempt to succeed; the worse class is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailureClass {
    /// Time has to pass.
    #[default]
    Passing,
    /// Another session has to end: the server has too many.
    Crowded,
    /// A person has to act.
    Hopeless,
}

impl Failure {
    /// What to do about it, in words, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match &self.kind {
            FailureKind::Connection(io::ErrorKind::ConnectionRefused, _) => {
                Some("start PostgreSQL there, or check the host, the port and listen_addresses")
            }
            FailureKind::Connection(io::ErrorKind::TimedOut, _) => {
                Some("check the host, and the firewalls in between")
            }
            FailureKind::Connection(..) | FailureKind::Tls(_) | FailureKind::TargetMismatch(_) => {
                Some("check the host, and what lies between")
            }
            FailureKind::Settings(_) => None,
            FailureKind::Session(error) => error.remedy(),
            FailureKind::Unfit(unfit) => Some(unfit.remedy()),
        }
    }

    /// The sentence for the log; the remedy is part of it where the server was reached.
    pub(super) fn log_text(&self) -> String {
        let address = &self.address;
        let remedy = || match self.remedy() {
            Some(remedy) => format!(" ({remedy})"),
            None => String::new(),
        };
        match &self.kind {
            FailureKind::Connection(_, text) => {
                format!("connection to PostgreSQL at {address} {text}")
            }
            FailureKind::Tls(text) => {
                format!("connection to PostgreSQL at {address} failed: {text}")
            }
            FailureKind::Settings(_) | FailureKind::Session(_) | FailureKind::Unfit(_) => {
                format!("{self}{}", remedy())
            }
            FailureKind::TargetMismatch(target) => {
                format!("PostgreSQL at {address} is not {target}, as target_session_attrs demands")
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let FailureKind::Settings(error) = &self.kind {
            return write!(f, "PostgreSQL settings: {error}");
        }
        write!(f, "PostgreSQL at {}", self.address)?;
        match &self.kind {
            FailureKind::Settings(_) => Ok(()),
            FailureKind::Connection(_, text) => write!(f, ": connection {text}"),
            FailureKind::Tls(text) => write!(f, ": connection failed: {text}"),
            FailureKind::Session(error) => {
                let found = FoundIn(self.password_file.as_deref());
                write!(f, ": {error}{found}")
            }
            FailureKind::TargetMismatch(target) => write!(f, ": server is not {target}"),
            FailureKind::Unfit(unfit) => write!(f, " {}", unfit.text()),
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

impl FailureKind {
    pub(super) fn connection(kind: io::ErrorKind, text: &str) -> Self {
        Self::Connection(kind, text.to_owned())
    }

    /// Why TLS is given up, where the same server is tried in clear text next.
    pub(super) fn reason_against_tls(&self) -> String {
        match self {
            Self::Connection(_, text) => format!("the connection {text}"),
            Self::Tls(text) => text.clone(),
            Self::Session(error) => format!("under it the server refused us: {error}"),
            Self::Settings(_) | Self::TargetMismatch(_) | Self::Unfit(_) => {
                "the server will not do".to_owned()
            }
        }
    }

    /// How far the attempt came, in the words of the route. `is_admitted` is whether the server
    /// had believed who we are, `is_secure` whether TLS carried what it said.
    pub(super) fn reached(&self, is_admitted: bool, is_secure: bool) -> Reached {
        match self {
            Self::Connection(..) => Reached::Nobody,
            Self::Tls(_) => Reached::Tls,
            Self::TargetMismatch(_) | Self::Unfit(_) => Reached::Unsuitable,
            Self::Settings(_) => Reached::End,
            Self::Session(error) => match &**error {
                SessionError::Server(error) if !is_admitted => Reached::Refusal {
                    is_secure,
                    is_unavailable: error.sqlstate == CANNOT_CONNECT_NOW,
                },
                SessionError::Server(_)
                | SessionError::NotBegun(_)
                | SessionError::NotPostgres { .. }
                | SessionError::Protocol(_)
                | SessionError::Authentication(_) => Reached::End,
            },
        }
    }

    /// Whether the server did not believe the password.
    pub(super) fn is_password_refused(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_password_refused())
    }

    /// What the server lacks, where it lets us in.
    pub(super) fn unfit(&self) -> Option<Unfit> {
        match self {
            Self::Unfit(unfit) => Some(*unfit),
            Self::Settings(_)
            | Self::Connection(..)
            | Self::Tls(_)
            | Self::Session(_)
            | Self::TargetMismatch(_) => None,
        }
    }

    /// The condition for another attempt to succeed.
    pub(super) fn class(&self) -> FailureClass {
        match self {
            Self::Session(error) => match error.refusal() {
                Refusal::Hopeless => FailureClass::Hopeless,
                Refusal::Crowded => FailureClass::Crowded,
                Refusal::Passing => FailureClass::Passing,
            },
            Self::Unfit(Unfit::Pooler) => FailureClass::Hopeless,
            // A standby may be promoted, and deafness has many causes.
            Self::Unfit(Unfit::Standby | Unfit::Deaf) => FailureClass::Passing,
            // It costs no server anything to look again.
            Self::Settings(_) | Self::Connection(..) | Self::Tls(_) | Self::TargetMismatch(_) => {
                FailureClass::Passing
            }
        }
    }
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

/// `cannot_connect_now`: the server starts up, shuts down or recovers.
const CANNOT_CONNECT_NOW: &str = "57P03";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::session::{ProtocolError, ServerError};

    fn failure(kind: FailureKind) -> Failure {
        Failure {
            address: "db:5432".to_owned(),
            kind,
            password_file: None,
        }
    }

    fn refusal(sqlstate: &str) -> FailureKind {
        FailureKind::Session(Box::new(SessionError::Server(ServerError {
            sqlstate: sqlstate.to_owned(),
            message: "no".to_owned(),
            ..ServerError::default()
        })))
    }

    #[test]
    fn texts_and_remedies_are_one_line_each() {
        for unfit in [Unfit::Standby, Unfit::Pooler, Unfit::Deaf] {
            for text in [unfit.text(), unfit.remedy()] {
                assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
            }
        }
    }

    #[test]
    fn the_log_names_the_server_and_what_to_do_about_it() {
        let timed_out = FailureKind::connection(io::ErrorKind::TimedOut, "timed out");
        for (kind, begin, end) in [
            (
                timed_out,
                "connection to PostgreSQL at db:5432 timed out",
                "timed out",
            ),
            (
                FailureKind::TargetMismatch("a primary"),
                "PostgreSQL at db:5432 is not a primary, ",
                "target_session_attrs demands",
            ),
            (
                refusal("3D000"),
                "PostgreSQL at db:5432: ",
                " (create the database, or name another one)",
            ),
            (
                FailureKind::Unfit(Unfit::Standby),
                "PostgreSQL at db:5432 is a standby",
                " (name the primary, or all servers of the cluster)",
            ),
        ] {
            let text = failure(kind).log_text();
            assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
        }
    }

    #[test]
    fn each_failure_has_the_class_of_what_would_help() {
        for (kind, class) in [
            (refusal("28P01"), FailureClass::Hopeless),
            (FailureKind::Unfit(Unfit::Pooler), FailureClass::Hopeless),
            (refusal("53300"), FailureClass::Crowded),
            (refusal(CANNOT_CONNECT_NOW), FailureClass::Passing),
            (FailureKind::Unfit(Unfit::Standby), FailureClass::Passing),
            (FailureKind::Tls("failed".to_owned()), FailureClass::Passing),
        ] {
            assert_eq!(kind.class(), class, "{kind:?}");
        }
        assert!(FailureClass::Passing < FailureClass::Crowded);
        assert!(FailureClass::Crowded < FailureClass::Hopeless);
    }

    #[test]
    fn a_refusal_is_told_from_the_end_of_a_session_that_was_admitted() {
        for is_secure in [false, true] {
            for (sqlstate, is_unavailable) in [("28000", false), (CANNOT_CONNECT_NOW, true)] {
                let kind = refusal(sqlstate);
                let refused = Reached::Refusal {
                    is_secure,
                    is_unavailable,
                };
                assert_eq!(kind.reached(false, is_secure), refused);
                assert_eq!(kind.reached(true, is_secure), Reached::End);
            }
        }
        let protocol = SessionError::Protocol(ProtocolError::Nul);
        let protocol = FailureKind::Session(Box::new(protocol));
        assert_eq!(protocol.reached(false, false), Reached::End);
    }
}
