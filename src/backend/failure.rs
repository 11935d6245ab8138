//! Why an attempt to connect, or a session, came to nothing: the facts and their sentences.
//!
//! Knows what each failure says of the server and of the route; not when the next attempt is made.

mod unanswered;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use self::unanswered::{NoneOf, kind_of};
pub use self::unanswered::{Step, Unreached};
use super::route::Reached;
use crate::pg::{
    config::{ConfigError, Host, Server},
    session::{Refusal, SessionError},
};

/// A failure, and the server where it happened.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The server, as it is named.
    pub address: String,
    /// The address of that name that took the connection.
    pub taken_at: Option<IpAddr>,
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
    /// No address of the server takes a connection.
    Unreached(Vec<Unreached>),
    /// The connection was made, and the server did not answer in this time.
    Unanswered(Step, Duration),
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
    /// What was wrong, without the server.
    pub fn reason(&self) -> String {
        match &self.kind {
            FailureKind::Settings(error) => error.to_string(),
            FailureKind::Connection(_, text) => format!("connection {text}"),
            FailureKind::Unreached(unreached) => {
                let name = self.names_addresses();
                format!("connection failed: {}", NoneOf { unreached, name })
            }
            FailureKind::Unanswered(step, timeout) => {
                format!(
                    "connection {} within {} s",
                    step.text(),
                    timeout.as_secs_f64()
                )
            }
            FailureKind::Tls(text) => format!("connection failed: {text}"),
            FailureKind::Session(error) => {
                format!("{error}{}", FoundIn(self.password_file.as_deref()))
            }
            FailureKind::TargetMismatch(target) => format!("server is not {target}"),
            FailureKind::Unfit(unfit) => unfit.text().to_owned(),
        }
    }

    /// The kind of error that a socket would have.
    pub fn io_kind(&self) -> io::ErrorKind {
        match &self.kind {
            FailureKind::Connection(kind, _) => *kind,
            FailureKind::Unreached(unreached) => kind_of(unreached),
            FailureKind::Unanswered(..) => io::ErrorKind::TimedOut,
            FailureKind::Settings(_)
            | FailureKind::Tls(_)
            | FailureKind::Session(_)
            | FailureKind::TargetMismatch(_)
            | FailureKind::Unfit(_) => io::ErrorKind::Other,
        }
    }

    /// What to do about it, in words, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match &self.kind {
            FailureKind::Connection(kind, _) if *kind == io::ErrorKind::ConnectionRefused => {
                Some(unanswered::START_IT)
            }
            FailureKind::Unreached(unreached) => Some(unanswered::remedy(unreached)),
            FailureKind::Unanswered(step, _) => Some(step.remedy()),
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
        self.sentence(self.names_addresses())
    }

    /// The same without the addresses of a name, which may be others each time.
    pub(super) fn gist(&self) -> String {
        self.sentence(false)
    }

    fn sentence(&self, names_addresses: bool) -> String {
        let address = self.place(names_addresses);
        let remedy = || match self.remedy() {
            Some(remedy) => format!(" ({remedy})"),
            None => String::new(),
        };
        let connection = format!("connection to PostgreSQL at {address}");
        match &self.kind {
            FailureKind::Connection(_, text) => format!("{connection} {text}"),
            FailureKind::Unreached(unreached) => {
                let name = names_addresses;
                format!("{connection} failed: {}", NoneOf { unreached, name })
            }
            FailureKind::Unanswered(step, timeout) => {
                let within = timeout.as_secs_f64();
                format!("{connection} {} within {within} s{}", step.text(), remedy())
            }
            FailureKind::Tls(text) => format!("{connection} failed: {text}"),
            FailureKind::Settings(error) => format!("PostgreSQL settings: {error}"),
            FailureKind::Session(error) => {
                let found = FoundIn(self.password_file.as_deref());
                format!("PostgreSQL at {address}: {error}{found}{}", remedy())
            }
            FailureKind::Unfit(unfit) => {
                format!("PostgreSQL at {address} {}{}", unfit.text(), remedy())
            }
            FailureKind::TargetMismatch(target) => {
                format!("PostgreSQL at {address} is not {target}, as target_session_attrs demands")
            }
        }
    }

    /// The server, and the address of its name that took the connection.
    fn place(&self, names_addresses: bool) -> String {
        match self.taken_at {
            Some(ip) if names_addresses => format!("{} ({ip})", self.address),
            Some(_) | None => self.address.clone(),
        }
    }

    /// Whether the server is named by something else than the address that was tried.
    fn names_addresses(&self) -> bool {
        match &self.kind {
            FailureKind::Unreached(unreached) => {
                let [only] = &unreached[..] else { return true };
                !self.address.contains(&only.address.ip().to_string())
            }
            FailureKind::Settings(_)
            | FailureKind::Connection(..)
            | FailureKind::Unanswered(..)
            | FailureKind::Tls(_)
            | FailureKind::Session(_)
            | FailureKind::TargetMismatch(_)
            | FailureKind::Unfit(_) => true,
        }
    }
}

