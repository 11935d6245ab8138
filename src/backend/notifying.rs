//! Publishes go by the function `pg_notify`, or where a role may not call it by the command NOTIFY.
//!
//! PostgreSQL has no privilege for notifying, only one for the function, whose revocation hinders
//! nobody. The function is preferred: it takes parameters, and refuses a channel name that the
//! command would cut. So the command is used only where names are measured here already.

use super::{Backend, Role};
use crate::{channel::LengthUnit, pg::session::ServerError};

impl Backend {
    /// PostgreSQL refused to notify. Returns whether that was the function, and the same is to be
    /// sent again by the command.
    pub(super) fn retry_by_command(&mut self, error: &ServerError) -> bool {
        let publishing = &mut self.connections[Role::Publishing.index()];
        let Some(session) = publishing.ready_session_mut() else {
            return false;
        };
        let is_measured = LengthUnit::of(session.server_encoding()) == LengthUnit::Utf8;
        let is_refused = error.sqlstate == INSUFFICIENT_PRIVILEGE;
        if !is_refused || !is_measured || session.notifies_by_command() {
            return false;
        }
        tracing::info!("publishes go by the command NOTIFY: {error}");
        session.notify_by_command();
        self.transactions.hold();
        true
    }

    /// The same of a publish: what was under way when another one was refused is refused as well.
    pub(super) fn is_to_be_retried(&mut self, error: &ServerError) -> bool {
        let is_refused = error.sqlstate == INSUFFICIENT_PRIVILEGE;
        is_refused && self.transactions.is_held() || self.retry_by_command(error)
    }

    /// The same of the probe, which may have been sent before a publish was refused.
    pub(super) fn retry_probe_by_command(&mut self, error: &ServerError) -> bool {
        let session = self.session(Role::Publishing);
        let is_by_command = session.is_some_and(|it| it.notifies_by_command());
        let was_by_function = is_by_command && !self.is_probing_by_command;
        self.retry_by_command(error) || error.sqlstate == INSUFFICIENT_PRIVILEGE && was_by_function
    }
}

/// `insufficient_privilege`
pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";
