//! What a refusal means: whether another attempt can succeed, and what a person can do.
//!
//! Judges by SQLSTATE and by the function of the server's source, never by a text, which may be in
//! any language. A remedy that may be wrong is none. Does not know when to try again.

use super::{AuthenticationError, BindingError, ProtocolError, ServerError, SessionError};

/// When another attempt can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// When a person has changed something.
    Hopeless,
    /// When another session has ended: there are too many.
    Crowded,
    /// Soon, as far as anybody can know.
    Passing,
}

/// Which step of a session's beginning refuses, by the function of the server's source that says
/// so: it is the same in each of the server's languages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// None that we tell apart.
    #[default]
    Elsewhere,
    /// The server takes a process more.
    Server,
    /// The role logs in.
    Role,
    /// The role enters the database.
    Database,
}

impl Origin {
    pub(super) fn of(routine: &str) -> Self {
        match routine {
            "InitProcess" | "InitPostgres" => Self::Server,
            "InitializeSessionUserId" => Self::Role,
            "CheckMyDatabase" => Self::Database,
            _ => Self::Elsewhere,
        }
    }
}

impl ServerError {
    /// When a session that the server refuses with it can be had.
    pub fn refusal(&self) -> Refusal {
        match self.sqlstate.as_str() {
            // Who we are, which database and what of it, what we ask of it: and P0001, which a
            // trigger of its owner raises.
            "28P01" | "28000" | "3D000" | "42501" | "42704" | "22023" | "55000" | "P0001" => {
                Refusal::Hopeless
            }
            "53300" => Refusal::Crowded,
            _ => Refusal::Passing,
        }
    }

    /// What to do about it, in words, where that is known and the server does not say it itself.
    fn remedy(&self) -> Option<&'static str> {
        if self.hint.is_some() {
            return None;
        }
        let remedy = match (self.sqlstate.as_str(), self.origin) {
            ("28P01", _) => "check the user name and the password",
            ("28000", Origin::Role) => {
                "create the role, let it log in (ALTER ROLE ... LOGIN), or name another user"
            }
            ("28000", _) => "check the user name, and that pg_hba.conf lets it in from here",
            ("3D000", _) => "create the database, or name another one",
            ("42501", Origin::Database) => {
                "let the role in (GRANT CONNECT ON DATABASE ... TO ...), or name another database"
            }
            ("42704" | "22023", _) => {
                "check options in the connection string, and what ALTER ROLE and ALTER DATABASE set"
            }
            ("55000", Origin::Database) => {
                "let the database take connections (ALTER DATABASE ... ALLOW_CONNECTIONS true), or \
                 name another one"
            }
            ("P0001", _) => "a trigger or function of this database raises it: see what it wants",
            ("53300", Origin::Role) => {
                "two sessions are needed: raise the role's limit (ALTER ROLE ... CONNECTION LIMIT), \
                 or end sessions that pg_stat_activity shows for it"
            }
            ("53300", Origin::Database) => {
                "two sessions are needed: raise the database's limit (ALTER DATABASE ... CONNECTION \
                 LIMIT), or end sessions that pg_stat_activity shows in it"
            }
            ("53300", Origin::Server) => {
                "raise max_connections, or end idle sessions that pg_stat_activity shows"
            }
            ("53300", _) => "two sessions are needed: see what holds others, in pg_stat_activity",
            _ => return None,
        };
        Some(remedy)
    }
}

impl SessionError {
    /// Whether the server did not believe the password.
    pub fn is_password_refused(&self) -> bool {
        matches!(self, Self::Server(error) if error.sqlstate == "28P01")
    }

