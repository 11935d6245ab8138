//! Publishes go by the function `pg_notify`, or where a role may not call it by the command NOTIFY.
//!
//! PostgreSQL has no privilege for notifying, only one for the function, whose revocation hinders
//! nobody. The function is preferred: it takes parameters, and refuses a channel name that the
//! command would cut. So the command is used only where names are measured here already.

use super::{connection::Connection, transactions::Transactions};
use crate::{channel::LengthUnit, pg::session::ServerError};

/// PostgreSQL refused to notify. Returns whether that was the function, and the same is to be sent
/// again by the command: what was under way when another one was refused is refused as well.
pub(super) fn retry_by_command(
    publishing: &mut Connection,
    transactions: &mut Transactions,
    error: &ServerError,
) -> bool {
    if error.sqlstate != INSUFFICIENT_PRIVILEGE {
        return false;
    }
    if transactions.is_held() {
        return true;
    }
    let Some(session) = publishing.ready_session_mut() else {
        return false;
    };
    let is_measured = LengthUnit::of(session.server_encoding()) == LengthUnit::Utf8;
    if !is_measured || session.notifies_by_command() {
        return false;
    }
    tracing::info!(target: "alle::postgres", "publishes go by the command NOTIFY: {error}");
    session.notify_by_command();
    transactions.hold();
    true
}

/// `insufficient_privilege`
pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";
