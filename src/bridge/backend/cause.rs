//! Why a session ended, in words.

use super::Role;
use crate::pg::{config::Config, session::SessionError};

/// What ended a session, or kept it from beginning.
pub(super) enum Cause<'a> {
    Connection(&'a str),
    Session(&'a SessionError),
}

impl Cause<'_> {
    /// The line for the log.
    pub(super) fn complaint(&self, role: Role, config: &Config) -> String {
        let address = config.address();
        match self {
            Self::Connection(why) => {
                format!("{role} session: connection to PostgreSQL at {address} {why}; retrying")
            }
            Self::Session(error) => {
                let remedy = error.remedy().map(|remedy| format!(" ({remedy})"));
                let remedy = remedy.unwrap_or_default();
                format!("{role} session: PostgreSQL at {address}: {error}{remedy}; retrying")
            }
        }
    }
}