    /// When another attempt can succeed.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Server(error) => error.refusal(),
            Self::NotBegun(_) => Refusal::Passing,
            Self::NotPostgres { .. } | Self::Protocol(ProtocolError::Nul) => Refusal::Hopeless,
            Self::Protocol(_) => Refusal::Passing,
            Self::Authentication(error) => match error {
                AuthenticationError::MethodUnsupported { .. }
                | AuthenticationError::MethodNotAllowed { .. }
                | AuthenticationError::PasswordMissing
                | AuthenticationError::IterationsTooMany { .. }
                | AuthenticationError::BindingMissing(_)
                | AuthenticationError::CleartextRefused => Refusal::Hopeless,
                AuthenticationError::Scram { .. } | AuthenticationError::ServerUnproven => {
                    Refusal::Passing
                }
            },
        }
    }

    /// What to do about it, in words, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Server(error) => error.remedy(),
            Self::NotBegun(text) if text.contains("fork") => {
                Some("its system is short of memory or of processes")
            }
            Self::NotBegun(_) => None,
            Self::NotPostgres { .. } => Some("check the host and the port"),
            Self::Protocol(ProtocolError::Nul) => Some("take the NUL out of the configuration"),
            Self::Protocol(_) => Some("check that the address is that of a PostgreSQL server"),
            Self::Authentication(error) => Some(match error {
                AuthenticationError::MethodUnsupported { .. }
                | AuthenticationError::CleartextRefused => {
                    "let pg_hba.conf ask for scram-sha-256 for this user"
                }
                AuthenticationError::MethodNotAllowed { .. } => {
                    "let pg_hba.conf ask for what require_auth allows, or check the address"
                }
                AuthenticationError::IterationsTooMany { .. } => {
                    "raise connect_timeout, or lower scram_iterations and set the password again"
                }
                AuthenticationError::PasswordMissing => {
                    "put the password in the connection string or in ~/.pgpass, or set PGPASSWORD"
                }
                AuthenticationError::BindingMissing(BindingError::NoTls) => {
                    "set sslmode=require and let the server speak TLS"
                }
                AuthenticationError::BindingMissing(BindingError::NotOffered) => {
                    "let pg_hba.conf ask for scram-sha-256 for this user, or set \
                     channel_binding=prefer"
                }
                AuthenticationError::BindingMissing(BindingError::NoHash) => {
                    "sign the certificate with RSA or ECDSA, or set channel_binding=prefer"
                }
                AuthenticationError::Scram { .. } | AuthenticationError::ServerUnproven => {
                    "check that the address is that of your PostgreSQL server"
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_classed_and_have_remedies_that_fit() {
        let refused = |sqlstate: &str, routine: &str, hint: Option<&str>| {
            SessionError::Server(ServerError {
                sqlstate: sqlstate.to_owned(),
                origin: Origin::of(routine),
                hint: hint.map(Box::from),
                ..ServerError::default()
            })
        };
        for (sqlstate, refusal) in [
            ("28P01", Refusal::Hopeless),
            ("28000", Refusal::Hopeless),
            ("3D000", Refusal::Hopeless),
            ("42501", Refusal::Hopeless),
            ("42704", Refusal::Hopeless),
            ("22023", Refusal::Hopeless),
            ("55000", Refusal::Hopeless),
            ("P0001", Refusal::Hopeless),
            ("53300", Refusal::Crowded),
            ("57P01", Refusal::Passing),
            ("57P03", Refusal::Passing),
            ("22P05", Refusal::Passing),
            ("53200", Refusal::Passing),
        ] {
            assert_eq!(
                refused(sqlstate, "x", None).refusal(),
                refusal,
                "{sqlstate}"
            );
        }
        for (sqlstate, routine, words) in [
            ("53300", "InitializeSessionUserId", "ALTER ROLE"),
            ("53300", "CheckMyDatabase", "ALTER DATABASE"),
            ("53300", "InitProcess", "max_connections"),
            ("53300", "a pooler's", "two sessions"),
            ("42501", "CheckMyDatabase", "GRANT CONNECT"),
            ("55000", "CheckMyDatabase", "ALLOW_CONNECTIONS"),
        ] {
            let remedy = refused(sqlstate, routine, None).remedy().unwrap();
            assert!(remedy.contains(words), "{sqlstate} {routine}: {remedy}");
        }
        assert_eq!(refused("42501", "elsewhere", None).remedy(), None);
        // The server knows better.
        assert_eq!(refused("28P01", "x", Some("do this")).remedy(), None);
    }
}