/// The address that took a connection, where it is not what the server is named by.
pub(super) fn address_behind(server: &Server, taken: Option<SocketAddr>) -> Option<IpAddr> {
    let ip = taken?.ip();
    let Host::Tcp(name) = &server.host else {
        return None;
    };
    let is_named_by_it = name.is_empty() || name.parse() == Ok(ip);
    (!is_named_by_it).then_some(ip)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let FailureKind::Settings(error) = &self.kind {
            return write!(f, "PostgreSQL settings: {error}");
        }
        write!(f, "PostgreSQL at {}", self.place(true))?;
        match &self.kind {
            FailureKind::Unfit(unfit) => write!(f, " {}", unfit.text()),
            FailureKind::Settings(_)
            | FailureKind::Connection(..)
            | FailureKind::Unreached(_)
            | FailureKind::Unanswered(..)
            | FailureKind::Tls(_)
            | FailureKind::Session(_)
            | FailureKind::TargetMismatch(_) => write!(f, ": {}", self.reason()),
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

    /// The same, if the connection ended at this step of an attempt.
    pub(super) fn at_step(self, step: Option<Step>) -> Self {
        match (self, step) {
            (Self::Connection(kind, text), Some(step)) => {
                Self::Connection(kind, format!("{text} {}", step.moment()))
            }
            (kind, _) => kind,
        }
    }

    /// Why TLS is given up, where the same server is tried in clear text next.
    pub(super) fn reason_against_tls(&self) -> String {
        match self {
            Self::Connection(_, text) => format!("the connection {text}"),
            Self::Tls(text) => text.clone(),
            Self::Session(error) => format!("under it the server refused us: {error}"),
            Self::Settings(_)
            | Self::Unreached(_)
            | Self::Unanswered(..)
            | Self::TargetMismatch(_)
            | Self::Unfit(_) => "the server will not do".to_owned(),
        }
    }

    /// How far the attempt came, in the words of the route. `is_admitted` is whether the server
    /// had believed who we are, `is_secure` whether TLS carried what it said.
    pub(super) fn reached(&self, is_admitted: bool, is_secure: bool) -> Reached {
        match self {
            Self::Connection(..) | Self::Unreached(_) | Self::Unanswered(..) => Reached::Nobody,
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
            | Self::Unreached(_)
            | Self::Unanswered(..)
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
            Self::Settings(_)
            | Self::Connection(..)
            | Self::Unreached(_)
            | Self::Unanswered(..)
            | Self::Tls(_)
            | Self::TargetMismatch(_) => FailureClass::Passing,
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
            taken_at: None,
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
        let silent = FailureKind::connection(io::ErrorKind::TimedOut, "went silent");
        let unreached = |last: u8| Unreached {
            address: SocketAddr::from(([10, 0, 0, last], 5432)),
            kind: io::ErrorKind::TimedOut,
            why: "no answer within 5 s".to_owned(),
        };
        for (kind, begin, end) in [
            (
                silent,
                "connection to PostgreSQL at db:5432 went silent",
                "silent",
            ),
            (
                FailureKind::Unreached(vec![unreached(1), unreached(2)]),
                "connection to PostgreSQL at db:5432 failed: 10.0.0.1: no answer",
                "10.0.0.2: no answer within 5 s",
            ),
            (
                FailureKind::Unanswered(Step::Greeting, Duration::from_millis(2500)),
                "connection to PostgreSQL at db:5432 was accepted, and nothing was answered within 2.5 s",
                "without a server behind it)",
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

    /// A name may have its addresses in another order each time: that is no news for the log.
    #[test]
    fn the_gist_of_a_failure_is_the_same_whichever_address_it_was() {
        let at = |last: u8| Failure {
            taken_at: Some(IpAddr::from([10, 0, 0, last])),
            ..failure(FailureKind::Unanswered(Step::Tls, Duration::from_secs(5)))
        };
        assert!(at(1).log_text().contains("db:5432 (10.0.0.1) was accepted"));
        assert_ne!(at(1).log_text(), at(2).log_text());
        assert_eq!(at(1).gist(), at(2).gist());
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
