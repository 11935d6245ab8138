//! How far an attempt got before nothing came any more: the facts and their sentences.
//!
//! Knows neither the server nor the time that it was given.

use std::{fmt, io, net::SocketAddr};

use crate::pg::session::StartUp;

/// An address, and why it took no connection.
#[derive(Clone, Debug)]
pub struct Unreached {
    /// The address.
    pub address: SocketAddr,
    /// The kind of error.
    pub kind: io::ErrorKind,
    /// The error in words.
    pub why: String,
}

/// What the server owes us once the connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Anything at all.
    Greeting,
    /// The TLS handshake, to which it agreed.
    Tls,
    /// The end of the authentication.
    Authentication,
    /// The session: it knows who we are.
    Admission,
    /// The answer to the first query of the session.
    FirstQuery,
}

impl From<StartUp> for Step {
    fn from(start_up: StartUp) -> Self {
        match start_up {
            StartUp::Greeting => Self::Greeting,
            StartUp::Authentication => Self::Authentication,
            StartUp::Admission => Self::Admission,
            StartUp::FirstQuery => Self::FirstQuery,
        }
    }
}

impl Step {
    /// What happened instead; a time follows.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Greeting => "was accepted, and nothing was answered",
            Self::Tls => "was accepted, and the TLS handshake was not finished",
            Self::Authentication => "was accepted, and the authentication was not finished",
            Self::Admission => "was accepted and the authentication passed, and no session began",
            Self::FirstQuery => "was made, and the first query of the session was not answered",
        }
    }

    /// When a connection ended that ended here.
    pub(super) fn moment(self) -> &'static str {
        match self {
            Self::Greeting => "before anything was answered",
            Self::Tls => "during the TLS handshake",
            Self::Authentication => "during the authentication",
            Self::Admission => "after the authentication, before the session began",
            Self::FirstQuery => "before the first query of the session was answered",
        }
    }

    /// What to do about it, in words.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Greeting => {
                "look at what listens there: a server that is frozen or overloaded, or a proxy or \
                 pooler without a server behind it"
            }
            Self::Tls => "look at what lies between, and at the server's load",
            Self::Authentication => {
                "look at the server's log, and at what it asks in its turn (LDAP, RADIUS, PAM; a \
                 pooler asks its server)"
            }
            Self::Admission => {
                "look at the server's log and pg_stat_activity, or at the pooler: it may have no \
                 server connection to give"
            }
            Self::FirstQuery => {
                "a pooler that has no server connection to give does that: look at its pools and \
                 limits"
            }
        }
    }
}

/// The kind of error that stands for them all.
pub(super) fn kind_of(unreached: &[Unreached]) -> io::ErrorKind {
    let kinds = unreached.iter().map(|it| it.kind);
    kinds
        .max_by_key(|kind| *kind == io::ErrorKind::TimedOut)
        .unwrap_or(io::ErrorKind::NotFound)
}

/// What to do where no address took a connection.
pub(super) fn remedy(unreached: &[Unreached]) -> &'static str {
    let kind = kind_of(unreached);
    if kind == io::ErrorKind::ConnectionRefused {
        START_IT
    } else if kind == io::ErrorKind::TimedOut {
        "check the host, and the firewalls in between"
    } else {
        "check the host, and what lies between"
    }
}

pub(super) const START_IT: &str =
    "start PostgreSQL there, or check the host, the port and listen_addresses";

/// Why no address took a connection. Each is named unless `name` is false, or the only one is all
/// that the server is named by.
pub(super) struct NoneOf<'a> {
    pub(super) unreached: &'a [Unreached],
    pub(super) name: bool,
}

impl fmt::Display for NoneOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unreached.is_empty() {
            return f.write_str("the name has no address");
        }
        let mut texts = Vec::new();
        for Unreached { address, why, .. } in self.unreached {
            let text = if self.name {
                format!("{}: {why}", address.ip())
            } else {
                why.clone()
            };
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        // The order of a name's addresses may be another one each time.
        texts.sort();
        f.write_str(&texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreached(last: u8, kind: io::ErrorKind, why: &str) -> Unreached {
        Unreached {
            address: SocketAddr::from(([10, 0, 0, last], 5432)),
            kind,
            why: why.to_owned(),
        }
    }

    #[test]
    fn each_address_says_why_it_took_no_connection() {
        let all = [
            unreached(2, io::ErrorKind::ConnectionRefused, "refused"),
            unreached(1, io::ErrorKind::TimedOut, "no answer"),
            unreached(3, io::ErrorKind::ConnectionRefused, "refused"),
        ];
        let text = |unreached, name| NoneOf { unreached, name }.to_string();
        assert_eq!(
            text(&all, true),
            "10.0.0.1: no answer, 10.0.0.2: refused, 10.0.0.3: refused"
        );
        assert_eq!(text(&all, false), "no answer, refused");
        assert_eq!(text(&[], true), "the name has no address");
        assert_eq!(kind_of(&all), io::ErrorKind::TimedOut);
        assert_eq!(kind_of(&all[..1]), io::ErrorKind::ConnectionRefused);
    }
}
